package store

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// slow is a channel that takes a while for each note, and keeps which it got.
type slow struct {
	takes time.Duration
	mu    sync.Mutex
	got   []string
}

func (c *slow) Send(_ context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	c.mu.Lock()
	c.got = append(c.got, p.Note.ID)
	c.mu.Unlock()
	time.Sleep(c.takes)
	return delivery.Receipt{}, nil
}

// place is how many notes the channel got before this one; -1 for all.
func (c *slow) place(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, got := range c.got {
		if got == id {
			return i
		}
	}
	return -1
}

// limited is slow at a rate.
type limited struct {
	*slow
	rate delivery.Rate
}

func (c limited) Rate() delivery.Rate { return c.rate }

// Behind 5,000 old notes of a slow channel, or one with a rate, a new note
// leaves as soon as a send is free.
func TestNewNoteLeavesAtOnce(t *testing.T) {
	const old = 5000
	for name, rate := range map[string]delivery.Rate{"slow": {}, "limited": {Sends: 10, Per: time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := compositions()[0].openAt(t, t.TempDir())
				fill(t, s, old)
				service := &slow{takes: 2 * time.Second}
				w := delivery.NewWorker(s, s, map[string]delivery.Channel{"crm": limited{service, rate}},
					delivery.WorkerOptions{}, quiet())
				ctx, stop := context.WithCancel(t.Context())
				var worker sync.WaitGroup
				worker.Go(func() { w.Run(ctx) })
				time.Sleep(10 * time.Second)
				var before int
				for i := range 5 {
					service.mu.Lock()
					before = len(service.got)
					service.mu.Unlock()
					n := newNote("102", strconv.Itoa(i))
					w.Deliver(keep(t, s, n, chainTo("crm"))...)
					time.Sleep(service.takes + 200*time.Millisecond) // every send may be under way
					if at := service.place(n.ID); at < 0 {
						t.Error("it waits behind the backlog")
					} else if behind := at - before; behind > 32 {
						t.Errorf("%d old ones went before it", behind)
					}
				}
				stop()
				worker.Wait()
				depth, err := s.Depth(t.Context())
				if err != nil || before < 50 || depth["queued"]+len(service.got) != old+5 {
					t.Errorf("%d were sent, %v are left of %d, %v", len(service.got), depth, old+5, err)
				}
			})
		})
	}
}
