package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// chat counts what arrives.
type chat struct {
	mu      sync.Mutex
	arrived map[string]int
	doubted int
}

func (c *chat) send(l Job) {
	time.Sleep(rand.N(20 * time.Millisecond))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived[l.ID]++
	if l.Unknown != 0 {
		c.doubted++
	}
}

func (c *chat) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.arrived)
}

// gateway is a machine that takes calls and delivers, with its disk in memory.
type gateway struct {
	*Shared
	name string
	chat *chat

	mu      sync.Mutex
	pending map[string]Publication // by job: notes of this machine that have not ended
	sending map[string]Job
	done    map[string]Job
	peers   []string
	tasks   sync.WaitGroup
}

func (g *gateway) Recall(_ context.Context, _ Shards, say func(Fact) error) error {
	g.mu.Lock()
	var facts []Fact
	for _, j := range g.done {
		facts = append(facts, fact(WasDelivered, j))
	}
	for _, j := range g.sending {
		facts = append(facts, fact(IsSending, j))
	}
	for _, p := range g.pending {
		facts = append(facts, pending(p))
	}
	g.mu.Unlock()
	time.Sleep(rand.N(500 * time.Millisecond)) // the other machine is faster
	for _, f := range facts {
		if err := say(f); err != nil {
			return err
		}
	}
	return nil
}

func (g *gateway) Learn(_ context.Context, jobs []Job) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, j := range jobs {
		if j.State == Delivered {
			delete(g.pending, j.ID)
		}
	}
	return nil
}

func (g *gateway) Peers(context.Context) ([]string, error) { return g.peers, nil }

func (g *gateway) Met(_ context.Context, machines []string) error {
	g.peers = machines
	return nil
}

// deliver makes an attempt as the store does: recorded, then begun.
func (g *gateway) deliver(ctx context.Context, j Job) {
	if rand.N(8) == 0 {
		time.Sleep(rand.N(2 * time.Second)) // waits for a sender
	}
	g.mu.Lock()
	g.sending[j.ID] = j
	g.mu.Unlock()
	begun := g.Held(j.ID, j.Epoch)
	if begun {
		g.chat.send(j)
	}
	g.mu.Lock()
	delete(g.sending, j.ID)
	if begun {
		g.done[j.ID] = j
		delete(g.pending, j.ID)
	}
	g.mu.Unlock()
	for ctx.Err() == nil {
		var err error
		if begun {
			_, _, err = g.Finish(ctx, j, Result{Outcome: "done"})
		} else {
			err = g.Release(ctx, j)
		}
		if err == nil || errors.Is(err, ErrFenced) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// call takes a call in and publishes its note until that is certain.
func (g *gateway) call(ctx context.Context, n int) {
	p := publication(fmt.Sprint("m", n%40), fmt.Sprintf("%06d-%s", n, g.name), 1)
	g.mu.Lock()
	g.pending[p.Jobs[0].ID] = p
	g.mu.Unlock()
	for again := false; ctx.Err() == nil; again = true {
		jobs, err := g.Publish(ctx, p, again, true)
		if err == nil {
			if jobs[0].Leased {
				g.deliver(ctx, jobs[0])
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// work claims and delivers until ctx ends.
func (g *gateway) work(ctx context.Context) {
	for ctx.Err() == nil {
		ls, _ := g.Claim(ctx, 8)
		for _, l := range ls {
			g.tasks.Go(func() { g.deliver(ctx, l.Job) })
		}
		if len(ls) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// TestNoneLostNoneDoubled: while Redis forgets everything again and again, and
// stalls, every note of two machines arrives once.
func TestNoneLostNoneDoubled(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	c := &chat{arrived: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	calls := 0
	var gateways []*gateway
	for _, name := range []string{"a", "b"} {
		g := &gateway{name: name, chat: c, pending: map[string]Publication{}, sending: map[string]Job{}, done: map[string]Job{}}
		var err error
		g.Shared, err = Open(Options{URL: setup.URL, Machine: name}, g, slog.New(slog.DiscardHandler))
		check(t, err)
		gateways = append(gateways, g)
		running.Go(func() { g.Run(ctx) })
		running.Go(func() { g.work(ctx) })
	}
	for _, g := range gateways {
		eventually(t, "they meet", func() bool {
			return g.Ready() && g.knows("a") && g.knows("b")
		})
	}
	faults := []func(){
		setup.Flush,
		func() { setup.Servers[0].Kill(); time.Sleep(200 * time.Millisecond); setup.Servers[0].Start() },
		func() { setup.Servers[0].Pause(); time.Sleep(1200 * time.Millisecond); setup.Servers[0].Resume() },
	}
	for round := range 6 {
		for range 60 {
			n := calls
			for _, g := range gateways {
				g.tasks.Go(func() { g.call(ctx, n) })
			}
			calls++
			time.Sleep(rand.N(15 * time.Millisecond))
		}
		faults[round%len(faults)]()
	}
	want := calls * len(gateways)
	eventually(t, "every note arrives", func() bool { return c.count() == want })
	time.Sleep(500 * time.Millisecond) // for what would be sent twice
	cancel()
	running.Wait()
	for _, g := range gateways {
		g.tasks.Wait()
		check(t, g.Close())
	}
	doubled := 0
	for _, n := range c.arrived {
		doubled += n - 1
	}
	t.Logf("promised %d, delivered %d, doubled %d, marked %d", want, len(c.arrived), doubled, c.doubted)
	if doubled > 0 || c.doubted > 0 {
		t.Error("a note was sent twice or marked as a repeat")
	}
}
