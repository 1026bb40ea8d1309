package delivery

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	tripAfter  = 10               // failures in a row
	probeAfter = 25 * time.Second // and a probe is on its way within 30 s

	comeBackAfter = time.Second           // to a channel that has a probe or all its sends under way
	comeBackPace  = 10 * time.Millisecond // between one job that comes back and the next
	comeBackTail  = 5 * time.Minute       // what comes back later than that keeps the pace, whatever the channel's rate
)

var (
	errFailed      = errors.New("the attempt failed")
	errCredentials = errors.New("the service refused the channel's credentials")
	errNoAttempt   = errors.New("there was no attempt, or the shutdown cut it short")
)

// breaker keeps a failing service from being hammered: after ten failures in a
// row, or one that concerns the credentials, it lets nothing through but a
// probe every 25 s. It is not safe for concurrent use.
type breaker struct {
	refused     func() // hears once that the service refuses the credentials
	circuit     *gobreaker.TwoStepCircuitBreaker[struct{}]
	credentials bool          // refused, and no success since
	pace        time.Duration // of what comes back: a rate's, where it is slower
	probeAt     time.Time     // the end of its last pause
	comeBack    time.Time     // when the last job that was put off comes back
}

// newBreaker is a closed breaker. changed hears of its states: open, half-open
// (a probe is under way) and closed.
func newBreaker(changed func(from, to string), refused func()) *breaker {
	b := &breaker{refused: refused, pace: comeBackPace}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout: probeAfter,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.credentials || c.ConsecutiveFailures >= tripAfter
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNoAttempt) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.probeAt = time.Now().Add(probeAfter + time.Millisecond)
			changed(from.String(), to.String())
		},
	})
	return b
}

// allow asks to make an attempt. What it came to (nil, errFailed,
// errCredentials or errNoAttempt) goes to settle.
func (b *breaker) allow() (settle func(error), ok bool) {
	done, err := b.circuit.Allow()
	if err != nil {
		return nil, false
	}
	return func(err error) {
		switch {
		case err == nil:
			b.credentials = false
		case errors.Is(err, errCredentials) && !b.credentials:
			b.credentials = true
			b.refused()
		}
		done(err)
	}, true
}

// open says that nothing is let through now, not even a probe.
func (b *breaker) open() bool { return b.circuit.State() == gobreaker.StateOpen }

// putOff is how long a job that was not let through stays away. The first one
// comes back as the probe, the others behind it in their order at a steady
// pace: a backlog costs the store the same however long it grows.
func (b *breaker) putOff() time.Duration {
	now := time.Now()
	next := now.Add(max(comeBackAfter, 2*b.pace))
	if b.open() {
		next = b.probeAt
	}
	pace := b.pace
	if b.comeBack.Sub(now) > comeBackTail {
		pace = comeBackPace
	}
	if inTurn := b.comeBack.Add(pace); inTurn.After(next) {
		next = inTurn
	}
	b.comeBack = next
	return next.Sub(now)
}
