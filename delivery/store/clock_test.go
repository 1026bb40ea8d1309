package store

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

const year = 365 * 24 * time.Hour

// wallClock is a machine's clock that somebody sets, by nanoseconds.
type wallClock struct{ off atomic.Int64 }

func (w *wallClock) now() time.Time       { return time.Now().Add(time.Duration(w.off.Load())) }
func (w *wallClock) set(by time.Duration) { w.off.Add(int64(by)) }

// openBy opens the store at path on a machine with that clock.
func (c composition) openBy(tb testing.TB, path string, wall *wallClock) *Store {
	tb.Helper()
	o := c.options(tb, path)
	o.Wall = wall.now
	return openStore(tb, o)
}

// dueIn lists how long each job that waits has to wait, in order.
func dueIn(tb testing.TB, s *Store) (waits []time.Duration) {
	tb.Helper()
	list, err := s.List(tb.Context(), delivery.Filter{State: "queued"})
	check(tb, err)
	for _, n := range list {
		waits = append(waits, n.Jobs[0].NextAt.Sub(s.Now()).Round(time.Second))
	}
	slices.Sort(waits)
	return waits
}

// Between two runs the machine's clock was set, or the machine was off: nothing
// falls due too late, nothing is given up for time in which it was not tried.
func TestClockAtAStart(t *testing.T) { everywhere(t, testClockAtAStart) }

func testClockAtAStart(t *testing.T, c composition) {
	const wait, tried = 20 * time.Minute, 3 * time.Hour
	for name, tt := range map[string]struct {
		set, off time.Duration
		due      time.Duration // of the first of three jobs
		spread   time.Duration // between them
	}{
		"left alone":             {0, 10 * time.Second, wait - 10*time.Second, wait},
		"set back a year":        {-year, 0, wait, wait},
		"set forth a year":       {year, 0, wait - year, wait},
		"off for a day":          {0, 24 * time.Hour, wait - 24*time.Hour, wait},
		"off, and set back less": {-time.Hour, 2 * time.Hour, wait - time.Hour, wait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, wall := t.TempDir(), &wallClock{}
				s := c.openBy(t, path, wall)
				var leases []delivery.Lease
				for _, caller := range []string{"201", "202", "203"} {
					leases = append(leases, keep(t, s, newNote("101", caller), chainTo("crm"))...)
				}
				time.Sleep(tried)
				for i, l := range leases {
					finish(t, s, l, delivery.Result{Outcome: delivery.Retry, Wait: time.Duration(i+1) * wait})
				}
				check(t, s.Close())
				time.Sleep(tt.off)
				wall.set(tt.set)

				s = c.openBy(t, path, wall)
				waits := dueIn(t, s)
				if len(waits) != 3 || waits[0] != tt.due || waits[1]-waits[0] != tt.spread || waits[2]-waits[1] != tt.spread {
					t.Fatalf("due in %v, want %v and every %v", waits, tt.due, tt.spread)
				}
				time.Sleep(max(0, waits[2]))
				got := claim(t, s, 10)
				if len(got) != 3 {
					t.Fatalf("%d of 3 jobs are given out", len(got))
				}
				for _, l := range got {
					spent := s.Now().Sub(l.First) - max(0, waits[2])
					if spent < tried || spent > tried+clockSlack {
						t.Errorf("a job counts as tried for %v, not %v", spent, tried)
					}
				}
			})
		})
	}
}

// A note that waits for its service's report is not given up at a start for time
// in which no report could be heard.
func TestWaitingAtAStart(t *testing.T) { everywhere(t, testWaitingAtAStart) }

func testWaitingAtAStart(t *testing.T, c composition) {
	const wait = 20 * time.Minute
	for name, tt := range map[string]struct{ set, off, left time.Duration }{
		"left alone":             {0, 10 * time.Second, wait - 10*time.Second},
		"set back a year":        {-year, 0, wait},
		"set forth a year":       {year, 0, wait},
		"off for a day":          {0, 24 * time.Hour, wait},
		"off, and set back less": {-time.Hour, 2 * time.Hour, wait},
	} {
		for what, takes := range map[string]delivery.Result{"reported": waiting(wait), "asked for": invited(wait)} {
			t.Run(name+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					path, wall := t.TempDir(), &wallClock{}
					s := c.openBy(t, path, wall)
					finish(t, s, keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0], takes)
					check(t, s.Close())
					time.Sleep(tt.off)
					wall.set(tt.set)
					s = c.openBy(t, path, wall)
					time.Sleep(tt.left - time.Second)
					claimNone(t, s)
					time.Sleep(2 * time.Second)
					if over := claimSoon(t, s); !over.Waited || over.Step != 0 {
						t.Errorf("claimed %+v", over)
					}
				})
			})
		}
	}
}

// The machine's clock is set while notes are on their way: they go on as if it
// were not, and the clock that is kept is the store's.
func TestClockWhileRunning(t *testing.T) {
	for name, set := range map[string]time.Duration{"back a year": -year, "forth a year": year} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, wall := t.TempDir(), &wallClock{}
				c := compositions()[0]
				s := c.openBy(t, path, wall)
				var up atomic.Bool
				var tries atomic.Int64
				crm := channelFunc(func(context.Context, delivery.Parcel) (delivery.Receipt, error) {
					if tries.Add(1); up.Load() {
						return delivery.Receipt{}, nil
					}
					return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Retry, Err: errors.New("busy")}
				})
				w := delivery.NewWorker(s, s, map[string]delivery.Channel{"crm": crm}, delivery.WorkerOptions{Now: s.Now}, quiet())
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); w.Run(ctx) }()
				n := newNote("101", "201")
				w.Deliver(keep(t, s, n, chainTo("crm"))...)
				time.Sleep(30 * time.Minute)
				wall.set(set)
				before := tries.Load()
				time.Sleep(6 * time.Hour)
				if n := tries.Load() - before; n < 6 || n > 100 {
					t.Errorf("%d attempts in six hours", n)
				}
				up.Store(true)
				time.Sleep(2 * time.Hour)
				if j := life(t, s, n.ID).Jobs[0]; j.State != delivery.JobDelivered {
					t.Errorf("the job is %s", j.State)
				}
				kept, err := scanTime(s.readers.QueryRowContext(t.Context(), selectSetting, settingClock))
				if behind := s.Now().Sub(kept); err != nil || behind < 0 || behind > 2*time.Minute {
					t.Errorf("the clock that is kept is %v behind, %v", behind, err)
				}
				stop()
				<-ended
			})
		})
	}
}

// channelFunc is a channel for a test.
type channelFunc func(context.Context, delivery.Parcel) (delivery.Receipt, error)

func (f channelFunc) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	return f(ctx, p)
}
