package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// report is what a note's home hears of an attempt that another machine made:
// shared.Result.Event.
type report struct {
	Receipt string `json:"receipt,omitempty"` // as vault.index has it
	Event   []byte `json:"event"`             // eventBody, sealed
}

// mirror takes in how jobs of this machine stand with all machines.
func (f *Fleet) mirror(ctx context.Context, jobs []shared.Job) error {
	_, err := write(ctx, f.Store, func(tx *txn) (any, error) {
		for _, j := range jobs {
			j.First, j.Next = f.even(j.First), f.even(j.Next)
			if err := f.stands(tx, j, ""); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

// stands brings the row of a job to how it stands in Redis, unless the row
// knows more: a delivery, a later lease or redrive, or an outcome that Redis is
// yet to hear. What is heard again, late, brings no dead job back.
func (f *Fleet) stands(tx *txn, j shared.Job, receipt string) error {
	state := j.State
	if state == shared.Erased { // the erasure itself comes on its own way
		state = shared.Dead
	}
	var was string
	err := found(tx.row("SELECT state FROM job WHERE id = ? AND shared > 0", j.ID).Scan(&was))
	if errors.Is(err, delivery.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	changed, err := tx.mirror(j, state, receipt)
	if err != nil || changed == 0 || was == string(state) {
		return err
	}
	switch state {
	case shared.Queued, shared.Sending, shared.Erased:
		if was != string(shared.Dead) {
			return nil
		}
		_, err := tx.exec("UPDATE note SET ended_at = 0 WHERE id = (SELECT note FROM job WHERE id = ?)", j.ID)
		return err
	case shared.Delivered, shared.Dead:
	}
	l, err := tx.leaseOf(j)
	if err != nil {
		return err
	}
	r := delivery.Result{Outcome: delivery.Done}
	if j.State == shared.Dead {
		r.Outcome = delivery.Dead
	}
	return f.ended(tx, l, r, f.Now())
}

func (t *txn) mirror(j shared.Job, state shared.State, receipt string) (changed int64, err error) {
	if state == shared.Delivered { // of which Redis may not know more
		return t.exec(`UPDATE job SET shared = 2, state = ?1, step = max(step, ?2), epoch = max(epoch, ?3), receipt = iif(?4 = '', receipt, ?4)
			WHERE id = ?5 AND shared > 0 AND state <> ?1`, state, j.Step, j.Epoch, receipt, j.ID)
	}
	return t.exec(`UPDATE job SET shared = 2, state = ?1, step = ?2, attempt = ?3, unknown = unknown | ?4, round = ?5, epoch = ?6, first_at = ?7, next_at = ?8
		WHERE id = ?9 AND shared > 0 AND state <> 'delivered' AND (round, epoch) <= (?5, ?6)
		AND (state <> 'dead' OR (round, epoch) < (?5, ?6)) AND NOT EXISTS (
		SELECT 1 FROM attempt WHERE attempt.job = job.id AND attempt.epoch = ?6 AND outcome <> '' AND settled = 0)`,
		state, j.Step, j.Attempt, j.Unknown, j.Round, j.Epoch, micros(j.First), micros(j.Next), j.ID)
}

// leaseOf is what a lease of a home job says.
func (t *txn) leaseOf(j shared.Job) (l delivery.Lease, err error) {
	var chain []byte
	n, err := t.vault.scanNote(t.row("SELECT "+noteColumns+", job.chain FROM job JOIN note ON note.id = job.note WHERE job.id = ?", j.ID), &chain)
	if err != nil {
		return l, err
	}
	l = delivery.Lease{Job: j.ID, Note: n.Note, Attempt: j.Attempt, Epoch: int64(j.Epoch)}
	if err := n.box.openJSON("chain", chain, &l.Chain); err != nil {
		return l, err
	}
	l.Step = min(max(j.Step, 0), len(l.Chain)-1)
	return l, nil
}

// hear takes in what other machines did to notes of this one. It may be told
// twice.
func (f *Fleet) hear(ctx context.Context, messages []shared.Message) error {
	marked, err := write(ctx, f.Store, func(tx *txn) (marked []delivery.Note, err error) {
		for _, m := range messages {
			n, err := tx.vault.scanNote(tx.row("SELECT "+noteColumns+" FROM note WHERE id = ?", m.Note))
			if errors.Is(err, delivery.ErrNotFound) {
				continue // it was erased or its time is over
			}
			if err != nil {
				return nil, err
			}
			if m.Job != "" {
				if err = f.hearOf(tx, n, m); errors.Is(err, delivery.ErrNotFound) {
					err = nil // the store was put back from a copy that knew other jobs of the note
				}
			} else if err = f.hearMark(tx, n, m); err == nil {
				marked = append(marked, n.Note)
			}
			if err != nil {
				return nil, err
			}
		}
		return marked, nil
	})
	for _, n := range marked {
		f.watches.publish(f.vault.alias(n.Recipient.Number), n.ID)
	}
	return err
}

// hearMark keeps that a note was read or played in the inbox elsewhere.
func (f *Fleet) hearMark(t *txn, n kept, m shared.Message) error {
	set, ok := marks()[delivery.Mark(m.Name)]
	if !ok {
		return nil
	}
	changed, err := t.exec(set, micros(m.At), n.ID)
	if err != nil || changed == 0 {
		return err
	}
	if err := t.event(n.box, delivery.Event{Name: m.Name}); err != nil {
		return err
	}
	told, err := t.tellMarked(n, m.Name, inboxChannel, f.Now())
	if told {
		f.wakeUp()
	}
	return err
}

// hearOf takes in a change of a job: its row, and a line of its note's life.
func (f *Fleet) hearOf(tx *txn, n kept, m shared.Message) error {
	var r report
	if len(m.Event) > 0 {
		if err := json.Unmarshal(m.Event, &r); err != nil {
			return fmt.Errorf("a report of another machine cannot be read: %w", err)
		}
	}
	j := shared.Job{
		ID: m.Job, Note: m.Note, State: m.State, Step: m.Step, Attempt: m.Attempt, Unknown: m.Unknown, Round: m.Round, Epoch: m.Epoch,
		First: f.even(m.First), Next: f.even(m.Next),
	}
	line, err := tx.lineOf(n, j, m.Name, r)
	if err != nil {
		return err
	}
	var known bool // the lease ran out, and this machine made the attempt and knows better
	err = tx.row("SELECT EXISTS (SELECT 1 FROM attempt WHERE job = ? AND epoch = ? AND outcome <> '')", m.Job, m.Epoch).Scan(&known)
	switch {
	case err != nil:
		return err
	case known && m.Name == string(delivery.Unknown):
	case line == nil:
		_, err = tx.exec("DELETE FROM event WHERE job = ? AND epoch = ? AND name = 'sending'", m.Job, m.Epoch)
	default:
		err = tx.addEvent(m.Note, m.Job, m.Name, line, m.Epoch)
	}
	if err != nil {
		return err
	}
	return f.stands(tx, j, r.Receipt)
}

// lineOf is the line of a note's life for a change that another machine made,
// sealed; nil for an attempt that was not made.
func (t *txn) lineOf(n kept, j shared.Job, name string, r report) ([]byte, error) {
	if r.Event != nil {
		return r.Event, nil
	}
	l, err := t.leaseOf(j)
	if err != nil {
		return nil, err
	}
	e := eventBody{Target: l.Target().String()}
	switch name {
	case returned:
		return nil, nil
	case string(delivery.JobSending):
		e.Detail = fmt.Sprintf("attempt %d, by another machine", j.Attempt)
	case string(delivery.Unknown):
		e.Detail = "the machine that was at it fell silent"
	}
	return n.box.sealJSON("event", e)
}
