package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// limitedChannel is a channel with a rate.
type limitedChannel struct {
	Channel
	rate Rate
}

func (c limitedChannel) Rate() Rate { return c.rate }

// crowd fails the test when more sends than the rate allows began in any span
// of time.
func crowd(t *testing.T, at []time.Time, r Rate) {
	t.Helper()
	for i := range at {
		for j := i; j < len(at); j++ {
			span := at[j].Sub(at[i])
			if most := r.Burst() + int(r.perSecond()*span.Seconds()+1e-6); j-i+1 > most {
				t.Fatalf("%d sends within %v, at most %d are allowed by %s", j-i+1, span, most, r)
			}
		}
	}
}

// For ten minutes a backlog drains at the channel's rate, not above and not
// below, fresh notes go out at their turn, and another channel feels nothing.
func TestRateHolds(t *testing.T) {
	for _, rate := range []Rate{{2, time.Second}, {20, time.Minute}, {1000, time.Hour}} {
		t.Run(strings.ReplaceAll(rate.String(), "/", " a "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const span = 10 * time.Minute
				var sent moments
				r := start(t, map[string]Channel{
					"crm": limitedChannel{channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
						sent.now()
						return healthy(ctx, p)
					}), rate},
					"bot": channelFunc(healthy),
				})
				most := rate.Burst() + int(rate.perSecond()*span.Seconds())
				for i := range most + 100 {
					r.queue.put(fmt.Sprint("old", i), "crm")
				}
				pass(5 * time.Second)
				for i := range 20 {
					r.Deliver(r.queue.render(fmt.Sprint("bot", i), "bot")...)
					synctest.Wait()
					if arrived := r.seen.arrivals(); arrived[len(arrived)-1] != 0 {
						t.Fatalf("a note to the other channel took %v", arrived[len(arrived)-1])
					}
					pass(time.Second)
				}
				id := "job-" + fmt.Sprint(len(r.queue.all())+1)
				r.Deliver(r.queue.render("new", "crm")...)
				pass(2 * rate.Every()) // its turn and, at the worst, one of the backlog before it
				if j := r.queue.look(id); j.state != JobDelivered {
					t.Errorf("a fresh note is %s behind the backlog", j.state)
				}
				pass(span - 25*time.Second - 2*rate.Every())
				at := sent.take()
				crowd(t, at, rate)
				if len(at) < most-2*rate.Burst()-1 {
					t.Errorf("%d sends in %v, want %d", len(at), span, most)
				}
			})
		})
	}
}

// slowLimiter counts what is asked of it, and fails while it is away.
type slowLimiter struct {
	LocalLimiter
	away   atomic.Bool
	mu     sync.Mutex
	unused int
	asked  int
}

func (l *slowLimiter) Take(ctx context.Context, channel string, r Rate, n int) (int, time.Duration, error) {
	if l.away.Load() {
		<-ctx.Done() // a server that hangs
		return 0, 0, ctx.Err()
	}
	granted, wait, err := l.LocalLimiter.Take(ctx, channel, r, n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	l.unused += granted
	return granted, wait, err
}

func TestLimiterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := Rate{2, time.Second}
		var sent moments
		limiter := &slowLimiter{}
		r := startWith(t, WorkerOptions{Limiter: limiter}, map[string]Channel{
			"crm": limitedChannel{channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
				sent.now()
				return healthy(ctx, p)
			}), rate},
		})
		for i := range 400 {
			r.queue.put(fmt.Sprint(i), "crm")
		}
		pass(time.Minute)
		if n := len(sent.take()); n < 119 || n > 122 {
			t.Errorf("%d sends in a minute", n)
		}
		limiter.away.Store(true)
		pass(time.Minute)
		if at := sent.take(); len(at) < 30 { // each question hangs for a second
			t.Errorf("%d sends in a minute without the limiter", len(at))
		} else {
			crowd(t, at[1:], rate)
		}
		limiter.away.Store(false)
		pass(10 * time.Second)
		sent.take()
		pass(time.Minute)
		if n := len(sent.take()); n < 119 || n > 122 {
			t.Errorf("%d sends in a minute once it was back", n)
		}
	})
}

// What is granted is used: an idle lane asks for nothing.
func TestGrantsAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &slowLimiter{}
		r := startWith(t, WorkerOptions{Limiter: limiter}, map[string]Channel{
			"crm": limitedChannel{channelFunc(healthy), Rate{1000, time.Second}},
		})
		pass(time.Hour)
		if limiter.asked != 0 {
			t.Errorf("an idle lane asked %d times", limiter.asked)
		}
		const notes = 200
		for i := range notes {
			r.Deliver(r.queue.render(fmt.Sprint(i), "crm")...)
		}
		pass(time.Minute)
		r.queue.expect(t, map[JobState]int{JobDelivered: notes})
		if limiter.unused != notes {
			t.Errorf("%d grants for %d sends", limiter.unused, notes)
		}
	})
}

// A lease that was lost while it waited for its turn is not sent; one that
// cannot be confirmed goes back, and is sent once.
func TestLeaseIsConfirmedAtItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		r := start(t, map[string]Channel{
			"crm": limitedChannel{channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
				sent = append(sent, p.Key)
				return healthy(ctx, p)
			}), Rate{1, time.Minute}},
		})
		for i := range 3 {
			r.Deliver(r.queue.render(fmt.Sprint(i), "crm")...)
		}
		synctest.Wait()
		r.queue.erase("job-2")
		pass(90 * time.Second)
		r.queue.doubt(true)
		pass(time.Minute)
		r.queue.doubt(false)
		pass(5 * time.Minute)
		r.queue.expect(t, map[JobState]int{JobDelivered: 2})
		if got := strings.Join(sent, " "); got != "job-1 job-3" {
			t.Errorf("sent %s", got)
		}
		if j := r.queue.look("job-3"); j.Attempt != 1 {
			t.Errorf("the attempt that never began was counted: %+v", j)
		}
		if n := r.seen.attempts[Done]; n != 2 {
			t.Errorf("the observer heard of %d attempts", n)
		}
	})
}

// The operator's jobs are not notes: neither is the operator told that he was
// not told, nor does it count as a delivery.
func TestOperatorIsNoRecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, map[string]Channel{Operator: channelFunc(func(_ context.Context, p Parcel) (Receipt, error) {
			if p.Address == "note.dead/gone" {
				return Receipt{}, &SendError{Outcome: Dead, Status: 410, Err: errors.New("410 Gone")}
			}
			return Receipt{}, nil
		})})
		for _, address := range []string{"note.dead/crm", "note.dead/gone"} {
			r.queue.mu.Lock()
			r.queue.add(address, []string{Operator}).Chain[0].Address = address
			r.queue.poke()
			r.queue.mu.Unlock()
		}
		pass(time.Second)
		r.queue.expect(t, map[JobState]int{JobDelivered: 1, JobDead: 1})
		if len(r.seen.arrivals()) != 0 || r.seen.dead != 1 {
			t.Errorf("%d notes were delivered, %d dead", len(r.seen.arrivals()), r.seen.dead)
		}
		if log := r.log.String(); !strings.Contains(log, "the operator could not be told") || strings.Contains(log, "note is dead") {
			t.Errorf("the log says %s", log)
		}
	})
}
