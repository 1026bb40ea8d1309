package delivery

import (
	"math/rand/v2"
	"time"
)

const (
	backoffStart = 5 * time.Second
	backoffMax   = time.Hour

	giveUpAfter    = 7 * 24 * time.Hour // the last target of a chain
	defaultPatient = 10 * time.Minute   // a target with another one after it
)

// backoff is the wait after the nth attempt, the first being 1: a random time
// in [0, min(1 h, 5 s * 2^(n-1))). Full jitter, so that what failed together
// does not come back together.
func backoff(attempt int) time.Duration {
	doublings := min(max(attempt, 1)-1, 10) // 5 s * 2^10 is past the hour
	limit := min(backoffMax, backoffStart<<doublings)
	return rand.N(limit) //nolint:gosec // spreads load, guards nothing
}

// nextTry is how long to wait after the nth attempt when the target has time
// left and the service asked for after. The last try falls on the deadline;
// false when there is none before it.
func nextTry(attempt int, after, left time.Duration) (time.Duration, bool) {
	if left <= 0 || after >= left {
		return 0, false
	}
	return min(max(backoff(attempt), after), left), true
}
