package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/sip"
)

// Three times as many callers as there may be, who all try again and again:
// each call that is accepted is a whole note, every other gets 503.
func TestOverloadHarmsNoCall(t *testing.T) {
	const (
		limit   = 10
		callers = 3 * limit
		length  = 3 * time.Second
	)
	hook := newReceiver(t)
	cfg, err := config.Load(configFile(t, t.TempDir(), hook.URL, "no_rtp: 40s"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.SIP.Limits = sip.Limits{Calls: limit}
	g := startConfigured(t, cfg)
	c, err := newCaller(netip.MustParseAddr("127.0.0.1"), []string{"PCMU"}, sip.ClientTLS{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()

	pcm := speech(t, length)
	o := overload{caller: c, said: &sound{audio: audioOf(pcm), coded: map[string][][]byte{}}, count: int(length / (20 * time.Millisecond))}
	o.target = fmt.Sprintf("sip:%s@%s", reception, g.address("udp"))
	o.over, o.spoken = make(chan struct{}), make(chan struct{}, callers)
	var talks sync.WaitGroup
	for range callers {
		talks.Go(func() { o.call(t) })
	}
	for range limit {
		<-o.spoken
	}
	close(o.over)
	talks.Wait()

	accepted, refused := int(o.accepted.Load()), int(o.refused.Load())
	if accepted != limit || refused < 2*callers {
		t.Errorf("%d calls accepted, want %d; %d refused", accepted, limit, refused)
	}
	if got := scraped(t, g, `afterbeep_calls_turned_away_total{why="calls"}`); got != refused {
		t.Errorf("%d counted as turned away, want %d", got, refused)
	}
	for range accepted {
		n := hook.next(t)
		if n.Data.Kind != "voice" || n.Data.Partial {
			t.Errorf("got %+v", n.Data)
		}
		sameLength(t, n, length)
		if got := likeness(pcm, decode(t, n.file)); got < 0.96 {
			t.Errorf("likeness to what was sent %.3f", got)
		}
	}
	hook.none(t, 200*time.Millisecond)
	if lost := scraped(t, g, "afterbeep_rtp_lost_packets_total") + scraped(t, g, "afterbeep_rtp_late_packets_total"); lost != 0 {
		t.Errorf("%d packets lost or late", lost)
	}
}

// overload is callers who do not give up.
type overload struct {
	caller *caller
	said   *sound
	count  int // packets of a call
	target string

	over              chan struct{} // closed when nobody shall try any more
	spoken            chan struct{} // gets one when a caller has said everything
	accepted, refused atomic.Int64
}

// call tries until it is accepted or over, ten times a second.
func (o *overload) call(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	who := identity{from: "+491705550101", name: "Maria"}
	for {
		talk, err := o.caller.dial(ctx, o.target, who.request())
		if err == nil {
			o.accepted.Add(1)
			o.speak(ctx, t, talk)
			return
		}
		if refused := (*sip.StatusError)(nil); !errors.As(err, &refused) || refused.Code != 503 {
			t.Errorf("got %v, want 503", err)
			return
		}
		o.refused.Add(1)
		select {
		case <-o.over:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// speak says everything, and hangs up when nobody tries any more.
func (o *overload) speak(ctx context.Context, t *testing.T, talk *conversation) {
	playing, err := talk.speak(o.said, o.count)
	if err != nil {
		t.Error(err)
		return
	}
	<-playing.Done()
	if r := playing.Result(); r.Sent != o.count || r.Err != nil {
		t.Errorf("sent %+v", r)
	}
	o.spoken <- struct{}{}
	<-o.over
	if err := talk.hangUp(ctx); err != nil {
		t.Error(err)
	}
}
