package sip

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// quick makes our own timers 25 times as fast.
func quick(s *Server) {
	s.t1 = 20 * time.Millisecond
	s.dialogs.keep = 64 * s.t1
}

func TestAnswerHeaders(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Record-Route: <sip:127.0.0.2:5070;lr>, <sip:127.0.0.3;lr>"}
	ok := c.establish()
	for name, want := range map[string]string{
		"contact":      "<sip:" + ts.addr("udp").String() + ">",
		"allow":        "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE",
		"supported":    "",
		"server":       "Afterbeep",
		"content-type": "application/sdp",
		"call-id":      c.id,
		"cseq":         "1 INVITE",
	} {
		if _, there := ok.headers[name]; !there || ok.get(name) != want {
			t.Errorf("%s: %q, want %q", name, ok.headers[name], want)
		}
	}
	if got := ok.headers["record-route"]; len(got) != 2 || got[0] != "<sip:127.0.0.2:5070;lr>" {
		t.Errorf("Record-Route %q", got)
	}
	if ok.body != testAnswer {
		t.Errorf("body %q", ok.body)
	}
	c.bye()
	ts.ended(t, ErrCallerHungUp)
}

func TestOneToTag(t *testing.T) {
	ts := serveTest(t, nil, func(ctx context.Context, _ *Call) { <-ctx.Done() })
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.send("INVITE")
	trying := c.peer.expect("SIP/2.0 100", "INVITE") // comes by itself after 200 ms
	c.send("CANCEL")
	ok := c.peer.expect("SIP/2.0 200", "CANCEL")
	terminated := c.peer.expect("SIP/2.0 487", "INVITE")
	if trying.toTag() == "" || trying.toTag() != ok.toTag() || ok.toTag() != terminated.toTag() {
		t.Errorf("To tags %q, %q, %q", trying.toTag(), ok.toTag(), terminated.toTag())
	}
	c.toTag = ok.toTag()
	c.send("ACK")
	ts.ended(t, ErrCancelled)
}

func TestCancelElsewhere(t *testing.T) {
	ts := serveTest(t, nil, func(ctx context.Context, _ *Call) { <-ctx.Done() })
	for _, reason := range []string{"SIP;cause=200;text=\"Call completed elsewhere\"", "Q.850;cause=26"} {
		c := newRawPeer(t, ts, "127.0.0.1").newCall()
		c.send("INVITE")
		ts.call(t)
		c.extra = []string{"Reason: " + reason}
		c.send("CANCEL")
		c.peer.expect("SIP/2.0 487", "INVITE")
		ts.ended(t, ErrElsewhere)
	}
}

func TestCancelAfterAnswer(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	early := *c
	early.toTag = ""
	early.send("CANCEL")
	c.peer.expect("SIP/2.0 200", "CANCEL")
	if got := c.bye(); !strings.HasPrefix(got.start, "SIP/2.0 200") { // the call is still there
		t.Errorf("BYE: %s", got.start)
	}
	ts.ended(t, ErrCallerHungUp)
}

func TestCancelOfNothing(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.send("CANCEL")
	c.peer.expect("SIP/2.0 481", "CANCEL")
}

// TestCancelBurst sends INVITE and CANCEL back to back, which sipgo's
// goroutines reorder: each call must be cancelled all the same.
func TestCancelBurst(t *testing.T) {
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			_ = c.Refuse(486, 0)
		}
	})
	p := newRawPeer(t, ts, "127.0.0.1")
	const pairs, atOnce = 2000, 50
	terminated, cancelled := 0, 0
	calls := make(map[string]*rawCall)
	for sent := 0; sent < pairs; {
		for range atOnce {
			c := p.newCall()
			calls[c.id] = c
			c.send("INVITE")
			c.send("CANCEL")
			sent++
		}
		for terminated < sent || cancelled < sent {
			m, ok := p.read(patience)
			switch {
			case !ok:
				t.Fatalf("of %d pairs %d INVITEs got 487 and %d CANCELs 200", sent, terminated, cancelled)
			case strings.HasPrefix(m.start, "SIP/2.0 487"):
				c := calls[m.get("call-id")]
				if c == nil {
					continue // a copy
				}
				delete(calls, c.id)
				c.toTag = m.toTag()
				c.send("ACK")
				terminated++
			case strings.HasPrefix(m.start, "SIP/2.0 200") && strings.HasSuffix(m.get("cseq"), "CANCEL"):
				cancelled++
			case !strings.HasPrefix(m.start, "SIP/2.0 100"):
				t.Fatalf("unexpected %s for %s", m.start, m.get("cseq"))
			}
		}
	}
	for range pairs {
		ts.ended(t, ErrCancelled)
	}
}

func TestResentInvite(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.send("INVITE")
	first := c.peer.expect("SIP/2.0 200", "INVITE")
	c.send("INVITE")
	second := c.peer.expect("SIP/2.0 200", "INVITE")
	if first.text != second.text {
		t.Errorf("the copy was answered differently:\n%s\n%s", first.text, second.text)
	}
	c.toTag = first.toTag()
	c.ack("")
	c.bye()
	c.send("BYE") // resent
	c.peer.expect("SIP/2.0 200", "BYE")
	c.next().send("BYE") // another, after the end
	c.peer.expect("SIP/2.0 200", "BYE")
	ts.ended(t, ErrCallerHungUp)
	if calls := ts.Stats().Calls; calls != 1 {
		t.Errorf("%d calls came of one INVITE", calls)
	}
	first.start = ""
	c.toTag, c.seq, c.branch = "", 1, "z9hG4bKraw"+strings.TrimPrefix(c.id, "raw-")
	c.send("INVITE") // a late copy is not a second call
	if m, ok := c.peer.read(50 * time.Millisecond); ok {
		t.Errorf("a copy after the end was answered: %s", m.start)
	}
}

func TestMergedRequest(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	first := c.establish()
	fork := *c
	fork.toTag, fork.branch = "", "z9hG4bKotherway"
	fork.send("INVITE")
	loop := c.peer.expect("SIP/2.0 482", "INVITE")
	if loop.toTag() == first.toTag() {
		t.Error("both branches got one To tag")
	}
	c.bye()
}

// TestRetryAfterRefusal: a proxy that was refused may try another branch.
func TestRetryAfterRefusal(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.user = "404"
	c.send("INVITE")
	c.toTag = c.peer.expect("SIP/2.0 480", "INVITE").toTag()
	c.send("ACK")
	c.toTag, c.branch, c.user = "", "z9hG4bKsecondtry", "+4930123456"
	c.send("INVITE")
	c.toTag = c.peer.expect("SIP/2.0 200", "INVITE").toTag()
	c.ack("")
	c.bye()
}

func TestNoACK(t *testing.T) {
	ts := serveTest(t, quick, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	start := time.Now()
	c.send("INVITE")
	copies := 0
	for {
		m, ok := c.peer.read(patience)
		if !ok {
			t.Fatal("no BYE came")
		}
		if strings.HasPrefix(m.start, "BYE ") {
			if got := m.get("reason"); got != `Q.850;cause=102;text="Recovery on timer expiry"` {
				t.Errorf("Reason: %s", got)
			}
			c.peer.send(respondTo(m, "200 OK"))
			break
		}
		if strings.HasPrefix(m.start, "SIP/2.0 200") {
			copies++
		}
	}
	if lasted := time.Since(start); lasted < 64*ts.t1 || lasted > 64*ts.t1+time.Second {
		t.Errorf("BYE after %v, want %v", lasted, 64*ts.t1)
	}
	if copies != 11 { // at 0, 0.5, 1.5, 3.5, 7.5, 11.5 … 31.5 s
		t.Errorf("%d copies of the 200", copies)
	}
	ts.ended(t, ErrNoACK)
	if n := ts.Stats().NoACK; n != 1 {
		t.Errorf("NoACK %d", n)
	}
}

// respondTo answers a request of the server.
func respondTo(m message, status string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for _, name := range []string{"via", "from", "to", "call-id", "cseq"} {
		for _, v := range m.headers[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

func TestLateOffer(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.body = ""
	c.send("INVITE")
	ok := c.peer.expect("SIP/2.0 200", "INVITE")
	if call := ts.call(t); call.Offer != nil || ok.body != testAnswer {
		t.Errorf("offer %q, our offer %q", call.Offer, ok.body)
	}
	c.toTag = ok.toTag()
	// An offer before our own is answered has to wait.
	u := *c
	u.next().body = testOffer
	u.send("UPDATE")
	c.peer.expect("SIP/2.0 491", "UPDATE")
	c.seq = 1
	c.ack("v=0\r\nanswer")
	c.seq = 2
	eventually(t, func() bool { _, a := ts.media.heard(); return len(a) == 1 && a[0] == "v=0\r\nanswer" })
	c.bye()
	ts.ended(t, ErrCallerHungUp)
}

// TestUnusableAnswer: an answer in the ACK that fits nothing ends the call.
func TestUnusableAnswer(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.body = ""
	c.send("INVITE")
	c.toTag = c.peer.expect("SIP/2.0 200", "INVITE").toTag()
	c.ack("v=0\r\nunusable")
	bye := c.peer.expect("BYE ", "BYE")
	c.peer.send(respondTo(bye, "200 OK"))
	ts.ended(t, ErrHungUp)
}

func TestReinvite(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()

	c.next().body = "v=0\r\nhold"
	c.send("INVITE")
	held := c.peer.expect("SIP/2.0 200", "INVITE")
	c.send("INVITE") // a copy
	if again := c.peer.expect("SIP/2.0 200", "INVITE"); again.text != held.text {
		t.Error("the copy was answered differently")
	}
	c.ack("")
	if want := testAnswer + "a=version:1\r\n"; held.body != want {
		t.Errorf("answer %q, want %q", held.body, want)
	}

	c.next().body = "" // no offer: ours, and the answer in the ACK
	c.send("INVITE")
	if m := c.peer.expect("SIP/2.0 200", "INVITE"); m.body != testAnswer {
		t.Errorf("our offer %q", m.body)
	}
	c.ack("v=0\r\nlate")
	eventually(t, func() bool { o, a := ts.media.heard(); return len(o) == 1 && len(a) == 1 })

	ts.media.mu.Lock()
	ts.media.refuse = errors.New("no codec in common")
	ts.media.mu.Unlock()
	c.next().body = testOffer
	c.send("INVITE")
	c.peer.expect("SIP/2.0 488", "INVITE")
	c.send("ACK")

	c.seq = 1 // an old one
	c.branch = "z9hG4bKoutoforder"
	c.body = testOffer
	c.send("INVITE")
	c.peer.expect("SIP/2.0 500", "INVITE")
	c.send("ACK")
	c.seq = 10
	c.bye()
	ts.ended(t, ErrCallerHungUp)
}

func TestReinvitePending(t *testing.T) {
	ts := serveTest(t, nil, nil)
	ts.media.hold = make(chan struct{})
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	c.next().send("INVITE")
	eventually(t, func() bool { o, _ := ts.media.heard(); return len(o) == 1 })
	second := *c
	second.next().send("INVITE")
	if m := c.peer.expect("SIP/2.0 500", "INVITE"); m.get("retry-after") == "" {
		t.Error("no Retry-After")
	}
	close(ts.media.hold)
	c.peer.expect("SIP/2.0 200", "INVITE")
	c.ack("")
	c.seq = second.seq
	c.bye()
}

func TestUpdate(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	c.next().body = ""
	c.send("UPDATE")
	if m := c.peer.expect("SIP/2.0 200", "UPDATE"); m.body != "" {
		t.Errorf("an answer to no offer: %q", m.body)
	}
	c.next().body = testOffer
	c.send("UPDATE")
	if m := c.peer.expect("SIP/2.0 200", "UPDATE"); m.body == "" {
		t.Error("no answer")
	}
	c.bye()
}

// TestTargetRefresh: our BYE goes where the last Contact says, by the route set.
func TestTargetRefresh(t *testing.T) {
	for _, tt := range []struct {
		name, param string
		uri         func(router, target string) string
		routes      func(router, target string) []string
	}{
		{"loose router", ";lr", func(_, target string) string { return target }, func(router, _ string) []string { return []string{router, "<sip:127.0.0.1:1;lr>"} }},
		{"strict router", "", func(router, _ string) string { return strings.Trim(router, "<>") }, func(_, target string) []string { return []string{"<sip:127.0.0.1:1;lr>", "<" + target + ">"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hangUp := make(chan struct{})
			m := &media{}
			ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
				if err := c.Answer([]byte(testAnswer), m); err != nil {
					return
				}
				<-hangUp
				if err := c.Hangup(context.WithoutCancel(ctx), CauseNormal); err != nil {
					t.Errorf("Hangup: %v", err)
				}
			})
			router := newRawPeer(t, ts, "127.0.0.1")
			route := "<sip:" + router.addr() + tt.param + ">"
			c := newRawPeer(t, ts, "127.0.0.1").newCall()
			c.extra = []string{"Record-Route: " + route, "Record-Route: <sip:127.0.0.1:1;lr>"}
			c.establish()
			c.next().contact = "<sip:moved@127.0.0.1:9;x=1>"
			c.send("INVITE")
			c.peer.expect("SIP/2.0 200", "INVITE")
			c.ack("")
			time.Sleep(20 * time.Millisecond) // the ACK is served; until then the BYE waits anyway
			close(hangUp)
			bye := router.expect("BYE ", "BYE")
			target := "sip:moved@127.0.0.1:9;x=1"
			if want := "BYE " + tt.uri(route, target) + " SIP/2.0"; bye.start != want {
				t.Errorf("%s, want %s", bye.start, want)
			}
			if got, want := fmt.Sprint(bye.headers["route"]), fmt.Sprint(tt.routes(route, target)); got != want {
				t.Errorf("Route %s, want %s", got, want)
			}
			if bye.get("from") != "<sip:+4930123456@127.0.0.1>;tag="+c.toTag || !strings.HasSuffix(bye.get("to"), ";tag=from-"+c.id) {
				t.Errorf("From %s, To %s", bye.get("from"), bye.get("to"))
			}
			if got := bye.get("reason"); got != `Q.850;cause=16;text="Normal call clearing"` {
				t.Errorf("Reason %s", got)
			}
			router.send(respondTo(bye, "200 OK"))
			ts.ended(t, ErrHungUp)
		})
	}
}

// TestHangupBeforeACK: the BYE waits for the ACK (RFC 3261 section 15).
func TestHangupBeforeACK(t *testing.T) {
	m := &media{}
	ts := serveTest(t, nil, func(_ context.Context, c *Call) { _ = c.Answer([]byte(testAnswer), m) })
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.send("INVITE")
	c.toTag = c.peer.expect("SIP/2.0 200", "INVITE").toTag()
	ts.ended(t, nil) // the handler returned
	if m, ok := c.peer.read(50 * time.Millisecond); ok {
		t.Errorf("%s before the ACK", m.start)
	}
	c.ack("")
	bye := c.peer.expect("BYE ", "BYE")
	c.peer.send(respondTo(bye, "200 OK"))
}

func TestHandlerReturnsUnanswered(t *testing.T) {
	ts := serveTest(t, nil, func(context.Context, *Call) {})
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.send("INVITE")
	c.peer.expect("SIP/2.0 500", "INVITE")
	c.send("ACK")
}

func TestPanics(t *testing.T) {
	m := &media{}
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		switch c.Callees[0].User {
		case "1":
			panic("before the answer")
		case "2":
			_ = c.Answer([]byte(testAnswer), m)
			panic("after the answer")
		}
		_ = c.Answer([]byte(testAnswer), &media{panicked: true})
		<-ctx.Done()
	})
	p := newRawPeer(t, ts, "127.0.0.1")
	other := p.newCall()
	other.establish()

	c := p.newCall()
	c.user = "1"
	c.send("INVITE")
	p.expect("SIP/2.0 500", "INVITE")
	c.send("ACK")

	c = p.newCall()
	c.user = "2"
	c.send("INVITE")
	c.toTag = p.expect("SIP/2.0 200", "INVITE").toTag()
	c.ack("")
	p.send(respondTo(p.expect("BYE ", "BYE"), "200 OK"))

	other.next().send("INVITE") // the media side panics at its offer
	p.expect("SIP/2.0 500", "INVITE")
	other.send("ACK")
	if got := other.bye(); !strings.HasPrefix(got.start, "SIP/2.0 200") { // and the call went on
		t.Errorf("BYE: %s", got.start)
	}
	if n := ts.Stats().Panics; n != 3 {
		t.Errorf("%d panics counted", n)
	}
}

// eventually waits until something is true.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came true")
		}
	}
}
