package sip

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// Trunks come and go while calls go on, over datagrams and over connections
// that stand.
func TestReload(t *testing.T) {
	t.Parallel()
	before := []Trunk{{Name: "pbx", From: prefixes("127.0.0.2/32"), Limits: Limits{Calls: 1}}}
	ts := serveTest(t, func(s *Server) { s.Reload(Options{Trunks: before}) }, nil)
	old, other := newRawPeer(t, ts, "127.0.0.2"), newRawPeer(t, ts, "127.0.0.3")
	during := old.newCall()
	during.establish()
	other.newCall().send("INVITE")
	if m, ok := other.read(200 * time.Millisecond); ok {
		t.Fatalf("a stranger was told %q", m.start)
	}

	ts.Reload(Options{Trunks: []Trunk{
		{Name: "pbx", From: prefixes("127.0.0.2/32"), Limits: Limits{Calls: 2}},
		{Name: "sbc", From: prefixes("127.0.0.3/32"), Country: "FR"},
	}})
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

	ts.Reload(Options{})
	second.next().send("BYE")
	if m, ok := old.read(200 * time.Millisecond); ok {
		t.Errorf("a trunk that is gone was told %q", m.start)
	}
	ts.Reload(Options{Trunks: before})
	second.bye()
	ts.ended(t, ErrCallerHungUp)
}

// Limits change while calls go on: those in progress count towards the new ones,
// and none of them ends.
func TestReloadOfLimits(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, nil, nil)
	trunks := []Trunk{*ts.trunks.find(loopback)}
	p := newRawPeer(t, ts, "127.0.0.1")
	during := [2]*rawCall{p.newCall(), p.newCall()}
	for _, c := range during {
		c.establish()
	}
	refused := func(o Options, why string) {
		t.Helper()
		o.Trunks = trunks
		before := ts.Stats().TurnedAway[why]
		ts.Reload(o)
		p.newCall().send("INVITE")
		p.expect("SIP/2.0 503", "INVITE")
		if n := ts.Stats().TurnedAway[why]; n != before+1 {
			t.Errorf("%+v: %d turned away for %s, want %d", o.Limits, n, why, before+1)
		}
	}
	refused(Options{Limits: Limits{Calls: 1}}, "calls")
	refused(Options{Limits: Limits{Calls: 2}}, "calls")
	ts.Reload(Options{Trunks: trunks, Limits: Limits{Calls: 3}})
	third := p.newCall()
	third.establish()
	for _, c := range append(during[:], third) {
		c.bye()
	}
}

// Accounts take over what the file says of the trunk of their name.
func TestReloadOfAnAccountsTrunk(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, func(s *Server) {
		r := newRegistration(s, Account{User: "500", Name: "office"}, &Trunk{Name: "office", pilot: "500"})
		s.accounts.all = append(s.accounts.all, r)
		s.registrars.add(&r.trunk, []netip.Addr{loopback}, time.Now())
	}, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	for _, o := range []Options{
		{Trunks: []Trunk{{Name: "office", Country: "AT", Limits: Limits{Callees: 7}}}},
		{Limits: Limits{Callees: 9}},
	} {
		ts.Reload(o)
		c := p.newCall()
		c.user = "500"
		c.establish()
		got := ts.call(t).Trunk
		if want := ts.accounts.all[0].account.trunk(o); !reflect.DeepEqual(got, want) {
			t.Errorf("a call of %+v, want %+v", got, want)
		}
		c.bye()
	}
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
	ts.Reload(Options{Trunks: o.Trunks[:1]})
	source := addrPortOf(conn.LocalAddr())
	if trunk := ts.trunkAt("tls", source); trunk != nil {
		t.Errorf("it is %s still", trunk.Name)
	}
	if late, err := ca.dialTLS(ts, "tls", "127.0.0.9", ca.issue("sbc.example", nil)); err == nil {
		if got := asks(t, late, "TLS"); got != "" {
			t.Errorf("a stranger was told %q", got)
		}
	}
	ts.Reload(o)
	_ = conn.SetDeadline(time.Now().Add(patience))
	if got := asks(t, conn, "TLS"); got != "SIP/2.0 200 OK" {
		t.Errorf("back again, it was told %q", got)
	}
}
