package sip

import (
	"strings"
	"testing"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// brief takes session intervals of a second, so that a test sees their end.
func brief(s *Server) { s.minSession = time.Second }

func TestSessionInterval(t *testing.T) {
	ts := serveTest(t, nil, nil)
	for _, tt := range []struct {
		name            string
		asked           []string
		code            string
		expires, needed string // Session-Expires and Require of the response
	}{
		{"nothing", nil, "200", "", ""},
		{"a peer that could", []string{"Supported: timer"}, "200", "", ""},
		{"the peer refreshes", []string{"Supported: timer", "Session-Expires: 1800;refresher=uac"}, "200", "1800;refresher=uac", "timer"},
		{"whoever", []string{"Supported: 100rel, timer", "Session-Expires: 90"}, "200", "90;refresher=uac", "timer"},
		{"this side refreshes", []string{"Require: timer", "Session-Expires: 600 ; Refresher=UAS"}, "200", "600;refresher=uas", "timer"},
		{"compact", []string{"k: timer", "x: 120;refresher=uas"}, "200", "120;refresher=uas", "timer"},
		{"a proxy asks", []string{"Session-Expires: 1800"}, "200", "1800;refresher=uas", ""},
		{"a proxy asks too much", []string{"Session-Expires: 30"}, "200", "", ""},
		{"too short", []string{"Supported: timer", "Session-Expires: 89"}, "422", "", ""},
		{"no number", []string{"Supported: timer", "Session-Expires: soon"}, "200", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newRawPeer(t, ts, "127.0.0.1").newCall()
			c.extra = tt.asked
			c.send("INVITE")
			m := c.peer.expect("SIP/2.0 "+tt.code, "INVITE")
			c.toTag = m.toTag()
			if m.get("session-expires") != tt.expires || m.get("require") != tt.needed {
				t.Errorf("Session-Expires %q, Require %q; want %q, %q", m.get("session-expires"), m.get("require"), tt.expires, tt.needed)
			}
			if tt.code == "422" {
				if m.get("min-se") != "90" {
					t.Errorf("Min-SE %q", m.get("min-se"))
				}
				c.send("ACK")
				return
			}
			c.ack("")
			for _, method := range []string{"UPDATE", "INVITE"} { // a refresh must be as long
				c.extra = []string{"Supported: timer", "Session-Expires: 60"}
				c.next().send(method)
				m := c.peer.expect("SIP/2.0 422", method)
				if m.get("min-se") != "90" {
					t.Errorf("%s: Min-SE %q", method, m.get("min-se"))
				}
				if method == "INVITE" {
					c.send("ACK")
				}
			}
			c.extra = nil
			c.bye()
		})
	}
}

// TestSessionExpires: a refresher that falls silent loses the call before the
// interval is over, and one that refreshes keeps it.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, brief, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Supported: timer", ""}
	refresh := func(method, interval string) {
		t.Helper()
		c.extra[1] = "Session-Expires: " + interval + ";refresher=uac"
		c.send(method)
		ok := c.peer.expect("SIP/2.0 200", method)
		if c.toTag = ok.toTag(); ok.get("session-expires") != interval+";refresher=uac" {
			t.Errorf("Session-Expires %q", ok.get("session-expires"))
		}
	}
	refresh("INVITE", "12")
	c.ack("")
	c.body = ""
	c.next()
	before := time.Now()
	refresh("UPDATE", "12")
	d := ts.call(t).dialog
	d.mu.Lock()
	end := d.session.end
	d.mu.Unlock()
	if end.Before(before.Add(8*time.Second)) || end.After(time.Now().Add(8*time.Second)) {
		t.Errorf("it ends %v after the refresh, want 8 s", end.Sub(before))
	}
	c.next()
	before = time.Now()
	refresh("UPDATE", "3")
	bye := c.peer.expect("BYE ", "BYE")
	if kept := time.Since(before); kept < 2*time.Second {
		t.Errorf("the BYE came %v after the refresh, want 2 s", kept)
	}
	if got := bye.get("reason"); !strings.HasPrefix(got, "Q.850;cause=102;") {
		t.Errorf("Reason %q", got)
	}
	c.peer.send(okTo(bye))
	ts.ended(t, ErrExpired)
}

// TestSessionOff: a refresh that asks for no timer ends it.
func TestSessionOff(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, brief, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Supported: timer", "Session-Expires: 4;refresher=uac"}
	c.establish()
	c.extra = nil
	c.next().send("UPDATE")
	c.peer.expect("SIP/2.0 200", "UPDATE")
	if m, ok := c.peer.read(3 * time.Second); ok {
		t.Errorf("%s", m.start)
	}
	c.bye()
}

// refreshNow has this side refresh the session at once, as soon as there is another
// than last and no exchange is under way.
func refreshNow(t *testing.T, d *dialog, last *session) *session {
	t.Helper()
	var timer *session
	settle(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		timer = d.session
		return timer != last && d.phase == confirmed && !d.offering && !d.asking
	})
	d.tick(timer)
	return timer
}

// another waits for a request that is no copy of the last.
func (p *rawPeer) another(last message, method string) message {
	p.t.Helper()
	for {
		if m := p.expect(method+" ", method); m.get("cseq") != last.get("cseq") {
			return m
		}
	}
}

// TestRefreshWithUpdate: this side is the refresher, until the peer says that
// it knows of no call.
func TestRefreshWithUpdate(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, brief, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Supported: timer", "Session-Expires: 12;refresher=uas", "Allow: INVITE, UPDATE", "Allow: BYE"}
	ok := c.establish()
	d := ts.call(t).dialog
	first := refreshNow(t, d, nil)
	update := c.peer.expect("UPDATE ", "UPDATE")
	if update.body != "" || update.get("session-expires") != "12;refresher=uac" || update.get("contact") != ok.get("contact") {
		t.Errorf("%s", update.text)
	}
	c.peer.send(okTo(update))
	refreshNow(t, d, first)
	again := c.peer.another(update, "UPDATE")
	if again.get("cseq") != "2 UPDATE" {
		t.Errorf("CSeq %q", again.get("cseq"))
	}
	c.peer.send(strings.Replace(okTo(again), "200 OK", "481 Gone", 1))
	bye := c.peer.expect("BYE ", "BYE")
	c.peer.send(okTo(bye))
	ts.ended(t, ErrExpired)
}

// TestRefreshHandedOver: the peer takes the refreshing over in its 200.
func TestRefreshHandedOver(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, brief, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Supported: timer", "Session-Expires: 12;refresher=uas", "Allow: UPDATE"}
	c.establish()
	refreshNow(t, ts.call(t).dialog, nil)
	update := c.peer.expect("UPDATE ", "UPDATE")
	taken := strings.Replace(okTo(update), "Content-Length", "Session-Expires: 3;refresher=uas\r\nContact: <sip:moved@"+c.peer.addr()+">\r\nContent-Length", 1)
	c.peer.send(taken)
	bye := c.peer.expect("BYE ", "BYE")
	if !strings.HasPrefix(bye.start, "BYE sip:moved@") {
		t.Errorf("%s after another Contact", bye.start)
	}
	c.peer.send(okTo(bye))
	ts.ended(t, ErrExpired)
}

// TestRefreshWithInvite: a peer that takes no UPDATE is offered the session as
// it stands, and its own offer has to wait meanwhile.
func TestRefreshWithInvite(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, brief, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Session-Expires: 12"} // of a proxy
	c.establish()
	d := ts.call(t).dialog
	first := refreshNow(t, d, nil)
	invite := c.peer.expect("INVITE ", "INVITE")
	if invite.body != testAnswer || invite.get("content-type") != typeSDP {
		t.Errorf("offer %q", invite.body)
	}
	c.extra = nil
	c.next().send("UPDATE")
	c.peer.expect("SIP/2.0 491", "UPDATE")

	const answer = "v=0\r\nheld"
	ok := strings.Replace(okTo(invite), "Content-Length: 0\r\n\r\n",
		"Contact: <sip:there@"+c.peer.addr()+">\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\n"+answer, 1)
	c.peer.send(ok)
	ack := c.peer.expect("ACK sip:there@", "ACK")
	if ack.get("cseq") != strings.Replace(invite.get("cseq"), "INVITE", "ACK", 1) {
		t.Errorf("the ACK of %q has %q", invite.get("cseq"), ack.get("cseq"))
	}
	c.peer.send(ok) // the ACK was lost
	if second := c.peer.expect("ACK sip:there@", "ACK"); second.text != ack.text {
		t.Errorf("another ACK:\n%s\n%s", second.text, ack.text)
	}
	settle(t, func() bool { _, a := ts.media.heard(); return len(a) == 1 && a[0] == answer })

	refreshNow(t, d, first)
	again := c.peer.another(invite, "INVITE") // and once more, with an answer that cannot be used
	c.peer.send(strings.NewReplacer(invite.get("cseq"), again.get("cseq"), invite.get("via"), again.get("via"),
		answer, "unusable!").Replace(ok))
	bye := c.peer.expect("BYE ", "BYE")
	c.peer.send(okTo(bye))
	ts.ended(t, ErrExpired)
}

// TestKeptACK: sending an ACK, which may take a connection, changes nothing of the
// one that is kept for copies of the 2xx.
func TestKeptACK(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	d := ts.call(t).dialog
	res := sipmsg.NewResponse(200, "OK")
	res.AppendHeader(&sipmsg.CSeqHeader{SeqNo: 7, MethodName: sipmsg.INVITE})
	ack, _ := d.confirm(res)
	to := ack.Destination()
	ack.SetDestination("192.0.2.1:5060") // as the dialer does
	if again := d.acked(7); again.Destination() != to {
		t.Errorf("the copy goes to %s, the first went to %s", again.Destination(), to)
	}
	c.bye()
}

// TestRefreshRefused: what is no verdict on the call is tried again, without an
// UPDATE where the peer knows none.
func TestRefreshRefused(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, brief, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{"Supported: timer", "Session-Expires: 60;refresher=uas", "Allow: UPDATE"}
	c.establish()
	call := ts.call(t)
	refreshNow(t, call.dialog, nil)
	update := c.peer.expect("UPDATE ", "UPDATE")
	refused := time.Now()
	c.peer.send(strings.Replace(okTo(update), "200 OK", "405 Method Not Allowed", 1))
	invite := c.peer.expect("INVITE ", "INVITE")
	if waited := time.Since(refused); waited < retrySoon-100*time.Millisecond { // and before the session is over
		t.Errorf("tried again after %v, want %v", waited, retrySoon)
	}
	c.peer.send(strings.Replace(okTo(invite), "200 OK", "491 Request Pending", 1))
	c.peer.expect("ACK ", "ACK")
	settle(t, func() bool {
		call.dialog.mu.Lock()
		defer call.dialog.mu.Unlock()
		return !call.dialog.asking
	})
	c.extra = nil
	c.bye()
	ts.ended(t, ErrCallerHungUp)
}
