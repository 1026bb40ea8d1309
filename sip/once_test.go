package sip

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What is refused before anybody has shown who it is gets one datagram, which is
// not resent: the source may be forged (RFC 3261 section 26.3.2.4).
func TestRefusedOnce(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, askPassword, nil)
	for name, tt := range map[string]struct{ method, line, code string }{
		"a challenge":            {"INVITE", "", "401"},
		"a wrong password":       {"INVITE", login{user: "pbx", password: "x", realm: "afterbeep", algorithm: "MD5", qop: "auth"}.header("INVITE", "sip:x"), "401"},
		"an extension":           {"INVITE", "Require: precondition", "420"},
		"another type of answer": {"INVITE", "Accept: text/plain", "406"},
		"a sign of life":         {"OPTIONS", "", "401"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c *rawCall
			var first, again message
			for quick, tries := false, 0; !quick; tries++ {
				if tries == 20 {
					t.Fatal("the machine is too slow")
				}
				c = newRawPeer(t, ts, "127.0.0.1").newCall()
				if tt.line != "" {
					c.extra = []string{tt.line}
				}
				if first, quick = c.answeredOnce(tt.method, tt.code); !quick {
					continue
				}
				if m, ok := c.peer.read(4 * t1); ok {
					t.Fatalf("a second datagram for one request:\n%s", m.text)
				}
				again, quick = c.answeredOnce(tt.method, tt.code) // as when the first was lost
			}
			if again.toTag() != first.toTag() {
				t.Error("a copy of the request got another To tag")
			}
			if tt.code == "401" && again.get("www-authenticate") == first.get("www-authenticate") {
				t.Error("the challenge was remembered")
			}
			ack := *c
			ack.toTag, ack.body = first.toTag(), ""
			ack.send("ACK")
			if m, ok := c.peer.read(200 * time.Millisecond); ok {
				t.Errorf("the ACK was answered: %s", m.text)
			}
		})
	}
}

// What belongs to no call leaves no transaction: a request with the branch of an
// earlier one is answered as it says itself.
func TestOutsideCallsNothingIsKept(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, nil, nil)
	for name, tt := range map[string]struct {
		method, toTag, code string
		extra               []string
	}{
		"a sign of life":            {method: "OPTIONS", code: "200"},
		"one within no call":        {method: "OPTIONS", toTag: "none", code: "481"},
		"a BYE":                     {method: "BYE", toTag: "none", code: "481"},
		"an INFO":                   {method: "INFO", toTag: "none", code: "481"},
		"a PRACK":                   {method: "PRACK", toTag: "none", code: "481", extra: []string{"RAck: 1 1 INVITE"}},
		"an UPDATE":                 {method: "UPDATE", toTag: "none", code: "481"},
		"a CANCEL":                  {method: "CANCEL", code: "481"},
		"a REFER":                   {method: "REFER", code: "403", extra: []string{"Refer-To: <sip:other@127.0.0.1>"}},
		"a SUBSCRIBE":               {method: "SUBSCRIBE", code: "489", extra: []string{"Event: presence"}},
		"a method nobody has heard": {method: "SING", code: "501"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newRawPeer(t, ts, "127.0.0.1").newCall()
			c.toTag, c.extra, c.body = tt.toTag, tt.extra, ""
			for range 2 {
				c.send(tt.method)
				c.peer.expect("SIP/2.0 "+tt.code, fmt.Sprintf("%d %s", c.seq, tt.method))
				c.seq++
			}
		})
	}
}

// answeredOnce sends a request and reads its refusal; false where the machine is so
// slow that it may be resent, see refuseOnce.
func (c *rawCall) answeredOnce(method, code string) (m message, quick bool) {
	c.peer.t.Helper()
	start := time.Now()
	c.send(method)
	m, ok := c.peer.read(patience)
	if quick = time.Since(start) < trying/2; !ok || quick && !strings.HasPrefix(m.start, "SIP/2.0 "+code) {
		c.peer.t.Fatalf("got %q, want %s", m.start, code)
	}
	return m, quick
}

// slowLog is a log whose disk is busy.
type slowLog struct{ slog.Handler }

func (slowLog) Enabled(context.Context, slog.Level) bool { return true }

func (slowLog) Handle(context.Context, slog.Record) error {
	time.Sleep(2 * trying)
	return nil
}

// Who heard a 100 Trying sends no copy of its INVITE: the refusal that follows is
// resent, lest the call hang when it is lost.
func TestRefusedAfterTrying(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, func(s *Server) {
		askPassword(s)
		s.log = slog.New(slowLog{s.log.Handler()})
	}, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.extra = []string{login{user: "pbx", password: "x", realm: "afterbeep", algorithm: "MD5", qop: "auth"}.header("INVITE", "sip:x")}
	c.send("INVITE")
	c.peer.expect("SIP/2.0 100", "INVITE")
	c.toTag = c.peer.expect("SIP/2.0 401", "INVITE").toTag()
	c.peer.expect("SIP/2.0 401", "INVITE")
	c.extra = nil
	c.send("ACK")
	if m, ok := c.peer.read(4 * t1); ok {
		t.Errorf("after the ACK: %s", m.text)
	}
}

// Who acknowledges the challenge and comes back with the password gets its call,
// by another branch of the same request too, as proxies do it.
func TestChallengeThenCall(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, askPassword, nil)
	peer := newRawPeer(t, ts, "127.0.0.1")
	for _, sameNumber := range []bool{false, true} {
		c := peer.newCall()
		l := answer(c.challenged("INVITE")[0])
		if sameNumber {
			c.seq--
		}
		c.as("INVITE", l)
		c.toTag = peer.expect("SIP/2.0 200", "INVITE").toTag()
		c.ack("")
		c.bye()
	}
	if got := ts.Stats(); got.Calls != 2 || got.Answered != 2 {
		t.Errorf("stats %+v", got)
	}
}

// A faulty copy of a call's INVITE takes nothing from the call.
func TestFaultyCopy(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	faulty := *c
	faulty.toTag, faulty.extra = "", []string{"Require: precondition"}
	faulty.send("INVITE")
	c.peer.expect("SIP/2.0 420", "INVITE")
	c.bye()
	ts.ended(t, ErrCallerHungUp)
}

// Nothing stays of requests that were refused before their sender was known.
func TestForgedRequestsLeaveNothing(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, askPassword, nil)
	peer := newRawPeer(t, ts, "127.0.0.1")
	const forged, batch = 10_000, 100
	challenged := map[string]bool{} // by Call-ID: a machine under load resends, see refuseOnce
	for sent := 0; sent < forged; sent += batch {
		for i := range batch {
			c := peer.newCall()
			if i%2 == 1 {
				c.extra = []string{fmt.Sprintf("Authorization: Digest username=%q", c.id)}
			}
			c.send("INVITE")
		}
		for len(challenged) < sent+batch {
			m, ok := peer.read(patience)
			switch {
			case !ok:
				t.Fatalf("%d challenges for %d INVITEs", len(challenged), sent+batch)
			case strings.HasPrefix(m.start, "SIP/2.0 401"):
				challenged[m.get("call-id")] = true
			case !strings.HasPrefix(m.start, "SIP/2.0 100"): // which a machine under load sends before
				t.Fatalf("got %s", m.text)
			}
		}
	}
	ts.dialogs.mu.Lock()
	defer ts.dialogs.mu.Unlock()
	if known, queue := len(ts.dialogs.known), len(ts.dialogs.queue); known+queue != 0 {
		t.Errorf("%d dialogs stay, and %d to look at again", known, queue)
	}
	if got := ts.Active(); got != 0 {
		t.Errorf("%d calls", got)
	}
}
