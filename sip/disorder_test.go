package sip

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// disorder is what a peer may say at any time, in any order, that knows the
// dialog's names.
var disorder = []struct {
	method string
	extra  []string
	body   string
}{
	{"INVITE", nil, testOffer},
	{"INVITE", []string{"Require: 100rel"}, testOffer},
	{"INVITE", []string{"Require: 100rel", "Supported: timer", "Session-Expires: 1;refresher=uas"}, ""},
	{"INVITE", []string{"Supported: timer", "Session-Expires: 1;refresher=uac"}, ""},
	{"INVITE", []string{"Content-Type: image/png"}, "picture"},
	{"INVITE", []string{"Privacy: id"}, testOffer},
	{"INVITE", nil, "no codec"},
	{"UPDATE", []string{"Supported: timer", "Session-Expires: 1;refresher=uas"}, testOffer},
	{"UPDATE", nil, ""},
	{"PRACK", []string{"RAck: 1 1 INVITE"}, "unusable"},
	{"PRACK", nil, testAnswer},
	{"ACK", nil, ""},
	{"ACK", nil, "unusable"},
	{"CANCEL", nil, ""},
	{"BYE", nil, ""},
	{"INFO", nil, ""},
	{"OPTIONS", nil, ""},
	{"REFER", nil, ""},
	{"SUBSCRIBE", []string{"Event: message-summary", "Expires: 0"}, ""},
	{"SUBSCRIBE", []string{"Event: message-summary"}, ""},
	{"NOTIFY", nil, ""},
}

// moody is a handler that does whatever it may, and what it may not.
func moody(panics *atomic.Uint64) Handler {
	return func(ctx context.Context, c *Call) {
		m := &media{}
		switch rand.IntN(7) {
		case 0:
			_ = c.Refuse(486, time.Second)
		case 1:
			_ = c.RefuseUnknown()
		case 2: // neither yes nor no
		case 3:
			panics.Add(1)
			panic("a call that nobody foresaw")
		case 4:
			_ = c.Answer([]byte(testAnswer), m)
			_ = c.Answer([]byte(testAnswer), m)
			_ = c.Refuse(480, 0)
		case 5:
			_ = c.Answer([]byte(testAnswer), m)
			_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
		default:
			if c.Answer([]byte(testAnswer), m) == nil {
				<-ctx.Done()
			}
		}
	}
}

// disorderly are peers of whom each knows a little of its call.
type disorderly struct {
	*rawPeer
	rand  *rand.Rand
	calls []*rawCall
	tags  map[string]string // the latest To tag, by Call-ID
	racks map[string]string
}

// hear reads what has come, and answers some of it.
func (d *disorderly) hear(wait time.Duration) {
	for {
		m, ok := d.read(wait)
		if !ok {
			return
		}
		id := m.get("call-id")
		switch {
		case !strings.HasPrefix(m.start, "SIP/"):
			if d.rand.IntN(2) == 0 {
				d.send(okTo(m))
			}
		case m.toTag() != "" && d.rand.IntN(3) > 0:
			d.tags[id] = m.toTag()
		}
		if rseq := m.get("rseq"); rseq != "" {
			d.racks[id] = "RAck: " + rseq + " " + m.get("cseq")
		}
		wait = time.Millisecond
	}
}

// say sends any request of any call.
func (d *disorderly) say() {
	c, what := d.calls[d.rand.IntN(len(d.calls))], disorder[d.rand.IntN(len(disorder))]
	if d.rand.IntN(2) == 0 {
		c.next()
	}
	if d.rand.IntN(20) == 0 {
		c.seq = d.rand.IntN(c.seq + 1)
	}
	if c.toTag = d.tags[c.id]; d.rand.IntN(5) == 0 {
		c.toTag = ""
	}
	c.extra, c.body = what.extra, what.body
	if rack := d.racks[c.id]; what.method == "PRACK" && rack != "" {
		c.extra = []string{rack}
	}
	c.send(what.method)
}

// TestDisorder: whatever peers say in whatever order, to handlers that do the
// same, nothing panics but the handlers, and in the end no call, BYE or place is
// held by anybody.
func TestDisorder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var panics atomic.Uint64
	ts := serveTest(t, func(s *Server) {
		s.t1, s.minSession, s.lamps = 5*time.Millisecond, time.Second, newMailboxes()
		s.trunks.find(loopback).Anonymous = refuseAnonymous
	}, moody(&panics))
	d := &disorderly{
		rawPeer: newRawPeer(t, ts, "127.0.0.1"), rand: rand.New(rand.NewPCG(seed, 1)),
		tags: map[string]string{}, racks: map[string]string{},
	}
	for range 200 {
		c := d.newCall()
		c.user = "101"
		d.calls = append(d.calls, c)
	}
	for range 4000 {
		d.say()
		if d.rand.IntN(3) == 0 {
			d.hear(time.Millisecond)
		}
	}
	d.hear(500 * time.Millisecond)
	for _, one := range ts.dialogs.live() { // those that go on are hung up
		one.shutDown()
	}

	within, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ts.Wait(within); err != nil {
		t.Errorf("%d calls are held: %v", ts.Active(), err)
	}
	if err := ts.byes.wait(within); err != nil {
		t.Errorf("%d BYEs are due: %v", ts.byes.count(), err)
	}
	if n := ts.admission.meter(ts.trunks.find(loopback)).calls.count(); n != 0 {
		t.Errorf("the trunk holds %d places", n)
	}
	stats := ts.Stats()
	t.Logf("%d calls, %d answered, %d refused, %d without ACK", stats.Calls, stats.Answered, stats.Refused, stats.NoACK)
	if stats.Panics != panics.Load() {
		t.Errorf("%d panics, %d of them the handlers'", stats.Panics, panics.Load())
	}
	if stats.Answered == 0 || stats.Refused == 0 {
		t.Error("nothing was tried")
	}
}
