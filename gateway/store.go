package main

import (
	"context"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
	"github.com/afterbeep/afterbeep/gateway/web"
)

// keeper is the store as the rooms use it: this machine's own, or with what
// many machines share on top.
type keeper interface {
	delivery.Drafts
	delivery.Queue
	delivery.Notes
	delivery.Inbox
	delivery.Links
	web.Keeper
	control.Operator

	// Memory is what a channel remembers.
	Memory(channel string) delivery.Memory
	// Recipients are the mailboxes that this machine keeps notes of.
	Recipients(ctx context.Context) ([]string, error)
	// Retire takes what retention is over for.
	Retire(ctx context.Context, keep func(mailbox string) delivery.Retention) (delivery.Retired, error)
	// Now is the time that jobs go by.
	Now() time.Time
	// Ready says whether another call can be kept, Failed whether the disk
	// failed, Free how many bytes it has left, Stuck how many recordings of an
	// earlier process cannot be read.
	Ready(ctx context.Context) error
	Failed() bool
	Free() (int64, error)
	Stuck() int
	Close() error
}

var (
	_ keeper = (*store.Store)(nil)
	_ keeper = (*store.Fleet)(nil)
)

// openStore opens the store, which starts whether Redis can be reached or not.
func (g *gateway) openStore() error {
	o := g.cfg.Store
	o.Changed = g.lamps.Changed
	if g.cfg.Operator != nil {
		o.Operator = g.cfg.Operator.Events.All()
	}
	if o.Redis == "" {
		s, err := store.Open(o, g.log)
		if err != nil {
			return err
		}
		g.store = s
		return nil
	}
	f, err := store.OpenFleet(o, g.log)
	if err != nil {
		return err
	}
	g.store, g.fleet = f, f
	return nil
}

// limiter keeps the channels' rates over all machines; nil for one machine.
func (g *gateway) limiter() delivery.Limiter {
	if g.fleet == nil {
		return nil
	}
	return g.fleet
}

// share keeps in touch with the other machines until stop.
func (g *gateway) share(ctx context.Context) (stop func()) {
	if g.fleet == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { g.fleet.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
