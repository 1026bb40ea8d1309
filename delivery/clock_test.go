package delivery

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestClockGoesOnEvenly(t *testing.T) {
	for name, set := range map[string]time.Duration{"left alone": 0, "a year forth": 365 * 24 * time.Hour, "a year back": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var off time.Duration
				clock := ClockOn(func() time.Time { return time.Now().Add(off) })
				before := clock.Now()
				off = set
				time.Sleep(90 * time.Minute)
				if passed := clock.Now().Sub(before); passed != 90*time.Minute {
					t.Errorf("after 90 minutes the clock is %s on", passed)
				}
				if passed := clock.Wall().Sub(before); passed != 90*time.Minute+set {
					t.Errorf("after 90 minutes the wall's is %s on", passed)
				}
				if clock.Now() != clock.Now().Round(0) {
					t.Error("the time has a monotonic reading: it does not compare with one from disk")
				}
			})
		})
	}
}

// Ids sort by time, even while somebody sets the machine's clock.
func TestIDsFollowTheEvenClock(t *testing.T) {
	var off time.Duration
	clock := ClockOn(func() time.Time { return time.Now().Add(off) })
	before := idAt(clock.Now())
	off = -365 * 24 * time.Hour
	time.Sleep(2 * time.Millisecond)
	if after := idAt(clock.Now()); after <= before {
		t.Errorf("%s comes after %s", after, before)
	}
}

// The machine's clock is a year off the queue's: nothing is given up, nothing
// waits for a year, and the attempts keep their spread.
func TestWorkerGoesByTheQueuesClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"a year ahead": 365 * 24 * time.Hour, "a year behind": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var up atomic.Bool
				var attempts moments
				r := start(t, map[string]Channel{"crm": channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
					attempts.now()
					if up.Load() {
						return healthy(ctx, p)
					}
					return down(ctx, p)
				})})
				r.queue.ahead = ahead
				r.queue.put("101", "crm")
				pass(5 * 24 * time.Hour)
				if n := len(attempts.take()); n < 5*24 || n > 1000 {
					t.Errorf("%d attempts in five days", n)
				}
				up.Store(true)
				pass(2 * time.Hour)
				r.queue.expect(t, map[JobState]int{JobDelivered: 1})
			})
		})
	}
}
