package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// result is what a note's home hears of an attempt that another machine made:
// shared.Result.Event.
type result struct {
	Receipt string `json:"receipt,omitempty"` // as vault.index has it
	Event   []byte `json:"event"`             // eventBody, sealed
}

// mirror takes in how jobs of this machine stand with all machines.
func (f *Fleet) mirror(ctx context.Context, jobs []shared.Job) error {
	return f.mirrorAs(ctx, asHeard, jobs...)
}

// weight is how much it counts how a job stands in Redis.
type weight int

const (
	asHeard   weight = iota // no more than an outcome that Redis is yet to hear
	certain                 // more: it follows from a report
	overrules               // more than the delivery that Redis was just told of, too
)

func (f *Fleet) mirrorAs(ctx context.Context, w weight, jobs ...shared.Job) error {
	_, err := write(ctx, f.Store, func(tx *txn) (any, error) {
		for _, j := range jobs {
			j.First, j.Next = f.even(j.First), f.even(j.Next)
			if err := f.stands(tx, j, w, ""); err != nil {
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
func (f *Fleet) stands(tx *txn, j shared.Job, w weight, receipt string) error {
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
	changed, err := tx.mirror(j, state, w, receipt)
	if err != nil || changed == 0 || was == string(state) {
		return err
	}
	switch state {
	case shared.Queued, shared.Sending, shared.Erased:
		if was != string(shared.Dead) && was != string(shared.Delivered) {
			return nil
		}
		_, err := tx.exec("UPDATE note SET ended_at = 0 WHERE id = (SELECT note FROM job WHERE id = ?)", j.ID)
		return err
	case shared.Delivered, shared.Dead:
	}
	l, err := tx.leaseOf(j)
	if unopened(err) { // nor can the operator be told
		return tx.endNote(j.Note, f.Now())
	}
	if err != nil {
		return err
	}
	r := delivery.Result{Outcome: delivery.Done, Arrived: j.Arrived}
	if j.State == shared.Dead {
		r.Outcome = delivery.Dead
	}
	return f.ended(tx, l, r, f.Now())
}

func (t *txn) mirror(j shared.Job, state shared.State, w weight, receipt string) (changed int64, err error) {
	if state == shared.Delivered { // of which Redis may not know more
		return t.exec(`UPDATE job SET shared = 2, state = ?1, step = min(?2, steps - 1), unknown = unknown | ?7, epoch = max(epoch, ?3), receipt = iif(?4 = '', receipt, ?4), waits = 0
			WHERE id = ?5 AND shared > 0 AND state <> ?1 AND void <= ?6`, state, j.Step, j.Epoch, receipt, j.ID, j.Round, j.Unknown)
	}
	// What waits for a report, or did, is a thread of its own.
	return t.exec(`UPDATE job SET shared = 2, state = ?1, step = ?2, attempt = ?3, unknown = unknown | ?4, round = ?5, epoch = ?6, first_at = ?7, next_at = ?8,
		waits = ?9, thread = iif(?9 > 0, ?10, thread)
		WHERE id = ?11 AND shared > 0 AND (state <> 'delivered' OR ?12 = 2) AND NOT `+settledJob+` AND (round, epoch) <= (?5, ?6)
		AND (?12 <> 1 OR (round, epoch, step, waits) <= (?5, ?6, ?2, ?9))
		AND (state <> 'dead' OR (round, epoch) < (?5, ?6)) AND (?12 > 0 OR NOT EXISTS (
		SELECT 1 FROM attempt WHERE attempt.job = job.id AND attempt.epoch = ?6 AND outcome <> '' AND settled = 0))`,
		state, j.Step, j.Attempt, j.Unknown, j.Round, j.Epoch, micros(j.First), micros(j.Next), j.Waits, t.vault.apart(j.ID), j.ID, w)
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

// drain takes in what other machines did to notes of this one.
func (f *Fleet) drain(ctx context.Context) error {
	f.draining.Lock() // two at once would take out of Redis what neither has heard
	defer f.draining.Unlock()
	for f.shared.Up() {
		if n, err := f.shared.Drain(ctx, f.hear); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// hear takes in what other machines did to notes of this one. It may be told
// twice. A note that cannot be read here keeps none of the others back.
func (f *Fleet) hear(ctx context.Context, messages []shared.Message) error {
	all, err := write(ctx, f.Store, func(tx *txn) (all []heard, err error) {
		for _, m := range messages {
			h, err := f.hearOne(tx, m)
			if unopened(err) {
				f.cannotRead(m.Note, err)
				err = f.hearBlind(tx, m)
			}
			if err != nil && !errors.Is(err, delivery.ErrNotFound) {
				return nil, err
			}
			all = append(all, h)
		}
		return all, nil
	})
	for _, h := range all {
		f.spread(h)
	}
	return err
}

// hearOne takes in one message. delivery.ErrNotFound: the note was erased or its
// time is over, or the store was put back from a copy that knew other jobs of it.
func (f *Fleet) hearOne(tx *txn, m shared.Message) (h heard, err error) {
	n, err := tx.vault.scanNote(tx.row("SELECT "+noteColumns+" FROM note WHERE id = iif(?1 = '', (SELECT note FROM job WHERE id = ?2), ?1)", m.Note, m.Job))
	if err != nil {
		return h, err
	}
	if m.Job != "" {
		return f.hearOf(tx, n, m)
	}
	h = heard{Upshot: delivery.Upshot{Note: n.Note}, marked: true}
	h.early, err = tx.hearMark(n, m, f.Now())
	return h, err
}

// hearBlind takes in how a job stands whose note cannot be read here: what was
// delivered is not sent again. The note's life lacks the line, and the operator
// is not told.
func (f *Fleet) hearBlind(tx *txn, m shared.Message) error {
	if m.State == "" { // it is about the note, or nobody knows how the job stands
		return nil
	}
	return f.stands(tx, f.jobOf(m), asHeard, "")
}

// hearMark keeps that a note was read or played in the inbox elsewhere.
func (t *txn) hearMark(n kept, m shared.Message, now time.Time) (told bool, err error) {
	set, ok := marks()[delivery.Mark(m.Name)]
	if !ok {
		return false, nil
	}
	changed, err := t.exec(set, micros(m.At), n.ID)
	if err != nil || changed == 0 {
		return false, err
	}
	if err := t.event(n.box, delivery.Event{Name: m.Name}); err != nil {
		return false, err
	}
	return t.tellMarked(n, m.Name, inboxChannel, now)
}

// hearOf takes in a change of a job: its row, and a line of its note's life.
func (f *Fleet) hearOf(tx *txn, n kept, m shared.Message) (h heard, err error) {
	h.Note = n.Note
	j := f.jobOf(m)
	if delivery.What(m.Name).Known() {
		return f.hearReport(tx, j, m)
	}
	return h, f.hearAttempt(tx, n, j, m)
}

// jobOf is the job that a message is about, as it stood then.
func (f *Fleet) jobOf(m shared.Message) shared.Job {
	return shared.Job{
		ID: m.Job, Note: m.Note, State: m.State, Step: m.Step, Attempt: m.Attempt, Unknown: m.Unknown, Round: m.Round, Epoch: m.Epoch,
		Waits: m.Waits, Arrived: m.Arrived,
		First: f.even(m.First), Next: f.even(m.Next),
	}
}

// hearAttempt takes in what became of another machine's attempt.
func (f *Fleet) hearAttempt(tx *txn, n kept, j shared.Job, m shared.Message) error {
	var r result
	if len(m.Event) > 0 {
		if err := json.Unmarshal(m.Event, &r); err != nil {
			return fmt.Errorf("a result of another machine cannot be read: %w", err)
		}
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
		_, err = tx.exec(unsent, m.Job, m.Epoch)
	default:
		err = tx.addEvent(m.Note, m.Job, m.Name, line, m.Epoch)
	}
	if err == nil && j.State == shared.Delivered { // where a report said so first, an attempt at another target says more
		_, err = tx.exec("UPDATE job SET step = iif(?, min(?, steps - 1), step), unknown = unknown | ? WHERE id = ? AND shared > 0 AND state = 'delivered' AND void <= ?",
			m.Name == string(delivery.Done), j.Step, j.Unknown, j.ID, j.Round)
	}
	if err != nil {
		return err
	}
	return f.stands(tx, j, asHeard, r.Receipt)
}

// lineOf is the line of a note's life for a change that another machine made,
// sealed; nil for an attempt that was not made.
func (t *txn) lineOf(n kept, j shared.Job, name string, r result) ([]byte, error) {
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
		if j.Waiting() { // nothing is sent
			return nil, nil
		}
		e.Detail = fmt.Sprintf("attempt %d, by another machine", j.Attempt)
	case string(delivery.Unknown):
		e.Detail = "the machine that was at it fell silent"
	}
	return n.box.sealJSON("event", e)
}
