package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

var (
	_ delivery.Drafts  = (*Fleet)(nil)
	_ delivery.Queue   = (*Fleet)(nil)
	_ delivery.Limiter = (*Fleet)(nil)
)

// Fleet is the store of one machine among many: the embedded store, and on top
// of it what all of them share in Redis. The machine where a call came in is
// its note's home: its rows are the truth and mirror how its jobs stand, Redis
// holds the schedule and can be built again from the rows. Its methods may be
// called by many goroutines.
//
// A job is either this machine's alone (job.shared = 0), and the embedded
// queue gives it out, or it is shared, and only Redis does. All unfinished jobs
// of a thread that came in here are one or the other, so that they stay in
// order. What Redis refuses for certain goes out from here; what it may have
// taken waits until it answers.
//
// Every attempt at a shared job has a row (attempt.go) before it is made, and
// its outcome before Redis hears of it: what Redis does not hear, or forgets,
// is told again (settle.go, tell.go, ledger.go).
type Fleet struct {
	*Store
	shared  *shared.Shared
	machine string // this machine's id
	log     *slog.Logger

	every     time.Duration // how often settle runs
	lastWords time.Duration // to tell the others what is settled, at the end
	offering  offering
	draining  sync.Mutex // of drain
	settling  settling
	strays    map[string]int // of dropStrays: leases that nobody used when it looked last
	peers     atomic.Int32   // machines that share the work, as last heard
	alone     delivery.LocalLimiter

	common  *box         // of what belongs to all machines: links, what channels remember
	erasing sync.RWMutex // one erasure at a time, and what is read of all machines is kept here before or after it
	unseen  unseen       // notes that were kept and the others do not see
	strange sync.Once    // something that cannot be opened was told of
}

// OpenFleet opens this machine's store, as Open does, and prepares the shared
// side, which is reached once Run runs: a Redis that is away keeps nothing
// from starting.
func OpenFleet(o Options, log *slog.Logger) (*Fleet, error) {
	return openFleet(o, shared.Options{URL: o.Redis}, log)
}

func openFleet(o Options, with shared.Options, log *slog.Logger) (*Fleet, error) {
	if err := withdrawFleet(o, with, log); err != nil {
		return nil, err
	}
	return openAsIs(o, with, log)
}

// openAsIs opens a store whose part in Redis is as its rows are: in clear or
// sealed.
func openAsIs(o Options, with shared.Options, log *slog.Logger) (*Fleet, error) {
	s, err := Open(o, log)
	if err != nil {
		return nil, err
	}
	f := &Fleet{Store: s, log: log, every: settleEvery, lastWords: 2 * time.Second}
	if err := f.join(context.Background(), with); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", s.path, err), s.Close())
	}
	return f, nil
}

func (f *Fleet) join(ctx context.Context, with shared.Options) (err error) {
	if f.machine, err = f.machineID(ctx); err != nil {
		return err
	}
	if err := f.doubtAttempts(ctx); err != nil {
		return err
	}
	f.common = f.vault.openCommon()
	f.retirement.elsewhere = f.retireShared
	with.Machine, with.Wake = f.machine, f.wake
	f.shared, err = shared.Open(with, ledger{f}, f.log)
	return err
}

// machineID is this machine's name among the others, minted the first time.
func (f *Fleet) machineID(ctx context.Context) (string, error) {
	return write(ctx, f.Store, func(tx *txn) (string, error) {
		return orMake(tx.row("SELECT CAST(value AS TEXT) FROM setting WHERE name = 'machine'"), func() (string, error) {
			id := delivery.NewID()
			_, err := tx.exec("INSERT INTO setting (name, value) VALUES ('machine', ?)", []byte(id))
			return id, err
		})
	})
}

const settleEvery = time.Second

// Run keeps in touch with the other machines until ctx ends. It is to end
// after the worker, and before Close.
func (f *Fleet) Run(ctx context.Context) {
	var inTouch sync.WaitGroup
	inTouch.Go(func() { f.shared.Run(ctx) })
	inTouch.Go(func() { f.shared.Watch(ctx, f.news) })
	inTouch.Go(func() { f.follow(ctx) })
	for ctx.Err() == nil {
		f.settle(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(f.every):
		case <-f.shared.Back():
		}
	}
	inTouch.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.lastWords)
	defer cancel()
	f.settle(last)
}

// Close ends the connections and closes this machine's store. The others wait
// for nothing of this machine if they know all that it does.
func (f *Fleet) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), f.lastWords)
	defer cancel()
	if all, err := f.allSettled(ctx); err == nil && all && f.shared.Up() {
		if err := f.shared.Leave(ctx); err != nil {
			f.log.Warn("the other machines could not be told that this one stops", "error", err)
		}
	}
	return errors.Join(f.shared.Close(), f.Store.Close())
}

// Take implements delivery.Limiter: the rate holds over all machines. While
// Redis cannot be asked, each machine keeps to its share.
func (f *Fleet) Take(ctx context.Context, channel string, r delivery.Rate, n int) (granted int, wait time.Duration, err error) {
	granted, wait, err = f.shared.Take(ctx, channel, float64(r.Sends)/r.Per.Seconds(), n)
	if err != nil {
		r.Per *= time.Duration(max(1, f.peers.Load()))
		return f.alone.Take(ctx, channel, r, n)
	}
	return granted, wait, nil
}

// even takes a time of package shared to the store's clock, uneven the way
// back.
func (f *Fleet) even(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Until(f.Now())).Round(0)
}

func (f *Fleet) uneven(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-time.Until(f.Now()))
}
