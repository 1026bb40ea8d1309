package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

const (
	retirePage = 512 // notes that are looked at at once

	// sweepEvery is how often files are looked for that a crash left behind.
	sweepEvery = 24 * time.Hour
	// orphanAge is how old a file must be that has no note: what a crash left of
	// a call that never was a note.
	orphanAge = 7 * 24 * time.Hour
)

// retirement is what Retire remembers. Its zero value is ready.
type retirement struct {
	mu    sync.Mutex
	off   time.Duration // the machine's clock against the store's, when last looked
	swept time.Time

	// elsewhere drops what others have of the notes, and returns those of which
	// that is done; nil where nobody else has any.
	elsewhere func(ctx context.Context, batch []ended) []ended
}

// Retire takes what its mailbox's retention is over for: files, then whole
// notes, unread ones too, what channels need no longer remember, and files that
// a crash left behind. A clock that
// jumped holds all of it back for a day of running. Calls and deliveries go on
// meanwhile; what is under way is not touched.
func (s *Store) Retire(ctx context.Context, keep func(mailbox string) delivery.Retention) (r delivery.Retired, err error) {
	s.retirement.mu.Lock()
	defer s.retirement.mu.Unlock()
	now, err := s.retireTime(ctx)
	if err != nil || now.IsZero() {
		return r, err
	}
	if err := s.retireNotes(ctx, now, keep, &r); err != nil {
		return r, fmt.Errorf("retire notes: %w", err)
	}
	if err := s.sweepMemory(ctx, now); err != nil {
		return r, fmt.Errorf("drop what channels no longer remember: %w", err)
	}
	if s.retirement.swept.IsZero() || now.Sub(s.retirement.swept) >= sweepEvery {
		s.retirement.swept = now
		if r.Orphans, err = s.sweep(ctx, now); err != nil {
			return r, fmt.Errorf("look for files that a crash left: %w", err)
		}
	}
	return r, nil
}

// retireTime is the time by which notes are over: the earlier one of the
// store's clock and the machine's. Zero while a jump of either holds retention
// back.
func (s *Store) retireTime(ctx context.Context) (time.Time, error) {
	now, wall := s.clock.Now(), s.clock.Wall()
	if off := wall.Sub(now); (off - s.retirement.off).Abs() > clockDoubt {
		s.log.Warn("the clock was set while the gateway ran: if it is right, retention goes on in a day", "by_s", int64(off.Seconds()))
		_, err := write(ctx, s, func(tx *txn) (any, error) { return nil, tx.setTime(settingHold, now.Add(holdFor)) })
		if err == nil {
			s.retirement.off = off
		}
		return time.Time{}, err
	}
	hold, err := scanTime(s.readers.QueryRowContext(ctx, selectSetting, settingHold))
	if err != nil || hold.After(now) {
		return time.Time{}, err
	}
	return slices.MinFunc([]time.Time{now, wall}, time.Time.Compare), nil
}

// ended is a note whose chains are done, as retention sees it.
type ended struct {
	id      string
	mailbox string // as its row has it
	number  string // of the mailbox
	at      int64
	files   bool
	whole   bool // its row goes too
}

// selectEnded goes on where the last page ended: sqlite searches by the first
// bound that it is given.
const selectEnded = `SELECT id, mailbox, ended_at, files FROM note
	WHERE (ended_at, id) > (?, ?) AND ended_at > 0 AND ended_at <= ? ORDER BY ended_at, id LIMIT ?`

// retireNotes looks at every note that has ended, in the order of their ends.
func (s *Store) retireNotes(ctx context.Context, now time.Time, keep func(string) delivery.Retention, r *delivery.Retired) error {
	type owner struct {
		number string
		keeps  delivery.Retention
	}
	known := map[string]owner{} // by the mailbox of the row
	var last ended
	for {
		rows, err := s.readers.QueryContext(ctx, selectEnded, last.at, last.id, micros(now), retirePage)
		page, err := collect(rows, err, func(r scanner) (e ended, err error) {
			return e, r.Scan(&e.id, &e.mailbox, &e.at, &e.files)
		})
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1]
		var over []ended
		for _, e := range page {
			of, ok := known[e.mailbox]
			if !ok {
				n, err := s.note(ctx, e.id)
				if err != nil {
					s.log.Warn("a note cannot be read, and stays", "note_id", e.id, "error", err)
					continue
				}
				of = owner{n.Recipient.Number, keep(n.Recipient.Number)}
				known[e.mailbox] = of
			}
			e.number = of.number
			keeps := of.keeps
			age := now.Sub(instant(e.at))
			e.whole = keeps.Metadata > 0 && age >= keeps.Metadata
			if e.whole || (e.files && keeps.Audio > 0 && age >= keeps.Audio) {
				over = append(over, e)
			}
		}
		for batch := range slices.Chunk(over, removeBatch) {
			if err := s.retireBatch(ctx, batch, r); err != nil {
				return err
			}
		}
	}
}

// retireBatch takes the files of the notes, and the rows of those that go as a
// whole.
func (s *Store) retireBatch(ctx context.Context, batch []ended, r *delivery.Retired) error {
	if s.retirement.elsewhere != nil {
		if batch = s.retirement.elsewhere(ctx, batch); len(batch) == 0 {
			return nil
		}
	}
	gone, err := write(ctx, s, func(tx *txn) (gone []ended, err error) {
		if gone, err = tx.stillEnded(batch); err != nil {
			return nil, err
		}
		for _, e := range gone {
			if err := tx.bare(e.id); err != nil {
				return nil, err
			}
		}
		return gone, nil
	})
	if err != nil {
		return err
	}
	defer s.retired(slices.Clone(gone))
	gone = slices.DeleteFunc(gone, func(e ended) bool {
		if _, _, err := s.unlink(e.id); err != nil {
			s.log.Error("a file of a note cannot be removed; trying again: mend what holds it", "note_id", e.id, "error", err)
			return true
		}
		if e.files && !e.whole {
			r.Audio++
		}
		return !e.whole
	})
	if len(gone) == 0 {
		return nil
	}
	notes, err := write(ctx, s, func(tx *txn) (notes int, err error) {
		still, err := tx.stillEnded(gone)
		if err != nil {
			return 0, err
		}
		for _, e := range still {
			if err := tx.forget(e.id); err != nil {
				return 0, err
			}
		}
		return len(still), nil
	})
	r.Notes += notes
	return err
}

// retired lets it be known that less waits in mailboxes.
func (s *Store) retired(gone []ended) {
	for _, e := range gone {
		s.changed(e.number)
	}
}

// stillEnded leaves out what was redriven since it was looked at.
func (t *txn) stillEnded(batch []ended) (still []ended, err error) {
	for _, e := range batch {
		var at int64
		err := found(t.row("SELECT ended_at FROM note WHERE id = ?", e.id).Scan(&at))
		if err != nil && !errors.Is(err, delivery.ErrNotFound) {
			return nil, err
		}
		if err == nil && at == e.at {
			still = append(still, e)
		}
	}
	return still, nil
}
