package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// note reads one note. delivery.ErrNotFound.
func (s *Store) note(ctx context.Context, id string) (kept, error) {
	if !delivery.ValidID(id) {
		return kept{}, delivery.ErrNotFound
	}
	return s.vault.scanNote(s.readers.QueryRowContext(ctx, "SELECT "+noteColumns+" FROM note WHERE id = ?", id))
}

func (s *Store) jobs(ctx context.Context, n kept) ([]delivery.Job, error) {
	rows, err := s.readers.QueryContext(ctx, "SELECT "+jobColumns+" FROM job WHERE note = ? ORDER BY seq", n.ID)
	return collect(rows, err, n.scanJob)
}

// List implements delivery.Notes.
func (s *Store) List(ctx context.Context, f delivery.Filter) ([]delivery.Summary, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	var list []delivery.Summary
	err := s.each(ctx, f, limit, func(n delivery.Summary) { list = append(list, n) })
	return list, err
}

// Count implements delivery.Notes.
func (s *Store) Count(ctx context.Context, f delivery.Filter) (n int, err error) {
	err = s.each(ctx, f, math.MaxInt, func(delivery.Summary) { n++ })
	return n, err
}

// maxPage is how many notes are read at once.
const maxPage = 256

// each calls do for the notes that the filter chooses, up to limit, in List's
// order. Which channel a job stands at is in its chain, which no index knows.
func (s *Store) each(ctx context.Context, f delivery.Filter, limit int, do func(delivery.Summary)) error {
	size := maxPage
	if !f.ByJobs() {
		size = min(limit, maxPage)
	}
	for {
		page, err := s.page(ctx, f, size)
		if err != nil {
			return err
		}
		for _, n := range page {
			summary, err := s.summary(ctx, n)
			if err != nil {
				return err
			}
			if !f.Wants(summary.Jobs) {
				continue
			}
			do(summary)
			if limit--; limit == 0 {
				return nil
			}
		}
		if len(page) < size {
			return nil
		}
		if last := page[size-1].ID; f.After != "" {
			f.After = last
		} else {
			f.Before = last
		}
	}
}

// summary is a note with its jobs, as far as they can be read.
func (s *Store) summary(ctx context.Context, n kept) (delivery.Summary, error) {
	if n.box == nil {
		return delivery.Summary{Note: n.Note, Unreadable: true}, nil
	}
	jobs, err := s.jobs(ctx, n)
	if unopened(err) {
		s.unreadable(n.ID, err)
		return delivery.Summary{Note: delivery.Note{ID: n.ID, State: n.State}, Unreadable: true}, nil
	}
	return delivery.Summary{Note: n.Note, Jobs: jobs}, err
}

// page reads the filter's next notes, as far as indexes know them.
func (s *Store) page(ctx context.Context, f delivery.Filter, size int) ([]kept, error) {
	above, below := f.Range()
	rows, err := s.readers.QueryContext(ctx, pageQuery(f), s.vault.mailbox(f.Mailbox), above, below, f.State, size)
	return collect(rows, err, s.scanAny)
}

// pageQuery takes a mailbox's index, two ids, a state and a limit.
func pageQuery(f delivery.Filter) string {
	mailbox, order := "?1 = ''", "DESC"
	if f.Mailbox != "" {
		mailbox = "mailbox = ?1" // alone: beside an OR its index is not used
	}
	if f.After != "" {
		order = "ASC"
	}
	return "SELECT " + noteColumns + ` FROM note
		WHERE ` + mailbox + ` AND id > ?2 AND (?3 = '' OR id < ?3) AND (?4 = '' OR state = ?4 OR
			CASE ?4 WHEN 'delivered' THEN EXISTS (SELECT 1 FROM job WHERE job.note = note.id AND job.state = 'delivered')
			ELSE id IN (SELECT note FROM job WHERE state = ?4 AND state <> 'delivered') END)
		ORDER BY id ` + order + " LIMIT ?5"
}

// Life implements delivery.Notes.
func (s *Store) Life(ctx context.Context, id string) (l delivery.Life, err error) {
	defer func() { err = toldUnreadable(err) }()
	n, err := s.note(ctx, id)
	if err != nil {
		return l, err
	}
	l.Note = n.Note
	if l.Jobs, err = s.jobs(ctx, n); err != nil {
		return l, err
	}
	rows, err := s.readers.QueryContext(ctx, "SELECT at, job, name, body FROM event WHERE note = ? ORDER BY seq", id)
	l.Events, err = collect(rows, err, n.scanEvent)
	return l, err
}

// Redrive implements delivery.Notes. That an earlier attempt may have arrived
// is not forgotten.
func (s *Store) Redrive(ctx context.Context, id, channel string) (int, error) {
	n, err := s.note(ctx, id)
	if err != nil {
		return 0, err
	}
	jobs, err := write(ctx, s, func(tx *txn) (int, error) { return tx.redrive(n, channel, s.Now()) })
	if err != nil {
		return 0, fmt.Errorf("redrive note %s: %w", id, err)
	}
	if jobs > 0 {
		s.wakeUp()
	}
	return jobs, nil
}

func (t *txn) redrive(n kept, channel string, now time.Time) (int, error) {
	rows, err := t.query("SELECT "+jobColumns+" FROM job WHERE note = ? AND state = 'dead' ORDER BY seq", n.ID)
	dead, err := collect(rows, err, n.scanJob)
	dead = slices.DeleteFunc(dead, func(j delivery.Job) bool { return !j.At(channel) })
	if err != nil || len(dead) == 0 {
		return 0, err
	}
	for _, j := range dead {
		if err := t.makeOwn(j.ID); err != nil {
			return 0, err
		}
		_, err := t.exec(`UPDATE job SET state = 'queued', step = 0, attempt = 0, first_at = 0, waits = 0, next_at = ?, round = round + 1, shared = min(shared, 1),
			head = shared = 0 AND NOT EXISTS (SELECT 1 FROM job AS other WHERE other.thread = job.thread AND other.head = 1)
			WHERE id = ?`, micros(now), j.ID)
		if err != nil {
			return 0, err
		}
		if err := t.forgetRefused(j.ID); err != nil {
			return 0, err
		}
		if err := t.event(n.box, delivery.Event{Job: j.ID, Name: "redriven", Target: j.Chain[0].String()}); err != nil {
			return 0, err
		}
	}
	_, err = t.exec("UPDATE note SET ended_at = 0 WHERE id = ?", n.ID)
	return len(dead), err
}
