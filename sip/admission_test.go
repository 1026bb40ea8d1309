package sip

import (
	"bytes"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// limited is a change to a test server: the limits of all trunks, and of its
// one trunk. Buckets do not fill again, however slow the machine is.
func limited(all, trunk Limits) func(*Server) {
	return func(s *Server) {
		t := s.trunks.find(loopback)
		t.Limits = trunk
		s.admission.limits.Store(&all)
		s.admission.rate.freeze(all.Rate)
		s.admission.meter(t).rate.freeze(trunk.Rate)
	}
}

// freeze has a full bucket never fill again.
func (b *bucket) freeze(perSecond int) { b.rate = rate.NewLimiter(0, perSecond) }

func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		all, trunk Limits
		why        string
	}{
		"calls":       {all: Limits{Calls: 2}, why: "calls"},
		"rate":        {all: Limits{Rate: 2}, why: "rate"},
		"trunk calls": {all: Limits{Calls: 3, Rate: 3}, trunk: Limits{Calls: 2}, why: "trunk_calls"},
		"trunk rate":  {all: Limits{Calls: 3, Rate: 3}, trunk: Limits{Rate: 2}, why: "trunk_rate"},
	} {
		t.Run(name, func(t *testing.T) {
			ts := serveTest(t, limited(tt.all, tt.trunk), nil)
			p := newRawPeer(t, ts, "127.0.0.1")
			first, second := p.newCall(), p.newCall()
			first.establish()
			second.establish()

			third := p.newCall()
			for range 2 { // a copy gets the same answer, and counts once
				third.send("INVITE")
				m := p.expect("SIP/2.0 503", "INVITE")
				if m.get("retry-after") != "2" || m.get("content-length") != "0" || !strings.HasPrefix(m.toTag(), turnedTag) {
					t.Errorf("got %s", m.text)
				}
				third.toTag = m.toTag()
				third.send("ACK")
				third.toTag = ""
			}
			turned := maps.Clone(ts.Stats().TurnedAway)
			if turned[tt.why] != 1 {
				t.Errorf("counted %v, want one for %s", turned, tt.why)
			}
			delete(turned, tt.why)
			for why, n := range turned {
				if n != 0 {
					t.Errorf("%d for %s", n, why)
				}
			}

			// The calls in progress go on, and what was turned away stays so.
			first.next().send("INVITE")
			p.expect("SIP/2.0 200", "INVITE")
			first.ack("")
			first.bye()
			second.bye()
			third.send("INVITE")
			p.expect("SIP/2.0 503", "INVITE")
			if n := len(ts.calls); n != 2 {
				t.Errorf("%d calls, want 2", n)
			}
		})
	}
}

// TestLimitsOverTCP: a stream is parsed by then, but no call comes of it.
func TestLimitsOverTCP(t *testing.T) {
	ts := serveTest(t, limited(Limits{Calls: 1, Rate: 2}, Limits{}), nil)
	client := newTestClient(t)
	target := "sip:+4930123456@" + ts.addr("tcp").String()
	request := Request{Offer: []byte(testOffer), From: "+4940999", Transport: "tcp"}
	d, err := client.Invite(t.Context(), target, request)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(why string) {
		t.Helper()
		if _, err := client.Invite(t.Context(), target, request); err == nil || err.Error() != "503 Service Unavailable" {
			t.Errorf("%v, want 503", err)
		}
		if got := ts.Stats().TurnedAway; got[why] != 1 {
			t.Errorf("counted %v, want one for %s", got, why)
		}
	}
	refused("calls")
	if err := d.Bye(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ts.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err = client.Invite(t.Context(), target, request); err != nil {
		t.Fatal(err)
	}
	if err := d.Bye(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ts.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("rate")
}

// TestLimitsAreExact: what passes the first look at once does not pass the gate.
func TestLimitsAreExact(t *testing.T) {
	ts := serveTest(t, limited(Limits{Calls: 10}, Limits{}), nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	for range 30 {
		p.newCall().send("INVITE")
	}
	got := map[string]int{}
	for answered := map[string]bool{}; len(answered) < 30; { // a 200 is resent
		m, ok := p.read(patience)
		if !ok {
			t.Fatalf("got only %v", got)
		}
		if code, id := strings.Fields(m.start)[1], m.get("call-id"); code != "100" && !answered[id] {
			got[code]++
			answered[id] = true
		}
	}
	if got["200"] != 10 || got["503"] != 20 || ts.Active() != 10 {
		t.Errorf("got %v, %d active", got, ts.Active())
	}
}

// TestRoomComesBack: a second fills the bucket again.
func TestRoomComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, trunk := newAdmission(Limits{Rate: 10}, &gate{}, nil), &Trunk{Name: "pbx", Limits: Limits{Rate: 20}}
		key := uint64(0)
		admittedOf := func(n int) (in int) {
			for range n {
				key++
				if a.weigh(trunk, key, time.Now()) == admitted {
					in++
				}
			}
			return in
		}
		if n := admittedOf(15); n != 10 {
			t.Errorf("%d at once, want 10", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n := admittedOf(15); n != 5 {
			t.Errorf("%d after half a second, want 5", n)
		}
		trunk.Limits.Rate = 1 // read again from the file
		time.Sleep(time.Second)
		if n := admittedOf(15); n != 1 || a.counts()["trunk_rate"] != 14 {
			t.Errorf("%d with a trunk's rate of 1, %v", n, a.counts())
		}
	})
}

// TestBucketOfAnotherSize: what is in it stays, as far as it has room.
func TestBucketOfAnotherSize(t *testing.T) {
	var b bucket
	now := time.Now()
	for _, tt := range []struct{ perSecond, takes, want int }{
		{10, 4, 4}, // of 10 are 6 left
		{20, 9, 6},
		{0, 50, 50},
		{5, 9, 0},
	} {
		got := 0
		for range tt.takes {
			if b.take(tt.perSecond, now) {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("with %d a second %d of %d, want %d", tt.perSecond, got, tt.takes, tt.want)
		}
	}
	if now = now.Add(time.Second); !b.take(5, now) || !b.take(2, now) || !b.take(2, now) || b.take(2, now) {
		t.Error("a second later it holds more or less than it is to")
	}
	if full := (bucket{}); !full.take(1, now) || full.take(1, now) {
		t.Error("the zero bucket is not full")
	}
}

// TestOptionsTellWhenFull: a dispatcher asks elsewhere while a call would be refused.
func TestOptionsTellWhenFull(t *testing.T) {
	var broken atomic.Bool
	ts := serveTest(t, func(s *Server) {
		limited(Limits{Calls: 1}, Limits{})(s)
		s.canTake = func() bool { return !broken.Load() }
	}, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	options := func(status, pause string) {
		t.Helper()
		p.newCall().send("OPTIONS")
		if m := p.expect("SIP/2.0 "+status, "OPTIONS"); m.get("retry-after") != pause {
			t.Errorf("Retry-After %q, want %q", m.get("retry-after"), pause)
		}
	}
	options("200", "")
	c := p.newCall()
	c.establish()
	options("503", "2")
	c.next().send("OPTIONS") // within a call it asks for that call
	p.expect("SIP/2.0 200", "OPTIONS")
	c.bye()
	if err := ts.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	options("200", "")
	broken.Store(true)
	options("503", "10")
	ts.Drain()
	options("503", "30")
}

// TestTurnedAwayIsLogged: one line a minute, which names nobody.
func TestTurnedAwayIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		a := newAdmission(Limits{}, &gate{}, slog.New(slog.NewTextHandler(&lines, nil)))
		said := func(want string) {
			t.Helper()
			if got := lines.String(); want == "" && got != "" || !strings.HasSuffix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			lines.Reset()
		}
		a.count(draining, time.Now())
		a.count(admitted, time.Now())
		said("")
		a.count(tooFast, time.Now())
		said("limit=rate turned_away=2\n")
		for range 5 {
			a.count(trunkTooMany, time.Now())
		}
		said("")
		time.Sleep(tellPause)
		a.count(tooMany, time.Now())
		said("limit=calls turned_away=6\n")
	})
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory[uint64, verdict]{span: decisionSpan, size: decisionSize}
		known := func(key uint64, want bool) {
			t.Helper()
			if v, got := m.recall(key, time.Now()); got != want || got && v != tooFast {
				t.Errorf("%d: %v %v, want %v", key, v, got, want)
			}
		}
		known(1, false)
		m.keep(1, tooFast, time.Now())
		time.Sleep(decisionSpan)
		known(1, true)
		m.keep(2, tooFast, time.Now())
		time.Sleep(decisionSpan)
		known(1, false)
		known(2, true)
		time.Sleep(2 * decisionSpan)
		known(2, false)
		for key := range uint64(3 * decisionSize) {
			m.keep(key, tooFast, time.Now())
		}
		if n := len(m.young) + len(m.old); n > 2*decisionSize {
			t.Errorf("%d kept", n)
		}
		known(3*decisionSize-1, true)
	})
}

// TestLimitsOfOddInvites: who writes so that the first look cannot read it
// passes no limit.
func TestLimitsOfOddInvites(t *testing.T) {
	ts := serveTest(t, limited(Limits{Rate: 1}, Limits{}), nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	odd := func(c *rawCall) string {
		return strings.Replace(c.text("INVITE"), "UDP "+p.addr(), "UDP 127.0.0.1:0", 1)
	}
	first := p.newCall()
	p.send(odd(first))
	first.toTag = p.expect("SIP/2.0 200", "INVITE").toTag()
	first.ack("")
	for range 5 {
		p.send(odd(p.newCall()))
	}
	if m, ok := p.read(time.Second); ok {
		t.Errorf("got %s", m.text)
	}
	if got := ts.Stats(); got.Calls != 1 || got.TurnedAway["rate"] != 5 {
		t.Errorf("%d calls, turned away %v", got.Calls, got.TurnedAway)
	}
	first.bye()
}

// TestPanicLeavesNoCall: an INVITE that nobody foresaw costs no place.
func TestPanicLeavesNoCall(t *testing.T) {
	ts := serveTest(t, func(s *Server) {
		limited(Limits{Calls: 1}, Limits{Calls: 1})(s)
		again, first := s.newID, true
		s.newID = func() string {
			if first {
				first = false
				panic("an INVITE that nobody foresaw")
			}
			return again()
		}
	}, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	p.newCall().send("INVITE")
	p.expect("SIP/2.0 500", "INVITE")
	c := p.newCall()
	c.establish()
	c.bye()
	if err := ts.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLimitsOfAnAccount: its calls keep to the limits where the address they
// come from is that of a trunk that logs in, too.
func TestLimitsOfAnAccount(t *testing.T) {
	ts := serveTest(t, func(s *Server) {
		s.trunks.find(loopback).Digest = &Digest{User: "pbx", Password: "secret"}
		account := &Trunk{Name: "account", Limits: Limits{Rate: 1}, pilot: "500"}
		entrance := &atomic.Pointer[Trunk]{}
		entrance.Store(account)
		s.registrars.add(entrance, []netip.Addr{loopback}, time.Now())
		s.admission.meter(account).rate.freeze(1)
	}, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	first, second, other := p.newCall(), p.newCall(), p.newCall()
	first.user, second.user = "500", "500"
	first.establish()
	second.send("INVITE")
	p.expect("SIP/2.0 503", "INVITE")
	other.send("INVITE")
	p.expect("SIP/2.0 401", "INVITE")
	first.bye()
}
