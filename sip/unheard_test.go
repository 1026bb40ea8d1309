package sip

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// crowd are the answers to many SUBSCRIBEs of a peer, and what NOTIFYs it owes
// an answer.
type crowd struct {
	granted, refused int
	owed             []message
}

// read takes one message in.
func (c *crowd) read(p *rawPeer, answers bool) {
	p.t.Helper()
	m, ok := p.read(patience)
	switch {
	case !ok:
		p.t.Fatalf("nothing came after %d granted and %d refused", c.granted, c.refused)
	case strings.HasPrefix(m.start, "SIP/2.0 200"):
		c.granted++
	case strings.HasPrefix(m.start, "SIP/2.0 503") && m.get("retry-after") == "30":
		c.refused++
	case !strings.HasPrefix(m.start, "NOTIFY"):
		p.t.Fatalf("got %s", m.text)
	case answers:
		p.send(okTo(m))
	default:
		c.owed = append(c.owed, m)
	}
}

// Who subscribes by the thousand and answers is told of every lamp.
func TestThousandSubscribersAtOnce(t *testing.T) {
	t.Parallel()
	lamps := newMailboxes()
	ts := serveTest(t, func(s *Server) { s.lamps, s.t1 = lamps, 2*time.Second }, nil) // each may wait longer for its turn
	p := newRawPeer(t, ts, "127.0.0.1")
	const all = 1000
	for range all {
		p.newSubscription("101").send("SUBSCRIBE")
	}
	var c crowd
	for c.granted+c.refused < all {
		c.read(p, true)
	}
	if c.refused > 0 || ts.Stats().Subscriptions != all {
		t.Errorf("%d subscriptions, %d refused", ts.Stats().Subscriptions, c.refused)
	}
}

// Who subscribes and never answers, as the victim of a forged Contact does, hears
// of a few lamps, and the others are refused until those are given up. Another
// trunk is not held up.
func TestSubscribersWhoDoNotAnswer(t *testing.T) {
	t.Parallel()
	lamps := newMailboxes()
	ts := serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "silent", From: prefixes("127.0.0.1/32")}, {Name: "pbx", From: prefixes("127.0.0.2/32")}},
	}, func(s *Server) { s.lamps, s.t1 = lamps, 20*time.Millisecond }, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	const all = 2 * maxUnheard
	for range all {
		p.newSubscription("101").send("SUBSCRIBE")
	}
	var c crowd
	for c.granted+c.refused < all || len(c.owed) == 0 {
		c.read(p, false)
	}
	if c.granted != maxUnheard || ts.Stats().Subscriptions != maxUnheard {
		t.Errorf("%d granted, %d refused, %d subscriptions", c.granted, c.refused, ts.Stats().Subscriptions)
	}
	pbx := newRawPeer(t, ts, "127.0.0.2")
	pbx.newSubscription("101").subscribe("200")
	pbx.notified("200 OK")

	p.send(okTo(c.owed[0]))
	settle(t, func() bool { return ts.Stats().Notified == 2 })
	p.newSubscription("101").send("SUBSCRIBE")
	for c.granted == maxUnheard {
		c.read(p, false)
	}
}
