package delivery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A chat that takes no more for now is no failure of its service: the jobs come
// back, no attempt is counted, and the breaker stays closed.
func TestEarlyIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens := time.Now().Add(time.Minute)
		r := start(t, map[string]Channel{"bot": channelFunc(func(context.Context, Parcel) (Receipt, error) {
			if wait := time.Until(opens); wait > 0 {
				return Receipt{}, &SendError{Outcome: Retry, After: wait, Early: true, Err: errors.New("not yet")}
			}
			return Receipt{}, nil
		})})
		for range 3 * tripAfter {
			r.Deliver(r.queue.render(NewID(), "bot")...)
		}
		pass(59 * time.Second)
		r.queue.expect(t, map[JobState]int{JobQueued: 3 * tripAfter})
		pass(10 * time.Second)
		r.queue.expect(t, map[JobState]int{JobDelivered: 3 * tripAfter})
		if j := r.queue.look("job-1"); j.Attempt != 1 || len(j.results) != 1 {
			t.Errorf("job %+v", j)
		}
		if len(r.seen.breaker) != 0 || r.seen.attempts[Retry] != 0 {
			t.Errorf("breaker %v, attempts %v", r.seen.breaker, r.seen.attempts)
		}
	})
}

// What would come back too late goes on to the next target.
func TestEarlyHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, map[string]Channel{"crm": channelFunc(healthy), "bot": channelFunc(func(context.Context, Parcel) (Receipt, error) {
			return Receipt{}, &SendError{Outcome: Retry, After: defaultPatient, Early: true, Err: errors.New("not yet")}
		})})
		r.Deliver(r.queue.render("101", "bot", "crm")...)
		pass(time.Second)
		r.queue.expect(t, map[JobState]int{JobDelivered: 1})
	})
}
