package sip

import (
	"testing"
	"time"
)

// Trunks come and go while calls go on, over datagrams and over connections
// that stand.
func TestReload(t *testing.T) {
	t.Parallel()
	before := []Trunk{{Name: "pbx", From: prefixes("127.0.0.2/32"), Limits: Limits{Calls: 1}}}
	ts := serveTest(t, func(s *Server) { s.Reload(before) }, nil)
	old, other := newRawPeer(t, ts, "127.0.0.2"), newRawPeer(t, ts, "127.0.0.3")
	during := old.newCall()
	during.establish()
	other.newCall().send("INVITE")
	if m, ok := other.read(200 * time.Millisecond); ok {
		t.Fatalf("a stranger was told %q", m.start)
	}

	ts.Reload([]Trunk{
		{Name: "pbx", From: prefixes("127.0.0.2/32"), Limits: Limits{Calls: 2}},
		{Name: "sbc", From: prefixes("127.0.0.3/32"), Country: "FR"},
	})
	other.newCall().establish()
	second := old.newCall()
	second.establish()
	for _, want := range []string{"pbx", "sbc", "pbx"} {
		if c := ts.call(t); c.Trunk.Name != want {
			t.Errorf("a call of %s, want %s", c.Trunk.Name, want)
		}
	}
	during.bye()
	ts.ended(t, ErrCallerHungUp)

	ts.Reload(nil)
	second.next().send("BYE")
	if m, ok := old.read(200 * time.Millisecond); ok {
		t.Errorf("a trunk that is gone was told %q", m.start)
	}
	ts.Reload(before)
	second.bye()
	ts.ended(t, ErrCallerHungUp)
}

// A connection within TLS is not served any longer than its trunk is there.
func TestReloadByCertificate(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	o := ca.securely()
	ts := serveOptions(t, o, nil, nil)
	conn, err := ca.dialTLS(ts, "tls", "127.0.0.9", ca.issue("sbc.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := asks(t, conn, "TLS"); got != "SIP/2.0 200 OK" {
		t.Fatalf("it was told %q", got)
	}
	ts.Reload(o.Trunks[:1])
	source := addrPortOf(conn.LocalAddr())
	if trunk := ts.trunkAt("tls", source); trunk != nil {
		t.Errorf("it is %s still", trunk.Name)
	}
	if late, err := ca.dialTLS(ts, "tls", "127.0.0.9", ca.issue("sbc.example", nil)); err == nil {
		if got := asks(t, late, "TLS"); got != "" {
			t.Errorf("a stranger was told %q", got)
		}
	}
	ts.Reload(o.Trunks)
	if got := asks(t, conn, "TLS"); got != "SIP/2.0 200 OK" {
		t.Errorf("back again, it was told %q", got)
	}
}
