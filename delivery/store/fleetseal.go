package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// A store in clear that is sealed for the first time takes out of Redis what
// is its own there, before its rows are sealed, and publishes it sealed once it
// runs. Every mailbox and thread has another name then, so nothing could stay
// in its place. Wherever that ends, the next start goes on: as long as
// something may be in Redis in clear, the store is.

// withdrawFleet takes what is this machine's in clear out of Redis, when the
// store is about to be sealed for the first time.
func withdrawFleet(o Options, with shared.Options, log *slog.Logger) error {
	_, err := os.Stat(filepath.Join(o.Path, databaseName))
	if o.KeyFile == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := openVault(o.KeyFile); err != nil {
		return fmt.Errorf("store %s: %w", o.Path, err)
	}
	inClear := o
	inClear.KeyFile = ""
	f, err := openAsIs(inClear, with, log)
	if errors.Is(err, errNeedsKeys) {
		return nil // it is sealed, or that has begun
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.withdraw(context.Background()), f.Close()); err != nil {
		return fmt.Errorf("store %s is not sealed yet: what Redis has of it in clear is taken out first: %w", o.Path, err)
	}
	return nil
}

// withdraw takes in all that the others have to say, tells them the same, and
// takes what is this machine's out of Redis.
func (f *Fleet) withdraw(ctx context.Context) error {
	if err := f.shared.Reach(ctx); err != nil {
		return err
	}
	if err := f.othersAreSealed(ctx); err != nil {
		return err
	}
	for shard := range shared.Count {
		if err := f.applyErasures(ctx, shard, f.shared.ErasureVersion(shard)); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{
		f.tellAll, f.tellReports, f.drainAll, f.withdrawNotes, f.dropAttempts, f.withdrawLinks, f.withdrawMemory, f.withdrawErasures, f.markSealed,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	f.log.Info("taken out of Redis, to be published sealed")
	return nil
}

// sealedMark names the setting that says that a machine seals what it shares.
func sealedMark(machine string) string { return "sealed " + machine }

func (f *Fleet) markSealed(ctx context.Context) error {
	_, err := f.shared.KeepSetting(ctx, sealedMark(f.machine), []byte{1})
	return err
}

// sealedHere lets those who come later know that this machine seals.
func (f *Fleet) sealedHere(ctx context.Context) error {
	if !f.vault.seals() {
		return nil
	}
	return f.markSealed(ctx)
}

// othersAreSealed refuses to go on while another machine runs in clear: it
// would go on sharing that, and lose the results of what it is sending.
func (f *Fleet) othersAreSealed(ctx context.Context) error {
	others, err := f.shared.Others(ctx)
	if err != nil {
		return err
	}
	running := 0
	for _, machine := range others {
		switch sealed, err := f.shared.HasSetting(ctx, sealedMark(machine)); {
		case err != nil:
			return err
		case !sealed:
			running++
		}
	}
	if running > 0 {
		return fmt.Errorf("%d of the other machines run in clear: stop the gateways of all machines, give each the same store.key_file, then start them", running)
	}
	return nil
}

// drainAll takes in everything that other machines did to notes of this one.
func (f *Fleet) drainAll(ctx context.Context) error {
	for {
		if n, err := f.shared.Drain(ctx, f.hear); n == 0 || err != nil {
			return err
		}
	}
}

// withdrawNotes withdraws this machine's notes. Before one is gone from Redis
// its rows say how it stood, and that it is to be published again.
func (f *Fleet) withdrawNotes(ctx context.Context) error {
	for last := ""; ; {
		rows, err := f.readers.QueryContext(ctx, "SELECT id, mailbox FROM note WHERE id > ? AND state = 'rendered' ORDER BY id LIMIT ?", last, settleBatch)
		page, err := collect(rows, err, func(r scanner) (p shared.Publication, err error) { return p, r.Scan(&p.ID, &p.Mailbox) })
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].ID
		var standing []shared.Job
		for i, p := range page {
			page[i].Mailbox = f.vault.aliasOf(p.Mailbox)
			jobs, err := f.shared.Jobs(ctx, page[i].Mailbox, p.ID)
			if err != nil && !errors.Is(err, shared.ErrNotFound) {
				return err
			}
			standing = append(standing, jobs...)
		}
		if err := f.mirror(ctx, standing); err != nil {
			return err
		}
		if err := f.unshare(ctx, page); err != nil {
			return err
		}
		if err := f.shared.Withdraw(ctx, page); err != nil {
			return err
		}
	}
}

// unshare has jobs of notes published again. Of a lease that another machine
// left behind nobody knows what became.
func (f *Fleet) unshare(ctx context.Context, notes []shared.Publication) error {
	_, err := write(ctx, f.Store, func(tx *txn) (any, error) {
		for _, n := range notes {
			_, err := tx.exec(`UPDATE job SET shared = 1, unknown = unknown | iif(state = 'sending', 1 << step, 0), state = 'queued'
				WHERE note = ? AND shared > 0 AND state IN ('queued', 'sending')`, n.ID)
			if err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

// dropAttempts forgets this machine's attempts. All that were told are known to
// their homes; of the others only a delivery must not be forgotten: what else
// became of an attempt, its home takes for unknown.
func (f *Fleet) dropAttempts(ctx context.Context) error {
	untold, err := write(ctx, f.Store, func(tx *txn) (untold bool, err error) {
		if _, err := tx.exec("DELETE FROM attempt WHERE settled = 1 OR outcome <> ? OR home = ?", delivery.Done, f.machine); err != nil {
			return false, err
		}
		if _, err := tx.exec("DELETE FROM relay WHERE told > 0"); err != nil {
			return false, err
		}
		err = tx.row("SELECT EXISTS (SELECT 1 FROM attempt) OR EXISTS (SELECT 1 FROM relay)").Scan(&untold)
		return untold, err
	})
	if err == nil && untold {
		err = shared.ErrAway
	}
	return err
}

// withdrawLinks takes out the links that this machine knows, and the signing
// key, which follows from the key file once all is sealed.
func (f *Fleet) withdrawLinks(ctx context.Context) error {
	links, err := f.ownLinks(ctx)
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := f.dropLinks(ctx, l.Mailbox); err != nil {
			return err
		}
	}
	return f.shared.DropSetting(ctx, "signing_key")
}

// withdrawErasures takes out what was erased: all of it is known here, and told
// again under the mailboxes' keyed names.
func (f *Fleet) withdrawErasures(ctx context.Context) error {
	rows, err := f.readers.QueryContext(ctx, "SELECT mailbox FROM erasure")
	all, err := collect(rows, err, func(r scanner) (alias string, err error) { return alias, r.Scan(&alias) })
	if err != nil {
		return err
	}
	for _, alias := range all {
		if err := f.shared.DropErasure(ctx, alias); err != nil {
			return err
		}
	}
	return nil
}

// sealFleet seals what a store has of the work that machines share: names of
// erased mailboxes are keyed, and attempts, which by now are told, are dropped.
func (t *txn) sealFleet() error {
	var untold bool
	if err := t.row("SELECT EXISTS (SELECT 1 FROM attempt WHERE settled = 0) OR EXISTS (SELECT 1 FROM relay WHERE told = 0)").Scan(&untold); err != nil {
		return err
	}
	if untold {
		return errUntold
	}
	for _, table := range []string{"attempt", "relay"} {
		if _, err := t.exec("DELETE FROM " + table); err != nil {
			return err
		}
	}
	aliases, err := t.ids("SELECT mailbox FROM erasure")
	if err != nil {
		return err
	}
	for _, alias := range aliases {
		hash, err := hex.DecodeString(alias)
		if err != nil {
			return fmt.Errorf("the erasures are damaged: %w", err)
		}
		_, err = t.exec("UPDATE erasure SET mailbox = ? WHERE mailbox = ?", hex.EncodeToString(t.vault.keyed(hash)), alias)
		if err != nil {
			return err
		}
	}
	return nil
}
