package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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

// List implements delivery.Notes.
func (s *Store) List(ctx context.Context, f delivery.Filter) ([]delivery.Summary, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	var list []delivery.Summary
	err := s.each(ctx, f, limit, func(id string, jobs []delivery.Job) error {
		n, err := s.note(ctx, id)
		switch {
		case errors.Is(err, delivery.ErrNotFound): // discarded meanwhile
			return nil
		case err != nil:
			return err
		}
		list = append(list, delivery.Summary{Note: n, Jobs: jobs})
		return nil
	})
	return list, err
}

// Count implements delivery.Notes.
func (s *Store) Count(ctx context.Context, f delivery.Filter) (n int, err error) {
	err = s.each(ctx, f, math.MaxInt, func(string, []delivery.Job) error { n++; return nil })
	return n, err
}

// page is how many ids are read at once.
const page = 256

// each calls do for the notes that the filter chooses, up to limit, in List's
// order. Which channel a job stands at is in its chain, which no index knows.
func (s *Store) each(ctx context.Context, f delivery.Filter, limit int, do func(id string, jobs []delivery.Job) error) error {
	oldestFirst := f.After != ""
	for {
		ids, err := s.pageOf(ctx, f, oldestFirst)
		if err != nil {
			return err
		}
		for _, id := range ids {
			jobs, err := s.jobs(ctx, id)
			if err != nil {
				return err
			}
			if !f.Wants(jobs) {
				continue
			}
			if err := do(id, jobs); err != nil {
				return err
			}
			if limit--; limit == 0 {
				return nil
			}
		}
		switch {
		case len(ids) < page:
			return nil
		case oldestFirst:
			f.After = ids[page-1]
		default:
			f.Before = ids[page-1]
		}
	}
}

// pageOf are the ids of the filter's next notes, as far as indexes know.
func (s *Store) pageOf(ctx context.Context, f delivery.Filter, oldestFirst bool) ([]string, error) {
	order := "DESC"
	if oldestFirst {
		order = "ASC"
	}
	above, below := f.Range()
	rows, err := s.readers.QueryContext(ctx, `SELECT id FROM note
		WHERE (?1 = '' OR mailbox = ?1) AND id > ?2 AND (?3 = '' OR id < ?3) AND (?4 = '' OR state = ?4 OR
			CASE ?4 WHEN 'delivered' THEN EXISTS (SELECT 1 FROM job WHERE job.note = note.id AND job.state = 'delivered')
			ELSE id IN (SELECT note FROM job WHERE state = ?4 AND state <> 'delivered') END)
		ORDER BY id `+order+" LIMIT ?5", f.Mailbox, above, below, f.State, page)
	return collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
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
func (s *Store) Redrive(ctx context.Context, id, channel string) (int, error) {
	if _, err := s.note(ctx, id); err != nil {
		return 0, err
	}
	jobs, err := s.jobs(ctx, id)
	if err != nil {
		return 0, err
	}
	jobs = slices.DeleteFunc(jobs, func(j delivery.Job) bool { return j.State != delivery.JobDead || !j.At(channel) })
	if len(jobs) == 0 {
		return 0, nil
	}
	n, err := write(ctx, s, func(tx *txn) (int, error) { return tx.redrive(id, jobs, time.Now()) })
	if err != nil {
		return 0, fmt.Errorf("redrive note %s: %w", id, err)
	}
	if n > 0 {
		s.wakeUp()
	}
	return n, nil
}

// redrive queues those of a note's jobs again that are still dead.
func (t *txn) redrive(note string, jobs []delivery.Job, now time.Time) (n int, err error) {
	for _, j := range jobs {
		changed, err := t.exec(`UPDATE job SET state = 'queued', step = 0, attempt = 0, first_at = 0, next_at = ?,
			head = NOT EXISTS (SELECT 1 FROM job AS other WHERE other.thread = job.thread AND other.head = 1)
			WHERE id = ? AND state = 'dead'`, micros(now), j.ID)
		if err != nil {
			return 0, err
		}
		if changed == 0 {
			continue
		}
		if err := t.event(note, delivery.Event{At: now, Job: j.ID, Name: "redriven", Target: j.Chain[0].String()}); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
