package sip

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newTestClient(tb testing.TB) *Client {
	tb.Helper()
	c, err := NewClient(ClientOptions{Local: netip.AddrPortFrom(loopback, 0)}, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return c
}

func TestCall(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			ts := serveTest(t, nil, nil)
			client := newTestClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			d, err := client.Invite(ctx, "sip:+4930123456@"+ts.addr(network).String(), Request{
				Offer: []byte(testOffer), From: "+4940999", FromName: "Caller", Transport: network,
				Headers: map[string][]string{"Diversion": {"<sip:+4930777@pbx.local>;reason=no-answer"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			c := ts.call(t)
			if c.Callees[0].Number != "+4930777" || c.Callees[0].Reason != "missed" || c.Caller.Number != "+4940999" || c.Caller.Name != "Caller" {
				t.Errorf("callees %+v, caller %+v", c.Callees, c.Caller)
			}
			if string(c.Offer) != testOffer || string(d.Answer) != testAnswer {
				t.Errorf("offer %q, answer %q", c.Offer, d.Answer)
			}
			if c.ID != "call-1" || c.Trunk.Name != "test" || c.Source.Addr() != loopback || c.CallID == "" {
				t.Errorf("call %+v", c)
			}
			if err := d.Bye(ctx); err != nil {
				t.Fatal(err)
			}
			ts.ended(t, ErrCallerHungUp)
			if tm := d.Timing(); tm.Answer <= 0 || tm.Bye <= 0 {
				t.Errorf("timing %+v", tm)
			}
			<-d.Done()
		})
	}
}

func TestHangup(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			m := &media{}
			hungUp := make(chan error, 2)
			ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
				if err := c.Answer([]byte(testAnswer), m); err != nil {
					hungUp <- err
					return
				}
				hungUp <- c.Hangup(context.WithoutCancel(ctx), CauseTimeout)
				hungUp <- c.Hangup(context.WithoutCancel(ctx), CauseTimeout)
			})
			client := newTestClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			d, err := client.Invite(ctx, "sip:1@"+ts.addr(network).String(), Request{Offer: []byte(testOffer), Transport: network})
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-d.Done():
			case <-ctx.Done():
				t.Fatal("no BYE came")
			}
			if err := next(t, hungUp, "the first Hangup"); err != nil {
				t.Error(err)
			}
			if err := next(t, hungUp, "the second Hangup"); !errors.Is(err, ErrHungUp) {
				t.Errorf("a second Hangup: %v", err)
			}
			ts.ended(t, ErrHungUp)
		})
	}
}

func TestClientRefused(t *testing.T) {
	ts := serveTest(t, nil, nil)
	client := newTestClient(t)
	_, err := client.Invite(t.Context(), "sip:404@"+ts.addr("udp").String(), Request{Offer: []byte(testOffer)})
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 480 || status.Error() != "480 Temporarily Unavailable" {
		t.Errorf("got %v", err)
	}
}

func TestClientCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		cancel()
		<-ctx.Done()
		if err := c.Answer(nil, nil); !errors.Is(err, ErrCancelled) {
			t.Errorf("Answer after the CANCEL: %v", err)
		}
	})
	client := newTestClient(t)
	_, err := client.Invite(ctx, "sip:1@"+ts.addr("udp").String(), Request{Offer: []byte(testOffer)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ts.ended(t, ErrCancelled)
}

// TestIPv6 calls over [::1], where every URI needs its brackets.
func TestIPv6(t *testing.T) {
	local := netip.AddrPortFrom(netip.IPv6Loopback(), 0)
	s, err := Listen(Options{
		Listen: []ListenAddress{{"udp", local}, {"tcp", local}},
		Trunks: []Trunk{{Name: "six", From: []netip.Prefix{netip.MustParsePrefix("::1/128")}}},
		NewID:  func() string { return "id" },
	}, slog.New(slog.DiscardHandler))
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Skipf("no IPv6 here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(context.WithoutCancel(t.Context()), func(ctx context.Context, c *Call) {
			if err := c.Answer([]byte(testAnswer), &media{}); err != nil {
				t.Error(err)
			}
			if c.Callees[0].User == "hangup" {
				if err := c.Hangup(context.WithoutCancel(ctx), CauseNormal); err != nil {
					t.Error(err)
				}
			}
			<-ctx.Done()
		})
	}()
	client, err := NewClient(ClientOptions{Local: local}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, l := range s.Addrs() {
		for _, user := range []string{"1", "hangup"} {
			d, err := client.Invite(ctx, "sip:"+user+"@"+l.Addr.String(), Request{Offer: []byte(testOffer), Transport: l.Network})
			if err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			if user == "1" {
				err = d.Bye(ctx)
			}
			if err != nil {
				t.Errorf("%s: %v", l, err)
			}
			next(t, d.Done(), "the end")
		}
	}
	if err := errors.Join(client.Close(), s.Close(), <-served); err != nil {
		t.Error(err)
	}
}

func TestClientSilence(t *testing.T) {
	deaf := listenUDP(t, "127.0.0.1:0")
	client := newTestClient(t)
	_, err := client.Invite(t.Context(), "sip:1@"+deaf.LocalAddr().String(), Request{Offer: []byte(testOffer), Patience: 50 * time.Millisecond})
	var silent *SilentError
	if !errors.As(err, &silent) || err.Error() != "no answer from "+deaf.LocalAddr().String()+" within 0.05 s" {
		t.Errorf("got %v", err)
	}
}

func TestClientUnreachableContact(t *testing.T) {
	t.Parallel()                                                                                         // the server waits for the ACK when it closes
	ts := serveTest(t, func(s *Server) { s.advertise = advertised{host: "192.0.2.1", port: 5060} }, nil) // not from a loopback socket
	_, err := newTestClient(t).Invite(t.Context(), "sip:1@"+ts.addr("udp").String(), Request{Offer: []byte(testOffer)})
	var contact *ContactError
	if !errors.As(err, &contact) || contact.Contact != "192.0.2.1:5060" {
		t.Errorf("got %v", err)
	}
}

func TestTargets(t *testing.T) {
	for _, target := range []string{"", "101", "sip:200", "tel:+4930123456", "sip:1@", "sip:@127.0.0.1"} {
		if _, err := LocalFor(t.Context(), target); err == nil || !strings.Contains(err.Error(), "write it like sip:") {
			t.Errorf("%q: %v", target, err)
		}
	}
	for _, target := range []string{"sip:1@127.0.0.1", "sip:1@127.0.0.1:5070;transport=tcp", "sips:1@127.0.0.1"} {
		if local, err := LocalFor(t.Context(), target); err != nil || local != loopback {
			t.Errorf("%q: %v, %v", target, local, err)
		}
	}
}
