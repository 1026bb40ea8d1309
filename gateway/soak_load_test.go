package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// member is one gateway of a fleet, in a process of its own that dies and comes
// back.
type member struct {
	name string
	path string // of its configuration file

	mu    sync.Mutex
	child *child // nil while it is dead
	died  []time.Time
}

func (m *member) start(t *testing.T) {
	t.Helper()
	c := startChild(t, m.path)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.child = c
}

func (m *member) kill() {
	m.mu.Lock()
	c := m.child
	m.child = nil
	m.died = append(m.died, time.Now())
	m.mu.Unlock()
	c.kill()
}

// sip is where it takes calls; not valid while it is dead.
func (m *member) sip() netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.child == nil {
		return netip.AddrPort{}
	}
	return m.child.sip
}

// web is where its HTTP listens, as host and port; "" while it is dead.
func (m *member) web() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.child == nil {
		return ""
	}
	return m.child.http
}

// death is the first one from then until now; zero when there was none.
func (m *member) death(from, to time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range m.died {
		if !at.Before(from) && !at.After(to) {
			return at
		}
	}
	return time.Time{}
}

// tried is a call that was placed. The caller's name is that of the call.
type tried struct {
	identity
	mailbox  string
	member   *member
	length   time.Duration // of what the caller says
	placed   time.Time
	answered time.Time // zero: it was not
	ended    time.Time
	err      error // of hanging up
}

// crowd are callers who speak to all gateways, all the time.
type crowd struct {
	caller *caller
	said   *sound
	rng    *rand.Rand
	talks  sync.WaitGroup

	mu    sync.Mutex
	calls []*tried
}

// Who calls whom: each pair is a thread, to which several gateways add notes.
const (
	people  = 40
	perCall = 200 * time.Millisecond // from one call to the next, on average
)

// speak places calls until ctx ends, then waits for those in progress.
func (c *crowd) speak(ctx context.Context, members []*member) {
	for n := 0; ctx.Err() == nil; n++ {
		m := members[c.rng.IntN(len(members))]
		call := &tried{
			identity: identity{from: fmt.Sprintf("+491705550%03d", c.rng.IntN(people)), name: fmt.Sprint("call ", n)},
			mailbox:  soakMailboxes[c.rng.IntN(len(soakMailboxes))], member: m,
			length: 2*time.Second + time.Duration(c.rng.IntN(100))*20*time.Millisecond,
		}
		if to := m.sip(); to.IsValid() {
			c.talks.Go(func() { c.place(context.WithoutCancel(ctx), call, to) })
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(c.rng.Int64N(2 * int64(perCall)))):
		}
	}
	c.talks.Wait()
}

// answer is how long a gateway may take to answer a request; a dead one never
// does.
const answer = 5 * time.Second

func (c *crowd) place(ctx context.Context, call *tried, to netip.AddrPort) {
	defer func() {
		call.ended = time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls = append(c.calls, call)
	}()
	call.placed = time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*answer+call.length)
	defer cancel()
	ringing, give := context.WithTimeout(ctx, answer)
	defer give()
	talk, err := c.caller.dial(ringing, fmt.Sprintf("sip:%s@%s", call.mailbox, to), call.request())
	if err != nil {
		return
	}
	playing, err := talk.speak(c.said, int(call.length/(20*time.Millisecond)))
	call.answered = time.Now() // and speaking
	if err == nil {
		<-playing.Done()
	}
	hanging, done := context.WithTimeout(ctx, answer)
	defer done()
	call.err = talk.hangUp(hanging)
}

// tail is what a crash may cost a recording: the second that was not written
// yet, and a little.
const tail = 1300 * time.Millisecond

// late is how long this machine has stood still at most: what happened may have
// been seen so much later.
func (c *crowd) late() time.Duration { return c.caller.pacer.Stats().Worst }

// promise is what the gateway promised the caller, if anything.
func (c *tried) promise(late time.Duration) (p promise, promised bool) {
	if c.answered.IsZero() {
		return p, false
	}
	died := c.member.death(c.placed, c.ended.Add(time.Second+late))
	switch {
	case !died.IsZero():
		said := min(c.length, died.Sub(c.answered))
		return promise{said - tail - late, c.length, true}, said > tail+late
	case c.err != nil: // the gateway had to notice by itself that the caller is gone
		return promise{c.length, c.length, true}, true
	}
	return promise{c.length, c.length, false}, true
}
