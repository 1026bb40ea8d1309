package delivery

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestShutdown(t *testing.T) {
	for name, tc := range map[string]struct {
		channel   Channel
		took      time.Duration
		delivered int
		unknown   int
	}{
		"running sends finish": {channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
			time.Sleep(5 * time.Second)
			return healthy(ctx, p)
		}), 5 * time.Second, 32, 0},
		"hanging ones are cut short":      {channelFunc(hanging), 10 * time.Second, 0, 32},
		"those that may take longer too":  {unhurried{channelFunc(hanging)}, 10 * time.Second, 0, 32},
		"those that sent nothing go back": {channelFunc(cutShort), 10 * time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"crm": tc.channel})
				const notes = 100
				for i := range notes {
					r.Deliver(r.queue.render(fmt.Sprint(i), "crm")...)
				}
				synctest.Wait()
				before := time.Now()
				r.stop()
				if took := time.Since(before); took != tc.took {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
				r.queue.expect(t, map[JobState]int{JobDelivered: tc.delivered, JobQueued: notes - tc.delivered})
				unknown := 0
				for _, j := range r.queue.all() {
					if j.Attempt != len(j.results) {
						t.Errorf("%s counts %d attempts, %d are kept", j.Job, j.Attempt, len(j.results))
					}
					if j.Unknown {
						unknown++
					}
				}
				if unknown != tc.unknown {
					t.Errorf("%d outcomes unknown, want %d", unknown, tc.unknown)
				}
				r.Deliver(r.queue.render("late", "crm")...)
				r.queue.expect(t, map[JobState]int{JobDelivered: tc.delivered, JobQueued: notes - tc.delivered + 1})
			})
		})
	}
}

// cutShort never gets through to its service.
func cutShort(ctx context.Context, _ Parcel) (Receipt, error) {
	<-ctx.Done()
	return Receipt{}, &SendError{Outcome: Retry, Err: ctx.Err()}
}

func TestResultIsKeptThoughTheStoreFails(t *testing.T) {
	for name, tc := range map[string]struct {
		broken []error
		want   JobState
	}{
		"for a while": {[]error{errDisk, errDisk, errDisk}, JobDelivered},
		"for long":    {slices.Repeat([]error{errDisk}, 20), JobSending},
		"fenced":      {[]error{fmt.Errorf("finish: %w", ErrFenced)}, JobSending}, // another has it
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"crm": channelFunc(healthy)})
				r.queue.mu.Lock()
				r.queue.broken = tc.broken
				r.queue.mu.Unlock()
				r.queue.put("101", "crm")
				pass(time.Minute)
				r.queue.expect(t, map[JobState]int{tc.want: 1})
			})
		})
	}
}

// A store that fails for good keeps nobody from ending: neither what waited in
// vain nor what no lane took holds the worker back.
func TestShutdownThoughTheStoreFails(t *testing.T) {
	for name, channel := range map[string]Channel{
		"waited in vain": acknowledging(WasRead),
		"not taken":      channelFunc(down),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"x": channel, "crm": channelFunc(healthy)})
				for i := range tripAfter + 1 {
					r.queue.put(fmt.Sprint(i), "x", "crm")
				}
				pass(10 * time.Second)
				r.queue.fail(true)
				pass(11 * time.Minute)
				before := time.Now()
				r.stop()
				if took := time.Since(before); took > time.Minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
