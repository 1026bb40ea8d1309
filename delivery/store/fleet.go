package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// Fleet is the store of one machine among many: the embedded store, and on top
// of it what all of them share in Redis. The machine where a call came in is
// its note's home: its rows are the truth, and Redis can be built again from
// them. Its methods may be called by many goroutines.
type Fleet struct {
	*Store
	shared  *shared.Shared
	machine string     // this machine's id
	common  *box       // of what belongs to all machines: links
	erasing sync.Mutex // one erasure at a time
	alone   delivery.LocalLimiter
	strange sync.Once // a note that cannot be opened was told of
}

// OpenFleet opens this machine's store, as Open does, and prepares the shared
// side, which is reached once Run runs: a Redis that is away keeps nothing
// from starting.
func OpenFleet(o Options, log *slog.Logger) (*Fleet, error) {
	s, err := Open(o, log)
	if err != nil {
		return nil, err
	}
	f := &Fleet{Store: s}
	if err := f.join(context.Background(), o.Redis, log); err != nil {
		return nil, errors.Join(fmt.Errorf("store.redis: %w", err), s.Close())
	}
	return f, nil
}

func (f *Fleet) join(ctx context.Context, url string, log *slog.Logger) (err error) {
	if f.machine, err = f.machineID(ctx); err != nil {
		return err
	}
	f.common = f.vault.openCommon()
	f.retirement.elsewhere = f.retireShared
	f.shared, err = shared.Open(shared.Options{URL: url, Machine: f.machine}, ledger{f}, log)
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

// Run keeps in touch with the other machines until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { f.shared.Run(ctx) })
	tasks.Go(func() { f.shared.Watch(ctx, f.tell) })
	tasks.Go(func() { f.follow(ctx) })
	tasks.Wait()
}

// Close ends the connections and closes this machine's store.
func (f *Fleet) Close() error { return errors.Join(f.shared.Close(), f.Store.Close()) }
