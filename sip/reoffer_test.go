package sip

import (
	"errors"
	"testing"
)

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
	settle(t, func() bool { _, a := ts.media.heard(); return len(a) == 1 && a[0] == "v=0\r\nanswer" })
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
	c.peer.send(okTo(bye))
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
	call := ts.call(t)
	settle(t, func() bool { // the media side has taken the answer
		call.dialog.mu.Lock()
		defer call.dialog.mu.Unlock()
		return !call.dialog.reply.offer
	})
	if o, a := ts.media.heard(); len(o) != 1 || len(a) != 1 || a[0] != "v=0\r\nlate" {
		t.Errorf("offers %q, answers %q", o, a)
	}

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
	hold := make(chan struct{})
	ts.media.mu.Lock()
	ts.media.hold = hold
	ts.media.mu.Unlock()
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	c.next().send("INVITE")
	settle(t, func() bool { o, _ := ts.media.heard(); return len(o) == 1 })
	second := *c
	second.next().send("INVITE")
	if m := c.peer.expect("SIP/2.0 500", "INVITE"); m.get("retry-after") == "" {
		t.Error("no Retry-After")
	}
	close(hold)
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
