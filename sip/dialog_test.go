package sip

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
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
		"contact":      "<sip:" + ts.addr("udp").String() + `>;automata;actor="msg-taker"`, // RFC 3840
		"allow":        allAllowed,
		"supported":    "100rel, timer",
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
			c.peer.send(okTo(m))
			break
		}
		if strings.HasPrefix(m.start, "SIP/2.0 200") {
			copies++
		}
	}
	if lasted := time.Since(start); lasted < 64*ts.t1 {
		t.Errorf("BYE after %v, want %v", lasted, 64*ts.t1)
	}
	if copies < 2 { // TestResendSchedule says when they are due
		t.Errorf("%d copies of the 200", copies)
	}
	ts.ended(t, ErrNoACK)
	if n := ts.Stats().NoACK; n != 1 {
		t.Errorf("NoACK %d", n)
	}
}

// okTo answers a request of the server.
func okTo(m message) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 200 OK\r\n")
	for _, name := range []string{"via", "from", "to", "call-id", "cseq"} {
		for _, v := range m.headers[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
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
			router.send(okTo(bye))
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
	if m, ok := c.peer.read(50 * time.Millisecond); ok && strings.HasPrefix(m.start, "BYE ") {
		t.Errorf("%s before the ACK", m.start)
	}
	c.ack("")
	bye := c.peer.expect("BYE ", "BYE")
	c.peer.send(okTo(bye))
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
	p.send(okTo(p.expect("BYE ", "BYE")))

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

// TestLargeBye: a BYE with a long route set goes by TCP, and by UDP where that
// fails (RFC 3261 section 18.1.1).
func TestLargeBye(t *testing.T) {
	ts := serveTest(t, nil, func(_ context.Context, c *Call) { _ = c.Answer([]byte(testAnswer), &media{}) })
	both, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(peertest.Address(t))) // a port that is free for TCP too
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = both.Close() }()
	c := (&rawPeer{t: t, conn: both, to: ts.addr("udp")}).newCall()
	c.extra = []string{"Record-Route: <sip:" + c.peer.addr() + ";lr>"}
	for i := range 30 {
		c.extra = append(c.extra, fmt.Sprintf("Record-Route: <sip:proxy-with-a-long-name-%d.example.com;lr>", i))
	}
	tcp, err := net.Listen("tcp", c.peer.addr())
	if err != nil {
		t.Fatal(err)
	}
	c.establish()
	conn, err := tcp.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = tcp.Close()
	buf := make([]byte, 8192)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	bye := parseMessage(string(buf[:n]))
	if !strings.HasPrefix(bye.start, "BYE ") || !strings.HasPrefix(bye.get("via"), "SIP/2.0/TCP ") {
		t.Errorf("%s by %s", bye.start, bye.get("via"))
	}
	if _, err := conn.Write([]byte(okTo(bye))); err != nil {
		t.Error(err)
	}
	ts.ended(t, nil)
	if err := ts.byes.wait(t.Context()); err != nil {
		t.Error(err)
	}
	_ = conn.Close()

	c = &rawCall{peer: c.peer, id: "second", user: c.user, branch: "z9hG4bKsecond", seq: 1, body: testOffer, extra: c.extra}
	c.establish() // nobody listens on TCP now
	if m := c.peer.expect("BYE ", "BYE"); len(m.text) <= maxDatagram {
		t.Errorf("a BYE of %d bytes", len(m.text))
	} else {
		c.peer.send(okTo(m))
	}
}
