package media

import (
	"context"
	"errors"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	usualFollowers = 600
	followerBytes  = 400 << 10 // an encoder with what belongs to it
)

// RenderersOptions say how much is rendered at a time. The zero value works.
type RenderersOptions struct {
	// Followers is how many calls are rendered while they go on, 200 to 400 kB
	// each; the others are rendered after their end. Zero means 600, or what
	// half of GOMEMLIMIT holds if that is less.
	Followers int
	// Parallel is how many turns are taken at a time; zero means GOMAXPROCS.
	Parallel int
}

func (o RenderersOptions) withDefaults() RenderersOptions {
	if o.Followers <= 0 {
		o.Followers = int(max(1, min(usualFollowers, debug.SetMemoryLimit(-1)/2/followerBytes)))
	}
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	return o
}

// Renderers renders the calls of a gateway, a bounded number at a time: as
// many as it can while they go on, so that little is left to do at their end,
// and the others then. A record is decoded and encoded in one turn, and turns
// go to calls that have ended first: somebody waits for those. It runs no
// goroutines of its own.
type Renderers struct {
	live     *gate // for calls that go on
	finish   *gate // for calls that ended without having been followed: few, for they hold an encoder too
	turns    *gate
	governor *governor
	calls    atomic.Int64 // in Render
	rendered atomic.Int64 // of those, the ones that hold an encoder
}

// NewRenderers makes a pool.
func NewRenderers(o RenderersOptions) *Renderers {
	o = o.withDefaults()
	return &Renderers{
		live:     newGate(o.Followers),
		finish:   newGate(2 * o.Parallel),
		turns:    newGate(o.Parallel),
		governor: newGovernor(o.Parallel),
	}
}

// RenderersStats is how a pool is doing.
type RenderersStats struct {
	Following  int            // notes being rendered
	Backlog    int            // calls that wait to be rendered, at their end at the latest
	Queue      int            // records that wait for their turn
	Lag        time.Duration  // how long the first of them has waited
	Complexity int            // the Opus complexity chosen now
	Frames     map[int]uint64 // frames of 60 ms encoded so far, by Opus complexity
}

// Stats is cheap enough to be asked for at every scrape.
func (p *Renderers) Stats() RenderersStats {
	s := RenderersStats{Following: int(p.rendered.Load())}
	s.Backlog = max(0, int(p.calls.Load())-s.Following)
	s.Queue, s.Lag = p.turns.waiting()
	s.Complexity, s.Frames = p.governor.stats()
	return s
}

// Render is [Render] in its turn: along with the call if there is room, else
// when ended, which closes at the end of the call (a tape that is complete has
// one that is closed). The pool decides about o.Complexity and is told of
// o.Encoded.
func (p *Renderers) Render(ctx context.Context, in Records, out io.Writer, o RenderOptions, ended <-chan struct{}) (Facts, error) {
	p.calls.Add(1)
	defer p.calls.Add(-1)
	room, waited, err := p.admit(ctx, ended)
	if err != nil {
		return Facts{}, err
	}
	defer room.leave()
	p.rendered.Add(1)
	defer p.rendered.Add(-1)
	f := &follower{pool: p, in: in, ended: ended, lag: waited}
	defer f.yield()
	o.Complexity, o.Encoded = f.complexity, f.encoded
	facts, err := Render(ctx, f, out, o)
	facts.Lag = f.lag
	return facts, err
}

// admit waits for room among those rendered while they go on, and once the
// call is over among those rendered then. It says how long that took from the
// end of the call on.
func (p *Renderers) admit(ctx context.Context, ended <-chan struct{}) (room *gate, waited time.Duration, err error) {
	if in, err := p.live.enter(ctx, ended, false); in || err != nil {
		return p.live, 0, err
	}
	over := time.Now()
	_, err = p.finish.enter(ctx, nil, true)
	return p.finish, time.Since(over), err
}

// follower is the tape of one call, whose records are handed out in turns: a
// turn lasts until the next record is asked for.
type follower struct {
	pool  *Renderers
	in    Records
	ended <-chan struct{}
	lag   time.Duration

	turn   bool
	effort effort
	frames int           // encoded in this turn …
	busy   time.Duration // … and the processor time that they took
}

// Next ends the turn, waits for a record, and for the turn to render it.
func (f *follower) Next(ctx context.Context) ([]byte, error) {
	f.yield()
	record, err := f.in.Next(ctx)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	asked := time.Now()
	if err := f.take(ctx); err != nil {
		return nil, err
	}
	waited := time.Since(asked)
	f.lag = max(f.lag, waited)
	f.effort = f.pool.governor.decide(int(f.pool.calls.Load()), waited)
	return record, err
}

// take waits for a turn, before the others once the call is over.
func (f *follower) take(ctx context.Context) error {
	in, err := f.pool.turns.enter(ctx, f.ended, false)
	if !in && err == nil {
		in, err = f.pool.turns.enter(ctx, nil, true)
	}
	f.turn = in
	return err
}

// yield ends the turn, if there is one.
func (f *follower) yield() {
	if !f.turn {
		return
	}
	f.turn = false
	f.pool.turns.leave()
	f.pool.governor.observe(f.busy, f.frames, f.effort)
	f.frames, f.busy = 0, 0
}

// complexity is asked before each frame. A turn is of milliseconds without a
// pause, and a call that comes in is handed on from goroutine to goroutine: one
// that had to wait for a turn each time would be answered many turns later.
func (f *follower) complexity() int {
	runtime.Gosched()
	return f.effort.complexity
}

// encoded is told what each frame took.
func (f *follower) encoded(cpu time.Duration) {
	f.frames++
	f.busy += cpu
}

// stats says what complexity is chosen now, and the frames encoded so far.
func (g *governor) stats() (complexity int, frames map[int]uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return efforts[g.current].complexity, maps.Clone(g.frames)
}
