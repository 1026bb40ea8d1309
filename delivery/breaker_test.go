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

func TestServiceDeadForEightDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := map[string]int{}
		var mu sync.Mutex
		r := start(t, map[string]Channel{"crm": channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
			mu.Lock()
			defer mu.Unlock()
			tries[p.Key]++
			if p.Attempt != tries[p.Key] {
				t.Errorf("%s: attempt %d, but it was sent %d times", p.Key, p.Attempt, tries[p.Key])
			}
			return down(ctx, p)
		})})
		const notes = 12
		for i := range notes {
			r.queue.put(fmt.Sprint(i), "crm")
		}
		pass(7*24*time.Hour - time.Minute)
		r.queue.expect(t, map[JobState]int{JobQueued: notes})
		pass(time.Hour)
		r.queue.expect(t, map[JobState]int{JobDead: notes})
		if r.seen.dead != notes || strings.Count(r.log.String(), "note is dead") != notes {
			t.Errorf("an operator heard of %d dead notes, the log of %d", r.seen.dead, strings.Count(r.log.String(), "note is dead"))
		}
		for key, n := range tries {
			if n < 100 { // a mean wait of half an hour makes 336
				t.Errorf("%s was tried %d times", key, n)
			}
		}
		pass(24 * time.Hour)
		r.queue.expect(t, map[JobState]int{JobDead: notes})
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ill atomic.Bool
		ill.Store(true)
		var sent moments
		r := start(t, map[string]Channel{"crm": channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
			sent.now()
			if ill.Load() {
				return down(ctx, p)
			}
			return healthy(ctx, p)
		})})
		const notes = 150
		for i := range notes {
			r.Deliver(r.queue.render(fmt.Sprint(i), "crm")...)
		}
		synctest.Wait()
		if n := len(sent.take()); n < tripAfter || n > tripAfter+r.o.Sends/2 {
			t.Fatalf("%d attempts before the breaker opened", n)
		}
		pass(10 * time.Minute)
		probes := sent.take()
		if len(probes) < 20 || len(probes) > 25 {
			t.Errorf("%d probes in 10 min, want one in 25 to 30 s", len(probes))
		}
		for i := 1; i < len(probes); i++ {
			if gap := probes[i].Sub(probes[i-1]); gap < probeAfter || gap > 30*time.Second {
				t.Errorf("a probe %v after the one before", gap)
			}
		}
		if perSecond := float64(r.queue.putOff) / 600; perSecond > 100 {
			t.Errorf("the backlog cost %.0f changes a second", perSecond)
		}
		ill.Store(false)
		pass(time.Hour)
		r.queue.expect(t, map[JobState]int{JobDelivered: notes})
		if first, last := r.seen.breaker[0], r.seen.breaker[len(r.seen.breaker)-1]; first != "open" || last != "closed" {
			t.Errorf("the observer heard %v", r.seen.breaker)
		}
		for _, j := range r.queue.all() {
			if j.Attempt != len(j.results) {
				t.Fatalf("%s counts %d attempts and made %d", j.Job, j.Attempt, len(j.results))
			}
		}
	})
}

func TestOneDueNoteIsTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, map[string]Channel{"crm": channelFunc(down)})
		for i := range 2 * tripAfter {
			r.Deliver(r.queue.render(fmt.Sprint(i), "crm")...)
		}
		pass(time.Second)
		r.queue.mu.Lock()
		for _, j := range r.queue.jobs { // all but one are far off
			j.at = time.Now().Add(time.Hour)
		}
		r.queue.mu.Unlock()
		last := r.queue.put("last", "crm")
		pass(30 * time.Second)
		if n := len(r.queue.look(last).results); n != 1 {
			t.Errorf("%d probes in 30 s", n)
		}
	})
}

func TestCredentialsPauseTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		var sent moments
		r := start(t, map[string]Channel{
			"bot": channelFunc(func(context.Context, Parcel) (Receipt, error) {
				sent.now()
				if mended.Load() {
					return Receipt{}, nil
				}
				return Receipt{}, &SendError{Outcome: Retry, Status: 401, Credentials: true, Err: errors.New("401 Unauthorized")}
			}),
			"inbox": channelFunc(healthy),
		})
		alone := r.queue.put("101", "bot")
		synctest.Wait()
		chained := r.queue.put("102", "bot", "inbox")
		synctest.Wait()
		n := len(sent.take())
		if j := r.queue.look(chained); n != 1 || j.state != JobDelivered || j.Step != 1 {
			t.Errorf("%d sent; the chain is %s at step %d, want it delivered at the next target at once", n, j.state, j.Step)
		}
		if n := strings.Count(r.log.String(), "refuses its credentials"); n != 1 {
			t.Errorf("%d alerts", n)
		}
		mended.Store(true)
		pass(time.Minute)
		if j := r.queue.look(alone); j.state != JobDelivered {
			t.Errorf("the job without another target is %s", j.state)
		}
	})
}

func TestHangingChannelsStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		hang := channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			return hanging(ctx, p)
		})
		r := start(t, map[string]Channel{"slow1": hang, "slow2": hang, "crm": channelFunc(healthy)})
		for i := range 500 {
			r.Deliver(r.queue.render(fmt.Sprint("f", i), fmt.Sprint("slow", 1+i%2))...)
			r.queue.put(fmt.Sprint("q", i), fmt.Sprint("slow", 1+i%2))
		}
		synctest.Wait()
		fresh, due := r.queue.render("101", "crm"), r.queue.put("102", "crm")
		r.Deliver(fresh...)
		pass(time.Second)
		if j := r.queue.look(due); j.state != JobDelivered || len(r.seen.arrivals()) != 2 {
			t.Errorf("the healthy channel's jobs: %s, %d delivered", j.state, len(r.seen.arrivals()))
		}
		if most.Load() >= int32(r.o.Sends) {
			t.Errorf("%d sends hang", most.Load())
		}
	})
}

func TestBacklogAndFreshNotesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, map[string]Channel{"crm": channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
			time.Sleep(time.Second)
			return healthy(ctx, p)
		})})
		for i := range 200 {
			r.queue.put(fmt.Sprint("old", i), "crm")
		}
		for i := range 20 { // less than the channel can take
			lease := r.queue.render(fmt.Sprint("new", i), "crm")
			before := len(r.seen.arrivals())
			r.Deliver(lease...)
			pass(3 * time.Second)
			if len(r.seen.arrivals()) == before {
				t.Fatal("nothing was delivered")
			}
			if j := r.queue.look(lease[0].Job); j.state != JobDelivered {
				t.Fatalf("the fresh note is %s after 3 s", j.state)
			}
		}
		pass(2 * time.Minute)
		r.queue.expect(t, map[JobState]int{JobDelivered: 220})
	})
}
