package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCompact: every header in its one-letter form, and lists on one line, say
// what the long forms do (RFC 3261 section 7.3).
func TestCompact(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	say := func(method, more, body string) string {
		head := strings.Join([]string{
			method + " sip:500@127.0.0.1 SIP/2.0",
			"v:SIP/2.0/UDP " + p.addr() + ";branch=z9hG4bKcompact" + method + ";rport,SIP/2.0/UDP phone.example;branch=z9hG4bKinner",
			"f:\"Caller, A\"<sip:+4940999@127.0.0.1>;tag=from", "t:<sip:500@127.0.0.1>" + more, "i:compact", "CSeq:1 " + method,
			"m:<sip:caller@" + p.addr() + ">", "Max-Forwards:70", "k:timer,100rel,histinfo", "x:1800;refresher=uac",
			"Record-Route:<sip:" + p.addr() + ";lr>,<sip:inner.example;lr>",
			"diversion:<sip:+4930777@pbx>;reason=user-busy,\"Old, one\"<sip:+4930888@pbx>;reason=no-answer", "c:application/sdp",
		}, "\r\n")
		return fmt.Sprintf("%s\r\nl:%d\r\n\r\n%s", head, len(body), body)
	}
	p.send(say("INVITE", "", testOffer))
	ok := p.expect("SIP/2.0 200", "INVITE")
	call := ts.call(t)
	if call.Callees[0].Number != "+4930777" || call.Callees[0].Reason != "busy" || call.Callees[1].Number != "+4930888" {
		t.Errorf("callees %+v", call.Callees)
	}
	if call.Caller.Name != "Caller, A" || call.Caller.Number != "+4940999" || string(call.Offer) != testOffer {
		t.Errorf("caller %+v, offer %q", call.Caller, call.Offer)
	}
	if got := ok.headers["record-route"]; len(got) != 2 || ok.get("session-expires") != "1800;refresher=uac" {
		t.Errorf("Record-Route %q, Session-Expires %q", got, ok.get("session-expires"))
	}
	p.send(say("ACK", ";tag="+ok.toTag(), ""))
	settle(t, func() bool {
		call.dialog.mu.Lock()
		defer call.dialog.mu.Unlock()
		return call.dialog.phase == confirmed
	})
}

// TestLargeRequest: an INVITE of many datagrams' fragments, by UDP.
func TestLargeRequest(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.body = testOffer + strings.Repeat("a=x:"+strings.Repeat("y", 70)+"\r\n", 300)
	c.establish()
	if got := ts.call(t); string(got.Offer) != c.body {
		t.Errorf("an offer of %d bytes, want %d", len(got.Offer), len(c.body))
	}
	c.bye()
}

// TestTrying: while the mailbox is looked up for long, 100 comes within 200 ms
// (RFC 3261 section 17.2.1), and never where the answer is quicker.
func TestTrying(t *testing.T) {
	heard := make(chan bool, 1)
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		if c.Callees[0].User == "slow" {
			<-heard
		}
		_ = c.Answer([]byte(testAnswer), &media{})
		<-ctx.Done()
	})
	for user, want := range map[string]string{"slow": "SIP/2.0 100", "quick": "SIP/2.0 200"} {
		best := patience // of three: a machine under load is slow itself
		for range 3 {
			c := newRawPeer(t, ts, "127.0.0.1").newCall()
			c.user = user
			start := time.Now()
			c.send("INVITE")
			first, _ := c.peer.read(patience)
			took := time.Since(start)
			best = min(best, took)
			if !strings.HasPrefix(first.start, want) && (user == "slow" || took < trying) {
				t.Errorf("%s: first came %q, want %s", user, first.start, want)
			}
			if user == "slow" {
				heard <- true
			}
			if strings.HasPrefix(first.start, "SIP/2.0 100") {
				first = c.peer.expect("SIP/2.0 200", "INVITE")
			}
			c.toTag = first.toTag()
			c.ack("")
			c.bye()
		}
		if best > 700*time.Millisecond {
			t.Errorf("%s: the first response came after %v", user, best)
		}
	}
}

// TestReasons: a BYE of ours says why, in the words of Q.850 (RFC 3326).
func TestReasons(t *testing.T) {
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		if err := c.Answer([]byte(testAnswer), &media{}); err == nil {
			cause, _ := strconv.Atoi(c.Callees[0].User)
			_ = c.Hangup(context.WithoutCancel(ctx), Cause(cause))
		}
	})
	p := newRawPeer(t, ts, "127.0.0.1")
	for cause, text := range causeTexts {
		c := p.newCall()
		c.user = strconv.Itoa(int(cause))
		c.establish()
		bye := p.expect("BYE ", "BYE")
		if got, want := bye.get("reason"), fmt.Sprintf(`Q.850;cause=%d;text="%s"`, cause, text); got != want {
			t.Errorf("Reason %s, want %s", got, want)
		}
		p.send(okTo(bye))
		ts.ended(t, ErrHungUp)
	}
	for _, cause := range []Cause{16, 31, 38, 102} {
		if _, ok := causeTexts[cause]; !ok {
			t.Errorf("nothing is said with %d", cause)
		}
	}
}

// TestLostBye: a BYE is resent until it is answered (RFC 3261 section 17.1.2).
func TestLostBye(t *testing.T) {
	t.Parallel()
	hungUp := make(chan error, 1)
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		if err := c.Answer([]byte(testAnswer), &media{}); err == nil {
			hungUp <- c.Hangup(context.WithoutCancel(ctx), CauseTimeout)
		}
	})
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	first := c.peer.expect("BYE ", "BYE")
	for range 2 {
		if again := c.peer.expect("BYE ", "BYE"); again.text != first.text {
			t.Errorf("the copy differs:\n%s\n%s", first.text, again.text)
		}
	}
	select {
	case err := <-hungUp:
		t.Errorf("Hangup returned without an answer: %v", err)
	default:
	}
	c.peer.send(okTo(first))
	if err := next(t, hungUp, "the end of Hangup"); err != nil {
		t.Error(err)
	}
}

// TestResentBye: the BYE of a caller who did not hear the response gets the
// same one again, and the call ends once.
func TestResentBye(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	first := c.bye()
	c.send("BYE")
	if again := c.peer.expect("SIP/2.0 200", "BYE"); again.text != first.text {
		t.Errorf("the copy was answered differently:\n%s\n%s", first.text, again.text)
	}
	ts.ended(t, ErrCallerHungUp)
	if len(ts.causes) != 0 {
		t.Error("the call ended twice")
	}
}

// TestForks: an INVITE that a proxy sent two ways is one call, and each way has
// a To tag of its own (RFC 3261 sections 8.2.2.2 and 12.1).
func TestForks(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	fork := *c
	fork.branch = "z9hG4bKfork" + c.id
	c.send("INVITE")
	fork.send("INVITE")
	var codes []string
	tags := map[string]bool{}
	for len(codes) < 2 {
		m, ok := c.peer.read(patience)
		if !ok {
			t.Fatalf("only %v came", codes)
		}
		code, _, _ := strings.Cut(strings.TrimPrefix(m.start, "SIP/2.0 "), " ")
		if code == "100" {
			continue
		}
		codes = append(codes, code)
		tags[m.toTag()] = true
		if code == "200" {
			c.toTag = m.toTag()
		}
	}
	slices.Sort(codes)
	if !slices.Equal(codes, []string{"200", "482"}) || len(tags) != 2 {
		t.Errorf("got %v with %d To tags", codes, len(tags))
	}
	c.ack("")
	c.bye()
	if n := ts.Stats().Calls; n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestSippIPv6 has sipp call over [::1].
func TestSippIPv6(t *testing.T) {
	free := netip.AddrPortFrom(netip.IPv6Loopback(), 0)
	probe, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(free))
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	_ = probe.Close()
	ts := serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", free}, {"tcp", free}},
		Trunks: []Trunk{{Name: "six", From: prefixes("::1/128")}},
	}, nil, nil)
	for network, transport := range map[string]string{"udp": "u1", "tcp": "t1"} {
		for _, scenario := range []string{"call", "hold"} {
			sipp(t, scenario, ts.addr(network), transport, 5, "-s", "500")
		}
	}
	if n := ts.Stats().Answered; n != 20 {
		t.Errorf("%d calls answered, want 20", n)
	}
}
