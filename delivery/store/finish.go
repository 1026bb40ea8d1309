package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Finish implements delivery.Queue. delivery.ErrFenced when the lease is no
// longer held.
func (s *Store) Finish(ctx context.Context, l delivery.Lease, r delivery.Result) error {
	early, err := write(ctx, s, func(tx *txn) (bool, error) { return tx.finish(l, r, time.Now()) })
	if err != nil {
		return fmt.Errorf("finish job %s: %w", l.Job, err)
	}
	if early {
		s.wakeUp()
	}
	return nil
}

// finish moves the job to where the result takes it, and says whether that
// made a job due early: this one at its next target, or the next of the thread.
func (t *txn) finish(l delivery.Lease, r delivery.Result, now time.Time) (early bool, err error) {
	moved, free := true, false
	const held = " WHERE id = ? AND state = 'sending' AND step = ? AND attempt = ?"
	var changed int64
	switch r.Outcome {
	case delivery.Done:
		free = true
		changed, err = t.exec("UPDATE job SET state = 'delivered', head = 0, receipt = ?"+held,
			r.Receipt.ID, l.Job, l.Step, l.Attempt)
	case delivery.Retry, delivery.Unknown:
		moved = false
		unknown := 0
		if r.Outcome == delivery.Unknown {
			unknown = 1 << l.Step
		}
		changed, err = t.exec("UPDATE job SET state = 'queued', next_at = ?, unknown = unknown | ?"+held,
			micros(now.Add(r.Wait)), unknown, l.Job, l.Step, l.Attempt)
	case delivery.Dead:
		if l.Step+1 < len(l.Chain) {
			changed, err = t.exec("UPDATE job SET state = 'queued', step = step + 1, attempt = 0, first_at = 0, next_at = ?"+held,
				micros(now), l.Job, l.Step, l.Attempt)
			break
		}
		free = true
		changed, err = t.exec("UPDATE job SET state = 'dead', head = 0"+held, l.Job, l.Step, l.Attempt)
	default:
		return false, fmt.Errorf("no such outcome %q", r.Outcome)
	}
	if err == nil && changed == 0 {
		err = delivery.ErrFenced
	}
	if err != nil {
		return false, err
	}
	if free {
		if moved, err = t.freeThread(l.Job); err != nil {
			return false, err
		}
	}
	return moved, t.event(l.Note.ID, delivery.Event{
		At: now, Job: l.Job, Name: string(r.Outcome), Target: l.Target().String(), Detail: answer(r),
	})
}

// freeThread lets the oldest waiting job of a job's thread go.
func (t *txn) freeThread(job string) (bool, error) {
	changed, err := t.exec(`UPDATE job SET head = 1 WHERE seq = (
		SELECT seq FROM job WHERE state = 'queued' AND head = 0 AND thread = (SELECT thread FROM job WHERE id = ?)
		ORDER BY note, seq LIMIT 1)`, job)
	return changed > 0, err
}

// answer is a result in the words of `note show`.
func answer(r delivery.Result) string {
	var parts []string
	if code := strconv.Itoa(r.Status); r.Status != 0 && !strings.Contains(r.Detail+r.Receipt.Detail, code) {
		parts = append(parts, "status "+code)
	}
	for _, part := range []string{r.Detail, r.Receipt.Detail} {
		if part != "" && (len(parts) == 0 || part != parts[len(parts)-1]) {
			parts = append(parts, part)
		}
	}
	if r.Receipt.ID != "" {
		parts = append(parts, "id "+r.Receipt.ID)
	}
	if r.Wait > 0 {
		parts = append(parts, "again in "+r.Wait.Round(time.Millisecond).String())
	}
	return strings.Join(parts, "; ")
}
