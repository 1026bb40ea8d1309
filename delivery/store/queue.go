package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Claim implements delivery.Queue. It takes by turns the job that fell due
// last among those never tried, and the one that has been due for longest: a
// new note goes out at once while a backlog drains from its old end.
func (s *Store) Claim(ctx context.Context, limit int) ([]delivery.Lease, error) {
	return write(ctx, s, func(tx *txn) ([]delivery.Lease, error) { return tx.claim(limit, s.Now()) })
}

func (t *txn) claim(limit int, now time.Time) ([]delivery.Lease, error) {
	fresh, err := t.ids(`SELECT id FROM job WHERE state = 'queued' AND head = 1 AND attempt = 0 AND next_at <= ?
		ORDER BY next_at DESC LIMIT ?`, micros(now), limit)
	if err != nil {
		return nil, err
	}
	backlog, err := t.ids("SELECT id FROM job WHERE state = 'queued' AND head = 1 AND next_at <= ? ORDER BY next_at LIMIT ?",
		micros(now), limit)
	if err != nil {
		return nil, err
	}
	var leases []delivery.Lease
	for _, id := range byTurns(fresh, backlog, limit) {
		switch l, err := t.attempt(id, now); {
		case err == nil:
			leases = append(leases, l)
		case !unopened(err):
			return nil, err
		default:
			if err := t.setAside(id, now, err); err != nil {
				return nil, err
			}
		}
	}
	return leases, nil
}

// byTurns takes up to limit ids from a and b in turn, each id once.
func byTurns(a, b []string, limit int) []string {
	var taken []string
	for len(taken) < limit && len(a)+len(b) > 0 {
		if len(a) == 0 {
			a, b = b, a
		}
		if !slices.Contains(taken, a[0]) {
			taken = append(taken, a[0])
			a, b = b, a[1:]
			continue
		}
		a = a[1:]
	}
	return taken
}

// attempt begins an attempt at a queued job and returns the lease of it. One
// whose note cannot be opened is left as it was.
func (t *txn) attempt(id string, now time.Time) (l delivery.Lease, err error) {
	var (
		chain []byte
		first int64
	)
	n, err := t.vault.scanNote(t.row("SELECT "+noteColumns+`,
		job.chain, job.step, job.attempt + 1 - (job.waits & 1), job.round, (job.unknown >> job.step) & 1, iif(job.first_at = 0, ?2, job.first_at), job.waits & 1
		FROM job JOIN note ON note.id = job.note WHERE job.id = ?1`, id, micros(now)),
		&chain, &l.Step, &l.Attempt, &l.Round, &l.Unknown, &first, &l.Waited)
	if err != nil {
		return l, err
	}
	l.Job, l.Note, l.First = id, n.Note, instant(first)
	if err := n.box.openJSON("chain", chain, &l.Chain); err != nil {
		return l, err
	}
	_, err = t.exec("UPDATE job SET state = 'sending', attempt = ?2, waits = iif(waits & 1, waits, 0), first_at = ?3 WHERE id = ?1", id, l.Attempt, first)
	if err != nil || l.Waited { // nothing is sent then
		return l, err
	}
	return l, t.event(n.box, delivery.Event{
		Job: id, Name: string(delivery.JobSending), Target: l.Target().String(),
		Detail: fmt.Sprintf("attempt %d", l.Attempt),
	})
}

// Start implements delivery.Queue.
func (s *Store) Start(ctx context.Context, l delivery.Lease) error {
	var held bool
	err := s.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM job WHERE id = ? AND state = 'sending' AND step = ? AND attempt = ? AND (waits & 1) = ?)",
		l.Job, l.Step, l.Attempt, l.Waited).Scan(&held)
	if err == nil && !held {
		err = delivery.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("start job %s: %w", l.Job, err)
	}
	return nil
}

// Release implements delivery.Queue. The job is due as it was before.
func (s *Store) Release(ctx context.Context, l delivery.Lease) error {
	return s.giveBack(ctx, l, "")
}

// PutOff implements delivery.Queue.
func (s *Store) PutOff(ctx context.Context, l delivery.Lease, wait time.Duration) error {
	return s.giveBack(ctx, l, ", next_at = ?", micros(s.Now().Add(wait)))
}

// giveBack undoes the attempt of a lease, its event included, and changes what
// also says. A lease that was waited for was no attempt.
func (s *Store) giveBack(ctx context.Context, l delivery.Lease, also string, args ...any) error {
	early, err := write(ctx, s, func(tx *txn) (bool, error) {
		if err := tx.change(l, "state = 'queued', attempt = attempt - 1 + (waits & 1)"+also, args...); err != nil {
			return false, err
		}
		if !l.Waited {
			_, err := tx.exec("DELETE FROM event WHERE seq = (SELECT max(seq) FROM event WHERE note = ? AND job = ? AND name = 'sending')",
				l.Note.ID, l.Job)
			if err != nil {
				return false, err
			}
		}
		return tx.catchUp(l.Job, l.Step, s.Now())
	})
	if early {
		s.wakeUp()
	}
	if err != nil {
		return fmt.Errorf("give back job %s: %w", l.Job, err)
	}
	return nil
}

// NextDue implements delivery.Queue.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var next int64
	err := found(s.readers.QueryRowContext(ctx,
		"SELECT next_at FROM job WHERE state = 'queued' AND head = 1 ORDER BY next_at LIMIT 1").Scan(&next))
	if errors.Is(err, delivery.ErrNotFound) {
		return time.Time{}, nil
	}
	return instant(next), err
}

// Wake implements delivery.Queue.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// wakeUp says that a job became due early.
func (s *Store) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Depth implements delivery.Queue. It counts what is not delivered: queued,
// sending and dead.
func (s *Store) Depth(ctx context.Context) (map[string]int, error) {
	depth := map[string]int{string(delivery.JobQueued): 0, string(delivery.JobSending): 0, string(delivery.JobDead): 0}
	rows, err := s.readers.QueryContext(ctx, countStates, len(operatorThread), []byte(operatorThread))
	_, err = collect(rows, err, func(r scanner) (any, error) {
		var (
			state string
			n     int
		)
		err := r.Scan(&state, &n)
		depth[state] += n
		return nil, err
	})
	return depth, err
}

// countStates counts by indexes alone what is under way, and takes off what
// tells the operator, each of which heads a thread of its own.
const countStates = `SELECT state, count(*) FROM job WHERE state <> 'delivered' AND state IN ('queued', 'sending') GROUP BY state
	UNION ALL SELECT state, -count(*) FROM job WHERE head = 1 AND thread > ?2 AND thread < CAST(?2 || '~' AS BLOB) GROUP BY state
	UNION ALL SELECT state, count(*) FROM job WHERE state <> 'delivered' AND state = 'dead' AND substr(thread, 1, ?1) <> ?2 GROUP BY state`
