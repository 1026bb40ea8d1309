package store

import (
	"context"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// note reads one note. delivery.ErrNotFound.
func (s *Store) note(ctx context.Context, id string) (delivery.Note, error) {
	if !delivery.ValidID(id) {
		return delivery.Note{}, delivery.ErrNotFound
	}
	return scanNote(s.readers.QueryRowContext(ctx, "SELECT "+noteColumns+" FROM note WHERE id = ?", id))
}

func (s *Store) jobs(ctx context.Context, note string) ([]delivery.Job, error) {
	rows, err := s.readers.QueryContext(ctx, "SELECT "+jobColumns+" FROM job WHERE note = ? ORDER BY seq", note)
	return collect(rows, err, scanJob)
}

// List implements delivery.Notes, newest first.
func (s *Store) List(ctx context.Context, f delivery.Filter) ([]delivery.Summary, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	rows, err := s.readers.QueryContext(ctx, "SELECT "+noteColumns+` FROM note
		WHERE (?1 = '' OR mailbox = ?1) AND (?2 = '' OR id < ?2) AND (?3 = '' OR state = ?3 OR
			CASE ?3 WHEN 'delivered' THEN EXISTS (SELECT 1 FROM job WHERE job.note = note.id AND job.state = 'delivered')
			ELSE id IN (SELECT note FROM job WHERE state = ?3 AND state <> 'delivered') END)
		ORDER BY id DESC LIMIT ?4`, f.Mailbox, f.Before, f.State, limit)
	notes, err := collect(rows, err, func(r scanner) (delivery.Note, error) { return scanNote(r) })
	if err != nil {
		return nil, err
	}
	list := make([]delivery.Summary, len(notes))
	for i, n := range notes {
		list[i].Note = n
		if list[i].Jobs, err = s.jobs(ctx, n.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Life implements delivery.Notes.
func (s *Store) Life(ctx context.Context, id string) (l delivery.Life, err error) {
	if l.Note, err = s.note(ctx, id); err != nil {
		return l, err
	}
	if l.Jobs, err = s.jobs(ctx, id); err != nil {
		return l, err
	}
	rows, err := s.readers.QueryContext(ctx, "SELECT at, job, name, target, detail FROM event WHERE note = ? ORDER BY seq", id)
	l.Events, err = collect(rows, err, func(r scanner) (e delivery.Event, err error) {
		var at int64
		err = r.Scan(&at, &e.Job, &e.Name, &e.Target, &e.Detail)
		e.At = instant(at)
		return e, err
	})
	return l, err
}

// Redrive implements delivery.Notes. That an earlier attempt may have arrived
// is not forgotten.
func (s *Store) Redrive(ctx context.Context, id string) (int, error) {
	if _, err := s.note(ctx, id); err != nil {
		return 0, err
	}
	n, err := write(ctx, s, func(tx *txn) (int, error) { return tx.redrive(id, time.Now()) })
	if err != nil {
		return 0, fmt.Errorf("redrive note %s: %w", id, err)
	}
	if n > 0 {
		s.wakeUp()
	}
	return n, nil
}

func (t *txn) redrive(note string, now time.Time) (int, error) {
	dead, err := t.ids("SELECT id FROM job WHERE note = ? AND state = 'dead' ORDER BY seq", note)
	if err != nil {
		return 0, err
	}
	for _, id := range dead {
		var first string
		err := t.row(`UPDATE job SET state = 'queued', step = 0, attempt = 0, first_at = 0, next_at = ?,
			head = NOT EXISTS (SELECT 1 FROM job AS other WHERE other.thread = job.thread AND other.head = 1)
			WHERE id = ? RETURNING json_extract(chain, '$[0]')`, micros(now), id).Scan(&first)
		if err != nil {
			return 0, err
		}
		if err := t.event(note, delivery.Event{At: now, Job: id, Name: "redriven", Target: first}); err != nil {
			return 0, err
		}
	}
	return len(dead), nil
}
