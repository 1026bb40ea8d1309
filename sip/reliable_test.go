package sip

import (
	"testing"
	"time"
)

// newReliable is a call that requires reliable provisional responses.
func (p *rawPeer) newReliable() *rawCall {
	c := p.newCall()
	c.extra = []string{"Require: 100rel"}
	return c
}

// rang waits for the 180 and keeps what a PRACK needs of it.
func (c *rawCall) rang() message {
	c.peer.t.Helper()
	c.send("INVITE")
	ringing := c.peer.expect("SIP/2.0 180", "INVITE")
	c.toTag = ringing.toTag()
	c.extra = []string{"RAck: " + ringing.get("rseq") + " 1 INVITE"}
	return ringing
}

// prack confirms the 180, with a body where one is due.
func (c *rawCall) prack(body string) {
	c.peer.t.Helper()
	c.next().body = body
	c.send("PRACK")
}

// acked sends the ACK of the INVITE although other requests came between.
func (c *rawCall) acked() {
	c.peer.t.Helper()
	a := *c
	a.seq, a.extra = 1, nil
	a.ack("")
	c.extra = nil
}

func TestReliable(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newReliable()
	ringing := c.rang()
	for name, want := range map[string]string{
		"require": "100rel", "contact": "<sip:" + ts.addr("udp").String() + `>;automata;actor="msg-taker"`, "content-type": "",
	} {
		if got := ringing.get(name); got != want {
			t.Errorf("%s of the 180: %q, want %q", name, got, want)
		}
	}
	if rseq := ringing.get("rseq"); rseq == "" || rseq == "0" || ringing.body != "" {
		t.Errorf("RSeq %q, body %q", rseq, ringing.body)
	}
	if m := c.peer.expect("SIP/2.0 180", "INVITE"); m.text != ringing.text { // after T1
		t.Errorf("the copy of the 180 differs: %s", m.text)
	}
	right := c.extra
	for _, wrong := range []string{"RAck: 1 1 INVITE", "RAck: " + ringing.get("rseq") + " 2 INVITE", "X-RAck: 1"} {
		c.extra = []string{wrong}
		c.prack("")
		c.peer.expect("SIP/2.0 481", "PRACK")
	}
	c.extra = right
	c.prack(testOffer) // while the first is without an answer
	c.peer.expect("SIP/2.0 488", "PRACK")
	u := *c
	u.extra = nil
	u.next().send("UPDATE")
	if m := c.peer.expect("SIP/2.0 500", "UPDATE"); m.get("retry-after") == "" {
		t.Error("no Retry-After")
	}
	c.seq = u.seq
	c.prack("")
	c.peer.expect("SIP/2.0 200", "PRACK")
	ok := c.peer.expect("SIP/2.0 200", "INVITE")
	if ok.toTag() != ringing.toTag() || ok.body != testAnswer {
		t.Errorf("To tag %q after %q, body %q", ok.toTag(), ringing.toTag(), ok.body)
	}
	c.acked()
	c.extra = right
	c.prack("")
	c.peer.expect("SIP/2.0 481", "PRACK") // nothing waits for it any more
	c.bye()
	ts.ended(t, ErrCallerHungUp)
}

// TestReliableLateOffer: the 180 carries our offer, the PRACK the answer, and
// the 200 nothing.
func TestReliableLateOffer(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newReliable()
	c.body = ""
	if ringing := c.rang(); ringing.body != testAnswer {
		t.Errorf("our offer %q", ringing.body)
	}
	c.prack("v=0\r\nanswer")
	c.peer.expect("SIP/2.0 200", "PRACK")
	if ok := c.peer.expect("SIP/2.0 200", "INVITE"); ok.body != "" {
		t.Errorf("a second offer %q", ok.body)
	}
	if _, answers := ts.media.heard(); len(answers) != 1 || answers[0] != "v=0\r\nanswer" {
		t.Errorf("answers %q", answers)
	}
	c.acked()
	c.bye()

	c = newRawPeer(t, ts, "127.0.0.1").newReliable()
	c.body = ""
	c.rang()
	c.prack("v=0\r\nunusable")
	c.peer.expect("SIP/2.0 200", "PRACK")
	c.peer.expect("SIP/2.0 488", "INVITE")
}

// TestReliableEnds: what ends a call that rings.
func TestReliableEnds(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		code         string // of the INVITE
		cause        error
	}{
		{"CANCEL", "CANCEL", "487", ErrCancelled},
		{"BYE", "BYE", "487", ErrCancelled},
		{"no PRACK", "", "504", ErrNoPRACK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			change := func(*Server) {}
			if tt.method == "" {
				change = quick
			}
			ts := serveTest(t, change, nil)
			c := newRawPeer(t, ts, "127.0.0.1").newReliable()
			start := time.Now()
			c.rang()
			c.extra = nil
			other := *c
			switch tt.method {
			case "CANCEL":
				other.toTag = ""
				other.send("CANCEL")
				c.peer.expect("SIP/2.0 200", "CANCEL")
				c.peer.expect("SIP/2.0 "+tt.code, "INVITE")
			case "BYE":
				other.next().send("BYE")
				got := map[string]bool{} // in either order
				for !got["SIP/2.0 200 OK 2 BYE"] || !got["SIP/2.0 "+tt.code+" Request Terminated 1 INVITE"] {
					m, ok := c.peer.read(patience)
					if !ok {
						t.Fatalf("got %v", got)
					}
					got[m.start+" "+m.get("cseq")] = true
				}
			default:
				c.peer.expect("SIP/2.0 "+tt.code, "INVITE")
				if lasted := time.Since(start); lasted < 64*ts.t1 {
					t.Errorf("given up after %v, want %v", lasted, 64*ts.t1)
				}
			}
			c.send("ACK")
			ts.ended(t, tt.cause)
			if n := ts.Stats().Answered; n != 0 {
				t.Errorf("%d answered", n)
			}
		})
	}
}
