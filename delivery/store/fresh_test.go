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

func (c *slow) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
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

// Behind 5,000 old notes of a slow channel a new note leaves as soon as a send
// is free.
func TestNewNoteLeavesAtOnce(t *testing.T) {
	const old, fresh = 5000, 3
	synctest.Test(t, func(t *testing.T) {
		s := compositions()[0].openAt(t, t.TempDir())
		fill(t, s, old)
		service := &slow{takes: 500 * time.Millisecond}
		w := delivery.NewWorker(s, s, map[string]delivery.Channel{"crm": service}, delivery.WorkerOptions{}, quiet())
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { w.Run(ctx) })
		time.Sleep(3 * time.Second)
		before := 0
		for i := range fresh {
			before = service.count()
			n := newNote("102", strconv.Itoa(i))
			w.Deliver(keep(t, s, n, chainTo("crm"))...)
			time.Sleep(service.takes + 100*time.Millisecond) // every send may be under way
			if at := service.place(n.ID); at < 0 {
				t.Error("it waits behind the backlog")
			} else if at-before > 64 { // what begins when it does, and what ended just then
				t.Errorf("%d old ones went before it", at-before)
			}
		}
		stop()
		worker.Wait()
		depth, err := s.Depth(t.Context())
		if sent := service.count(); err != nil || before < 100 || sent > 1000 || depth["queued"]+sent != old+fresh {
			t.Errorf("%d were sent, %v are left of %d, %v", sent, depth, old+fresh, err)
		}
	})
}
