package sip

import (
	"context"
	"sync"
)

// gate counts what is inside. Once shut nobody enters. The zero value is open.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside int
	empty  chan struct{} // closed when the last one leaves; nil when nobody waits
}

// enter counts one in, unless the gate is shut.
func (g *gate) enter() bool { return g.enterBelow(0) }

// enterBelow counts one in, unless the gate is shut or limit are inside; 0 is
// no limit.
func (g *gate) enterBelow(limit int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || limit > 0 && g.inside >= limit {
		return false
	}
	g.inside++
	return true
}

// leave counts one out.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// shut lets nobody in any more.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// isShut says whether shut was called.
func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// count says how many are inside.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// wait returns when nobody is inside, or with ctx's cause.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.inside == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
