package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// service is a chat service that is down until it comes back.
type service struct {
	mu       sync.Mutex
	up       bool
	refused  map[string][]time.Time // by job: the attempts it refused
	promised map[string][]string    // by caller: the notes it is to get
	arrived  map[string][]string    // and those it got
}

func newService() *service {
	return &service{refused: map[string][]time.Time{}, promised: map[string][]string{}, arrived: map[string][]string{}}
}

func (c *service) Send(_ context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up {
		c.refused[p.Key] = append(c.refused[p.Key], time.Now())
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Retry, Status: 503, Err: errors.New("503 Service Unavailable")}
	}
	c.arrived[p.Note.Caller.Number] = append(c.arrived[p.Note.Caller.Number], p.Note.ID)
	return delivery.Receipt{}, nil
}

func (c *service) comesBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = true
}

const day = 24 * time.Hour

// A service that is down for days costs no note: each is tried on with waits
// that fill the hour, is dead after seven days and not before, and arrives
// once, in its thread's order, when the service is back or it was redriven.
func TestServiceDownForDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Path: t.TempDir()})
		// The days pass in seconds: what syncs keep from a power cut is of no concern.
		_, err := s.conn.ExecContext(t.Context(), "PRAGMA synchronous = OFF")
		check(t, err)
		five, eight := newService(), newService()
		w := delivery.NewWorker(s, s, map[string]delivery.Channel{"five": five, "eight": eight}, delivery.WorkerOptions{}, quiet())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		defer func() { stop(); <-ended }()

		began := time.Now()
		const notes, threads = 100, 4 // of each service
		for i := range notes {
			for channel, to := range map[string]*service{"five": five, "eight": eight} {
				n := newNote("101", fmt.Sprint(i%threads))
				to.promised[n.Caller.Number] = append(to.promised[n.Caller.Number], n.ID)
				w.Deliver(keep(t, s, n, chainTo(channel))...)
			}
			time.Sleep(time.Second)
		}
		until := func(d time.Duration) { time.Sleep(time.Until(began.Add(d))) }

		until(5 * day)
		five.checkWaits(t, 5, threads)
		five.comesBack()
		until(6 * day)
		five.checkArrivals(t, true)
		until(7*day - time.Minute)
		eight.checkWaits(t, 7, threads)
		if dead := list(t, s, delivery.JobDead); len(dead) != 0 {
			t.Fatalf("%d notes are dead before seven days are over", len(dead))
		}
		until(8 * day)
		dead := list(t, s, delivery.JobDead)
		if len(dead) != notes { // those that never headed their thread as well
			t.Fatalf("%d notes are dead after eight days, want %d", len(dead), notes)
		}
		eight.comesBack()
		for _, n := range dead {
			redriven, err := s.Redrive(t.Context(), n.Note.ID, "")
			if err != nil || redriven != 1 {
				t.Fatalf("redriven %d, %v", redriven, err)
			}
		}
		until(9 * day)
		eight.checkArrivals(t, false) // the first that is redriven heads its thread
		depth, err := s.Depth(t.Context())
		if err != nil || depth["queued"]+depth["sending"]+depth["dead"] != 0 {
			t.Errorf("%v are left, %v", depth, err)
		}
	})
}

// list are the notes in a state.
func list(t *testing.T, s *Store, state delivery.JobState) []delivery.Summary {
	t.Helper()
	notes, err := s.List(t.Context(), delivery.Filter{State: string(state), Limit: 1000})
	check(t, err)
	return notes
}

// checkWaits looks at the waits between the attempts of the jobs that head
// their threads: spread over the hour, half of them shorter than half of it.
func (c *service) checkWaits(t *testing.T, days, jobs int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.refused) != jobs {
		t.Fatalf("%d jobs were tried, want the oldest of each of %d threads", len(c.refused), jobs)
	}
	var waits []time.Duration
	for _, at := range c.refused {
		for i := 12; i < len(at); i++ { // the limit has reached the hour
			waits = append(waits, at[i].Sub(at[i-1]))
		}
		if least := days * 24; len(at) < least {
			t.Errorf("a job was tried %d times in %d days, want %d at least", len(at), days, least)
		}
	}
	slices.Sort(waits)
	short, median, longest := waits[len(waits)/10], waits[len(waits)/2], waits[len(waits)-1]
	t.Logf("%d waits: a tenth below %v, half below %v, all up to %v", len(waits), short, median, longest)
	if short > 15*time.Minute || median < 20*time.Minute || median > 45*time.Minute || longest > 65*time.Minute {
		t.Errorf("waits: a tenth below %v, half below %v, all up to %v", short, median, longest)
	}
}

// checkArrivals makes the standing checks: every note came, and once.
func (c *service) checkArrivals(t *testing.T, inOrder bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for caller, promised := range c.promised {
		arrived := c.arrived[caller]
		if !inOrder {
			slices.Sort(arrived)
		}
		if !slices.Equal(arrived, promised) {
			t.Errorf("from caller %s %v arrived, want %v", caller, arrived, promised)
		}
	}
}
