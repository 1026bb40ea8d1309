package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// How long Erase waits for the other machines: until they have told what Redis may
// have forgotten, and until they have erased.
const (
	wholeWithin = 10 * time.Second
	eraseWithin = 5 * time.Second
)

// Erase takes out every note of a mailbox on every machine, the links to its
// inbox and what channels remember of it, see Store.Erase. It begins with Redis,
// and does nothing while that is away, or does not know all notes yet. Calls under
// way are not touched on any machine; those elsewhere are not counted.
func (f *Fleet) Erase(ctx context.Context, mailbox string) (delivery.Erasure, error) {
	alias := f.vault.alias(mailbox)
	if err := f.awaitWhole(ctx, alias); err != nil {
		return delivery.Erasure{}, notErased(err)
	}
	e, homes, err := f.eraseEverywhere(ctx, mailbox, alias)
	f.changed(mailbox)
	if err != nil {
		return e, err
	}
	for began := time.Now(); ; {
		if e.Machines, e.Behind, err = f.shared.EraseConfirmed(ctx, alias, homes); err != nil || e.Behind == 0 || time.Since(began) > eraseWithin {
			return e, nil //nolint:nilerr // it is erased: only who has said so is not known
		}
		select {
		case <-ctx.Done():
			return e, nil
		case <-time.After(eraseWithin / 50):
		}
	}
}

func notErased(err error) error {
	return fmt.Errorf("erase a mailbox on all machines: %w; erase again when that is mended", err)
}

// awaitWhole waits until Redis knows all notes of a mailbox: one that is shown
// after the erasure would be there again.
func (f *Fleet) awaitWhole(ctx context.Context, alias string) (err error) {
	for began := time.Now(); ; {
		if err = f.shared.Whole(ctx, alias); !errors.Is(err, shared.ErrGate) || time.Since(began) > wholeWithin {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wholeWithin / 100):
		}
	}
}

// eraseEverywhere erases a mailbox in Redis, then here, and returns the homes of
// the notes that are other machines'.
func (f *Fleet) eraseEverywhere(ctx context.Context, mailbox, alias string) (e delivery.Erasure, homes []string, err error) {
	f.erasing.Lock() // what follow erases would be missing from the proof
	defer f.erasing.Unlock()
	upto, homes, err := f.eraseShared(ctx, mailbox)
	if err != nil {
		return e, nil, notErased(err)
	}
	if e, err = f.eraseUpTo(ctx, f.vault.mailbox(mailbox), alias, ""); err != nil {
		return e, nil, err
	}
	e.Elsewhere = len(homes)
	return e, homes, f.keepErasure(ctx, alias, upto, e.At)
}

// eraseShared erases a mailbox's notes in Redis up to the newest that this
// machine or Redis knows, further than the last time, and returns the home of
// each that is another machine's.
func (f *Fleet) eraseShared(ctx context.Context, mailbox string) (upto string, homes []string, err error) {
	alias := f.vault.alias(mailbox)
	var newest sql.NullString
	err = f.readers.QueryRowContext(ctx, "SELECT max(id) FROM note WHERE mailbox = ? AND state = 'rendered'", f.vault.mailbox(mailbox)).Scan(&newest)
	if err != nil {
		return "", nil, err
	}
	everywhere, err := f.shared.Thread(ctx, alias, "", maxPage)
	if err != nil {
		return "", nil, err
	}
	upto = max(newest.String, delivery.FirstID(time.Time{})) // its links are erased where it has no notes
	for page := everywhere; len(page) > 0; {
		for _, n := range page {
			upto = max(upto, n.ID)
			if n.Home != f.machine {
				homes = append(homes, n.Home)
			}
		}
		if page, err = f.shared.Thread(ctx, alias, page[len(page)-1].ID, maxPage); err != nil {
			return "", nil, err
		}
	}
	last, err := f.shared.Erased(ctx, alias)
	if err != nil {
		return "", nil, err
	}
	if last != "" { // what outlived the last erasure goes with a later one
		upto = max(upto, delivery.FirstID(delivery.MintedAt(last).Add(time.Millisecond)))
	}
	if _, err := f.shared.Erase(ctx, alias, upto); err != nil {
		return "", nil, err
	}
	if err := f.shared.Disown(ctx, alias, upto); err != nil {
		return "", nil, err
	}
	return upto, homes, f.dropLinks(ctx, mailbox)
}

// keepErasure keeps up to which note a mailbox was erased.
func (f *Fleet) keepErasure(ctx context.Context, alias, upto string, at time.Time) error {
	_, err := write(ctx, f.Store, func(tx *txn) (int64, error) {
		return tx.exec("INSERT INTO erasure (mailbox, upto, at) VALUES (?1, ?2, ?3) ON CONFLICT (mailbox) DO UPDATE SET upto = max(upto, ?2)",
			alias, upto, micros(at))
	})
	return err
}

// selectOutlived is up to where a mailbox was erased here, as long as a note is
// there: both in one look, or a note that goes just now would outlive its erasure.
const selectOutlived = "SELECT upto FROM erasure WHERE mailbox = ? AND EXISTS (SELECT 1 FROM note WHERE id = ?)"

// outlived reads selectOutlived; "" for never.
func outlived(row *sql.Row) (upto string, err error) {
	if err = found(row.Scan(&upto)); errors.Is(err, delivery.ErrNotFound) {
		err = nil
	}
	return upto, err
}

// applyErasures erases here what was erased in a shard, and says so.
func (f *Fleet) applyErasures(ctx context.Context, shard int, version string) error {
	f.erasing.Lock()
	defer f.erasing.Unlock()
	erased, err := f.shared.Erasures(ctx, shard)
	if err != nil {
		return err
	}
	var rows map[string]string // mailboxes as rows have them, by alias
	for alias, upto := range erased {
		var done string
		err := found(f.readers.QueryRowContext(ctx, "SELECT upto FROM erasure WHERE mailbox = ?", alias).Scan(&done))
		if err != nil && !errors.Is(err, delivery.ErrNotFound) {
			return err
		}
		if done >= upto {
			continue
		}
		if rows == nil {
			if rows, err = f.aliases(ctx); err != nil {
				return err
			}
		}
		if err := f.dropLink(ctx, rows[alias], alias); err != nil {
			return err
		}
		if _, err := f.eraseUpTo(ctx, rows[alias], alias, upto); err != nil {
			return err
		}
	}
	return f.shared.EraseApplied(ctx, shard, version)
}

// aliases are the mailboxes that rows know, by their aliases.
func (f *Fleet) aliases(ctx context.Context) (map[string]string, error) {
	rows, err := f.readers.QueryContext(ctx, "SELECT DISTINCT mailbox FROM note UNION SELECT mailbox FROM link")
	known, err := collect(rows, err, func(r scanner) (mailbox string, err error) { return mailbox, r.Scan(&mailbox) })
	byAlias := make(map[string]string, len(known))
	for _, mailbox := range known {
		byAlias[f.vault.aliasOf(mailbox)] = mailbox
	}
	return byAlias, err
}

// retireShared drops the copies that all machines have of notes, and returns
// those of which that is done: the others' turn comes when Redis is back, or
// when their jobs have ended there as well. Redis may have a note without any of
// its jobs: it was shown.
func (f *Fleet) retireShared(ctx context.Context, batch []ended) (done []ended) {
	notes := make([]shared.Retirement, len(batch))
	for i, e := range batch {
		notes[i] = shared.Retirement{ID: e.id, Mailbox: f.vault.aliasOf(e.mailbox), AudioOnly: !e.whole}
	}
	for i, err := range f.shared.Retire(ctx, notes) {
		if err == nil {
			done = append(done, batch[i])
		}
	}
	return done
}
