package media

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gate lets a number of callers in at a time, the urgent before the others and
// each kind in the order they came.
type gate struct {
	mu     sync.Mutex
	free   int
	urgent []*ticket
	others []*ticket
}

// ticket is a caller who waits.
type ticket struct {
	admitted chan struct{}
	since    time.Time
}

func newGate(places int) *gate { return &gate{free: places} }

// enter waits for a place, until giveUp is closed or ctx is done. Whoever is in
// must leave.
func (g *gate) enter(ctx context.Context, giveUp <-chan struct{}, urgent bool) (in bool, err error) {
	t := g.join(urgent)
	if t == nil {
		return true, nil
	}
	select {
	case <-t.admitted:
		return true, nil
	case <-giveUp:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if !g.withdraw(t) {
		g.leave() // admitted in the same moment
	}
	return false, err
}

// join takes a place, or a ticket if there is none.
func (g *gate) join(urgent bool) *ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free > 0 {
		g.free--
		return nil
	}
	t := &ticket{admitted: make(chan struct{}), since: time.Now()}
	if urgent {
		g.urgent = append(g.urgent, t)
	} else {
		g.others = append(g.others, t)
	}
	return t
}

// withdraw gives a ticket back; false if it was admitted already.
func (g *gate) withdraw(t *ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, queue := range []*[]*ticket{&g.urgent, &g.others} {
		if i := slices.Index(*queue, t); i >= 0 {
			*queue = slices.Delete(*queue, i, i+1)
			return true
		}
	}
	return false
}

// leave hands the place on.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, queue := range []*[]*ticket{&g.urgent, &g.others} {
		if len(*queue) > 0 {
			close((*queue)[0].admitted)
			*queue = slices.Delete(*queue, 0, 1)
			return
		}
	}
	g.free++
}

// waiting says how many wait, and for how long the first of them.
func (g *gate) waiting() (n int, longest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, queue := range [][]*ticket{g.urgent, g.others} {
		n += len(queue)
		if len(queue) > 0 {
			longest = max(longest, time.Since(queue[0].since))
		}
	}
	return n, longest
}
