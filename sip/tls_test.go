package sip

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// asks sends an OPTIONS over a stream and returns the status line, or "" when
// the connection ends without one.
func asks(t *testing.T, conn net.Conn, transport string) string {
	t.Helper()
	request := strings.Join([]string{
		"OPTIONS sip:gw.example SIP/2.0", "Via: SIP/2.0/" + transport + " peer.invalid;branch=z9hG4bK" + newBranch(),
		"From: <sip:peer@peer.invalid>;tag=1", "To: <sip:gw.example>", "Call-ID: " + newBranch(), "CSeq: 1 OPTIONS",
		"Max-Forwards: 70", "Content-Length: 0", "", "",
	}, "\r\n")
	if _, err := conn.Write([]byte(request)); err != nil {
		return ""
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("neither an answer nor an end")
	}
	status, _, _ := strings.Cut(string(buf[:n]), "\r\n")
	return status
}

func newBranch() string { return rand.Text() }

// TestTrunkByCertificate: who gets in over TLS, and as whom.
func TestTrunkByCertificate(t *testing.T) {
	t.Parallel()
	ca, stranger := newTestCA(t), newTestCA(t)
	named := func(name string) pair { return ca.issue(name, nil) }
	o := ca.securely()
	for name, tt := range map[string]struct {
		from  string
		own   pair
		trunk string // "" for nobody
	}{
		"its address is enough":                 {"127.0.0.1", pair{}, "pbx"},
		"a certificate says more":               {"127.0.0.1", named("sbc.example"), "sbc"},
		"a certificate of nobody, by address":   {"127.0.0.1", named("nobody.example"), "pbx"},
		"a stranger's CA, by address":           {"127.0.0.1", stranger.issue("sbc.example", nil), "pbx"},
		"from anywhere":                         {"127.0.0.9", named("sbc.example"), "sbc"},
		"the second name":                       {"127.0.0.9", named("other.example"), "sbc"},
		"no certificate":                        {"127.0.0.9", pair{}, ""},
		"a stranger's CA":                       {"127.0.0.9", stranger.issue("sbc.example", nil), ""},
		"another name":                          {"127.0.0.9", named("nobody.example"), ""},
		"a name below":                          {"127.0.0.9", named("a.sbc.example"), ""},
		"from its address":                      {"127.0.0.2", named("near.example"), "near"},
		"from elsewhere":                        {"127.0.0.9", named("near.example"), ""},
		"at the address, without a certificate": {"127.0.0.2", pair{}, ""},
		"a SIP URI": {"127.0.0.9", ca.issue("uri", func(c *x509.Certificate) {
			c.DNSNames, c.URIs = []string{"nobody.example"}, []*url.URL{{Scheme: "sip", Opaque: "sbc.example"}}
		}), "sbc"},
		"a wildcard": {"127.0.0.9", ca.issue("wild", func(c *x509.Certificate) { c.DNSNames = []string{"*.example"} }), ""},
		"ended": {"127.0.0.9", ca.issue("ended", func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"sbc.example"}, time.Now().Add(-time.Minute)
		}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := serveOptions(t, o, nil, nil)
			conn, err := ca.dialTLS(ts, "tls", tt.from, tt.own)
			got := ""
			if err == nil {
				got = asks(t, conn, "TLS")
			}
			if tt.trunk == "" {
				if got != "" {
					t.Errorf("it was told %q", got)
				}
				settle(t, func() bool { return ts.Stats().Unready == 1 && ts.unproven.count() == 0 })
				return
			}
			if err != nil || got != "SIP/2.0 200 OK" {
				t.Fatalf("it was told %q: %v", got, err)
			}
			trunk := ts.trunkAt("tls", addrPortOf(conn.LocalAddr()))
			if trunk == nil || trunk.Name != tt.trunk {
				t.Errorf("it is %+v, want %s", trunk, tt.trunk)
			}
			_ = conn.Close()
			settle(t, func() bool {
				ts.secured.mu.Lock()
				defer ts.secured.mu.Unlock()
				return len(ts.secured.known) == 0
			})
			if ts.proven.count()+ts.unproven.count() != 0 {
				t.Errorf("%d and %d places are taken", ts.proven.count(), ts.unproven.count())
			}
		})
	}
}

// TestStrangersHearNothing: where no certificate could help, a connection ends
// before a byte is sent, whatever is said; a certificate helps over TLS alone.
func TestStrangersHearNothing(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	nowhere := ca.securely()
	nowhere.Trunks = nowhere.Trunks[:1]
	for name, tt := range map[string]struct {
		o       Options
		network string
	}{
		"tcp": {ca.securely(), "tcp"}, "ws": {ca.securely(), "ws"},
		"tls without such a trunk": {nowhere, "tls"}, "wss without such a trunk": {nowhere, "wss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := serveOptions(t, tt.o, nil, nil)
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: patience}
			conn, err := dialer.DialContext(t.Context(), "tcp", ts.addr(tt.network).String())
			if err == nil {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(patience))
				said, err := io.ReadAll(conn)
				if len(said) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%q: %v", said, err)
				}
			}
			settle(t, func() bool { return ts.Stats().Strangers == 1 })
		})
	}
}

// TestUnprovenPlaces: those who only may be a trunk take places of their own,
// and few.
func TestUnprovenPlaces(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	ts := serveOptions(t, ca.securely(), nil, nil)
	for range maxUnprovenSource + 3 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: patience}
		if conn, err := dialer.DialContext(t.Context(), "tcp", ts.addr("tls").String()); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	settle(t, func() bool { return ts.Stats().TooMany == 3 && ts.unproven.count() == maxUnprovenSource })
	for _, from := range []string{"127.0.0.1", "127.0.0.8"} {
		conn, err := ca.dialTLS(ts, "tls", from, ca.issue("sbc.example", nil))
		if err != nil || asks(t, conn, "TLS") != "SIP/2.0 200 OK" {
			t.Errorf("from %s: %v", from, err)
		}
	}
}

// TestNoTLS: what is no TLS is not answered either.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	ts := serveOptions(t, newTestCA(t).securely(), nil, nil)
	conn, err := net.Dial("tcp", ts.addr("tls").String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if got := asks(t, conn, "TCP"); got != "" {
		t.Errorf("it was told %q", got)
	}
	settle(t, func() bool { return ts.Stats().Unready == 1 })

	look, err := net.Dial("tcp", ts.addr("tls").String())
	if err != nil {
		t.Fatal(err)
	}
	_ = look.Close()
	settle(t, func() bool { return ts.Stats().Idle == 1 && ts.Stats().Unready == 1 })
}

// TestSecureCalls: whole calls by each transport, ended by either side. The
// BYE of the gateway takes the connection of the call: the caller has no other
// address.
func TestSecureCalls(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	client, err := NewClient(ClientOptions{Local: netip.AddrPortFrom(loopback, 0), TLS: ClientTLS{CA: ca.file}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	hangUp := make(chan struct{}, 1)
	ts := serveOptions(t, ca.securely(), nil, func(ctx context.Context, c *Call) {
		if c.Answer([]byte(testAnswer), &media{}) != nil {
			return
		}
		select {
		case <-hangUp:
			if err := c.Hangup(context.WithoutCancel(ctx), CauseNormal); err != nil {
				t.Errorf("our BYE: %v", err)
			}
		case <-ctx.Done():
		}
	})
	for _, target := range []string{
		"sip:1@" + ts.addr("tls").String() + ";transport=tls",
		"sips:1@" + ts.addr("tls").String(),
		"sips:1@localhost:" + portOf(ts.addr("tls")),
		"sip:1@" + ts.addr("ws").String() + ";transport=ws",
		"sip:1@" + ts.addr("wss").String() + ";transport=wss",
	} {
		for _, caller := range []bool{true, false} {
			d, err := client.Invite(t.Context(), target, Request{Offer: []byte(testOffer)})
			if err != nil {
				t.Fatalf("%s: %v", target, err)
			}
			if call := ts.call(t); call.Trunk.Name != "pbx" {
				t.Errorf("%s: from %s", target, call.Trunk.Name)
			}
			if caller {
				if err := d.Bye(t.Context()); err != nil {
					t.Errorf("%s: %v", target, err)
				}
				ts.ended(t, ErrCallerHungUp)
				continue
			}
			hangUp <- struct{}{}
			next(t, d.Done(), "the gateway's BYE")
			ts.ended(t, ErrHungUp)
		}
	}
}

func TestSecureIPv6(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	local := netip.AddrPortFrom(netip.IPv6Loopback(), 0)
	o := ca.securely()
	o.Listen, o.Trunks[0].From = []ListenAddress{{"tls", local}}, prefixes("::1/128")
	client, err := NewClient(ClientOptions{Local: local, TLS: ClientTLS{CA: ca.file}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ts := serveOptions(t, o, nil, func(ctx context.Context, c *Call) {
		if c.Answer([]byte(testAnswer), &media{}) == nil {
			_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
		}
	})
	d, err := client.Invite(t.Context(), "sips:1@"+ts.addr("tls").String(), Request{Offer: []byte(testOffer)})
	if err != nil {
		t.Fatal(err)
	}
	next(t, d.Done(), "the gateway's BYE")
	ts.ended(t, ErrHungUp)
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// TestClientDistrusts: the test caller says so when the server's certificate
// is signed by nobody it knows.
func TestClientDistrusts(t *testing.T) {
	t.Parallel()
	ts := serveOptions(t, newTestCA(t).securely(), nil, nil)
	_, err := newTestClient(t).Invite(t.Context(), "sips:1@"+ts.addr("tls").String(), Request{Offer: []byte(testOffer)})
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
		t.Errorf("got %v", err)
	}
}

// TestClientIsTurnedAway: without a certificate the test caller learns at once
// that it is of no trunk.
func TestClientIsTurnedAway(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	o := ca.securely()
	o.Trunks = o.Trunks[1:]
	ts := serveOptions(t, o, nil, nil)
	client, err := NewClient(ClientOptions{Local: netip.AddrPortFrom(loopback, 0), TLS: ClientTLS{CA: ca.file}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	_, err = client.Invite(t.Context(), "sips:1@"+ts.addr("tls").String(), Request{Offer: []byte(testOffer)})
	if closed, ok := errors.AsType[*ClosedError](err); !ok || closed.Addr != ts.addr("tls").String() {
		t.Errorf("got %v", err)
	}
}

// TestSIPSContact: a call by sips: is answered with a sips: Contact.
func TestSIPSContact(t *testing.T) {
	for network, want := range map[string]string{
		"udp": "<sip:gw:5060>", "tcp": "<sip:gw:5060;transport=tcp>", "tls": "<sip:gw:5060;transport=tls>",
		"ws": "<sip:gw:5060;transport=ws>", "wss": "<sip:gw:5060;transport=ws>",
	} {
		if got := (endpoint{network: network, host: "gw", port: 5060}).contact().Value(); got != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
	}
	for network, want := range map[string]string{"tls": "<sips:gw:5061>", "wss": "<sips:gw:5061;transport=ws>"} {
		if got := (endpoint{network: network, host: "gw", port: 5061, sips: true}).contact().Value(); got != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
	}
}

func TestHop(t *testing.T) {
	for _, tt := range []struct{ uri, dialog, network, addr string }{
		{"sip:1@10.0.0.1", "udp", "udp", "10.0.0.1:5060"},
		{"sip:1@10.0.0.1", "tls", "tls", "10.0.0.1:5061"},
		{"sip:1@10.0.0.1;transport=TCP", "udp", "tcp", "10.0.0.1:5060"},
		{"sip:1@10.0.0.1;transport=tls", "udp", "tls", "10.0.0.1:5061"},
		{"sips:1@10.0.0.1", "udp", "tls", "10.0.0.1:5061"},
		{"sips:1@10.0.0.1:5071;transport=tcp", "tls", "tls", "10.0.0.1:5071"},
		{"sip:1@x.invalid;transport=ws", "wss", "wss", "x.invalid:443"},
		{"sip:1@x.invalid;transport=ws", "ws", "ws", "x.invalid:80"},
		{"sips:1@x.invalid;transport=ws", "ws", "wss", "x.invalid:443"},
	} {
		uri, err := parseTarget(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		if network, addr := hop(uri, tt.dialog); network != tt.network || addr != tt.addr {
			t.Errorf("%s in a dialog by %s: %s %s, want %s %s", tt.uri, tt.dialog, network, addr, tt.network, tt.addr)
		}
	}
}
