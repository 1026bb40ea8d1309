package delivery

import (
	"context"
	"slices"
	"time"
)

// A lane whose channel has a rate lets an attempt begin only for a grant. One
// goroutine a lane fetches them, no more than could begin at once, so that no
// sender waits for another's rate and none is left over for a burst.

// holdFor bounds what a lane with a rate holds of claimed jobs: what is held
// long is in doubt after a crash.
const holdFor = 10 * time.Second

// limit gives the lane its channel's rate.
func (l *lane) limit(r Rate) {
	if !r.limits() {
		return
	}
	l.rate, l.hold = r, min(l.hold, max(2, int(holdFor/r.Every())))
	l.breaker.pace = max(comeBackPace, r.Every())
}

// mayBegin says whether the lane's rate lets its next lease go. One that an
// open breaker turns away needs no grant.
func (l *lane) mayBegin() bool {
	return !l.rate.limits() || l.grants > 0 || l.breaker.open()
}

// spend uses a grant up.
func (l *lane) spend() {
	if l.rate.limits() {
		l.grants--
	}
}

// lacking is how many attempts the lane could begin if it had the grants.
func (l *lane) lacking(free int) int {
	if l.breaker.open() {
		return 0
	}
	room := (free - l.running + 1) / 2 // each one takes from both sides of running < free
	return min(room, len(l.fresh)+len(l.claimed)) - l.grants
}

// limited are the lanes that have a rate.
func (s *lanes) limited() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.order), func(l *lane) bool { return !l.rate.limits() })
}

// lack blocks until the lane lacks grants, and says how many; false when the
// lanes are closed.
func (s *lanes) lack(l *lane) (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if n := l.lacking(s.free); n > 0 {
			return n, true
		}
		s.lacks.Wait()
	}
	return 0, false
}

// grant lets n attempts of the lane begin.
func (s *lanes) grant(l *lane, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.grants += n
	s.work.Signal()
}

const (
	takeWithin = time.Second      // a limiter that is slower counts as failing
	minWait    = time.Millisecond // between two questions that brought nothing
)

// fetchGrants gets the lane what it lacks, until ctx ends or the lanes are
// closed. While the limiter fails, the same rate is kept within this process.
func (w *Worker) fetchGrants(ctx context.Context, l *lane) {
	var own LocalLimiter
	failing := false
	for {
		n, ok := w.lanes.lack(l)
		if !ok {
			return
		}
		granted, wait, err := w.take(ctx, l, n)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				w.log.Warn("the shared rate limit cannot be asked; this machine keeps the rate for itself", "channel", l.name, "error", err)
			}
			granted, wait, _ = own.Take(ctx, l.name, l.rate, n) // never fails
		case failing:
			w.log.Info("the shared rate limit answers again", "channel", l.name)
		}
		failing = err != nil
		if granted > 0 {
			w.lanes.grant(l, granted)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, minWait)):
		}
	}
}

func (w *Worker) take(ctx context.Context, l *lane, n int) (granted int, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	return w.o.Limiter.Take(ctx, l.name, l.rate, n)
}
