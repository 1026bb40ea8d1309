package sip

import (
	"context"
	"strings"
	"testing"
	"time"
)

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
