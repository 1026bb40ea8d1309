package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// Claim implements delivery.Queue: this machine's own jobs first, then what all
// machines share. That Redis cannot be asked is no error; it is logged where it
// is noticed.
func (f *Fleet) Claim(ctx context.Context, limit int) ([]delivery.Lease, error) {
	leases, err := f.Store.Claim(ctx, limit)
	if err != nil || len(leases) == limit {
		return leases, err
	}
	granted, _ := f.shared.Claim(ctx, limit-len(leases))
	if len(granted) == 0 {
		return leases, nil
	}
	taken, err := f.take(ctx, granted)
	if err != nil {
		for _, g := range granted {
			f.giveUp(ctx, g.Job)
		}
		err = fmt.Errorf("leases of shared jobs could not be kept and are given back: %w", err)
	}
	if leases = append(leases, taken...); len(leases) > 0 {
		return leases, nil
	}
	return nil, err
}

// take writes leases down, in one commit, and returns those to be used.
func (f *Fleet) take(ctx context.Context, granted []shared.Lease) ([]delivery.Lease, error) {
	notes := make([]kept, len(granted))
	for i, g := range granted {
		n, err := f.vault.unpack(g.Note, g.Body)
		if err == nil {
			_, err = n.lease(g.Job)
		}
		if err != nil {
			f.cannotRead(g.Note, err)
			f.leave(ctx, g.Job)
			continue
		}
		notes[i] = n
	}
	var done []shared.Job
	leases, err := write(ctx, f.Store, func(tx *txn) (leases []delivery.Lease, err error) {
		for i, g := range granted {
			if notes[i].box == nil {
				continue
			}
			delivered, err := tx.delivered(g.Job)
			if err != nil {
				return nil, err
			}
			if delivered {
				done = append(done, g.Job)
				continue
			}
			j := g.Job
			j.First, j.Next = f.even(j.First), f.even(j.Next)
			l, err := tx.leased(j, notes[i], f.Now())
			if err != nil {
				return nil, err
			}
			l.Foreign = j.Home != f.machine
			leases = append(leases, l)
		}
		return leases, nil
	})
	for _, j := range done { // which Redis had forgotten
		if _, _, err := f.shared.Finish(ctx, j, shared.Result{Outcome: string(delivery.Done)}); err != nil {
			f.shared.Abandon(j)
		}
	}
	return leases, err
}

// leaveFor is how long a job that this machine cannot read is not given out.
const leaveFor = 10 * time.Second

// leave gives a job back for a while, giveUp at once. What Redis does not hear
// of runs out.
func (f *Fleet) leave(ctx context.Context, j shared.Job) {
	if err := f.shared.PutOff(ctx, j, leaveFor); err != nil {
		f.shared.Abandon(j)
	}
}

func (f *Fleet) giveUp(ctx context.Context, j shared.Job) {
	if err := f.shared.Release(ctx, j); err != nil {
		f.shared.Abandon(j)
	}
}

// Start implements delivery.Queue. A shared lease that may not last is given
// back: no attempt was made.
func (f *Fleet) Start(ctx context.Context, l delivery.Lease) error {
	if l.Epoch == 0 {
		return f.Store.Start(ctx, l)
	}
	if f.shared.Held(l.Job, int(l.Epoch)) {
		return nil
	}
	err := f.giveBack(ctx, l, time.Time{})
	if err == nil {
		err = delivery.ErrFenced
	}
	return fmt.Errorf("start job %s: %w", l.Job, err)
}

// Finish implements delivery.Queue. The result is on this machine's disk before
// Redis hears of it; that Redis does not answer is no error.
func (f *Fleet) Finish(ctx context.Context, l delivery.Lease, r delivery.Result) error {
	if l.Epoch == 0 {
		return f.Store.Finish(ctx, l, r)
	}
	err := f.conclude(ctx, l, func(tx *txn) (attempt, error) { return f.finish(tx, l, r) })
	if err != nil {
		return fmt.Errorf("finish job %s: %w", l.Job, err)
	}
	return nil
}

// conclude keeps what became of a shared lease here, then tells Redis.
func (f *Fleet) conclude(ctx context.Context, l delivery.Lease, keep func(*txn) (attempt, error)) error {
	f.settling.begin(l.Job)
	a, err := write(ctx, f.Store, keep)
	if err != nil {
		f.settling.end(l.Job)
		return err
	}
	return f.tell(ctx, a)
}

// finish keeps the result of a shared lease, and at the job's home where it
// takes the job. A delivery counts whoever holds the job now.
func (f *Fleet) finish(tx *txn, l delivery.Lease, r delivery.Result) (a attempt, err error) {
	now := f.Now()
	to, err := tx.after(l, r, now)
	if err != nil {
		return a, err
	}
	if a, err = tx.underWay(l); err != nil {
		return a, err
	}
	b, err := tx.vault.open(l.Note.ID, a.Key)
	if err != nil {
		return a, err
	}
	a.Then = waitsFor(r)
	a.Outcome, a.NextAt, a.Receipt, a.Arrived = string(r.Outcome), now.Add(r.Wait), tx.vault.index("receipt", r.Receipt.ID), r.Arrived
	if a.Event, err = b.sealJSON("event", eventBody{l.Target().String(), answer(r)}); err != nil {
		return a, err
	}
	if r.Outcome == delivery.Dead && (r.InDoubt || a.Waits == shared.ForReport) {
		if err := tx.doubted(&a); err != nil {
			return a, err
		}
	}
	if err := tx.conclude(a, now); err != nil || a.Home != f.machine {
		return a, err
	}
	where := "state = 'sending' AND epoch = ?"
	if r.Outcome == delivery.Done {
		where = "state <> 'delivered' AND epoch >= ?"
	}
	changed, err := tx.exec("UPDATE job SET "+to.set+" WHERE id = ? AND shared > 0 AND "+where, append(to.args, l.Job, l.Epoch)...)
	if err != nil {
		return a, err
	}
	if changed > 0 && to.ended {
		if err := f.ended(tx, l, r, now); err != nil {
			return a, err
		}
	}
	if changed > 0 && r.Outcome == delivery.Waiting {
		if _, err := tx.setApart(l.Job); err != nil {
			return a, err
		}
	}
	if err := tx.addEvent(l.Note.ID, l.Job, a.Outcome, a.Event, a.Epoch); err != nil {
		return a, err
	}
	_, err = tx.catchUp(l.Job, l.Step, now)
	return a, err
}

// ended keeps that a home job ended, and has the operator told.
func (f *Fleet) ended(tx *txn, l delivery.Lease, r delivery.Result, now time.Time) error {
	b, err := tx.box(l.Note.ID)
	if err != nil {
		return err
	}
	told, err := tx.ended(kept{l.Note, b}, l, r, now)
	if told {
		f.wakeUp()
	}
	return err
}

// Release implements delivery.Queue.
func (f *Fleet) Release(ctx context.Context, l delivery.Lease) error {
	if l.Epoch == 0 {
		return f.Store.Release(ctx, l)
	}
	return f.giveBack(ctx, l, time.Time{})
}

// PutOff implements delivery.Queue.
func (f *Fleet) PutOff(ctx context.Context, l delivery.Lease, wait time.Duration) error {
	if l.Epoch == 0 {
		return f.Store.PutOff(ctx, l, wait)
	}
	return f.giveBack(ctx, l, f.Now().Add(wait))
}

// giveBack gives a shared lease back unused: due at next, or with the zero time
// as it was before.
func (f *Fleet) giveBack(ctx context.Context, l delivery.Lease, next time.Time) error {
	err := f.conclude(ctx, l, func(tx *txn) (attempt, error) {
		a, err := tx.underWay(l)
		if err != nil {
			return a, err
		}
		a.Outcome, a.NextAt = returned, next
		if err := tx.conclude(a, f.Now()); err != nil {
			return a, err
		}
		if !next.IsZero() {
			if _, err := tx.exec("UPDATE job SET next_at = ? WHERE id = ? AND state = 'sending' AND epoch = ?", micros(next), l.Job, l.Epoch); err != nil {
				return a, err
			}
		}
		if err := tx.unsend(l); err != nil || a.Home != f.machine {
			return a, err
		}
		_, err = tx.catchUp(l.Job, l.Step, f.Now())
		return a, err
	})
	if err != nil {
		return fmt.Errorf("give back job %s: %w", l.Job, err)
	}
	return nil
}

// NextDue implements delivery.Queue. While Redis can be used, somebody asks
// again soon: other machines bring jobs, and leave some behind.
func (f *Fleet) NextDue(ctx context.Context) (time.Time, error) {
	next, err := f.Store.NextDue(ctx)
	if err != nil || !f.shared.Up() {
		return next, err
	}
	dues := []time.Time{f.Now().Add(f.every)}
	if due, err := f.shared.NextDue(ctx); err == nil && !due.IsZero() && f.shared.Ready() {
		dues = append(dues, f.even(due))
	}
	for _, due := range dues {
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next, nil
}

// Redrive implements delivery.Notes, for the notes of all machines.
func (f *Fleet) Redrive(ctx context.Context, id, channel string) (int, error) {
	jobs, err := f.Store.Redrive(ctx, id, channel)
	if errors.Is(err, delivery.ErrNotFound) {
		return f.redriveForeign(ctx, id, channel)
	}
	if err == nil && jobs > 0 {
		if err := f.publish(ctx, []string{id}); err != nil && !errors.Is(err, shared.ErrAway) {
			f.log.Warn("a redriven note is not published yet", "note_id", id, "error", err)
		}
	}
	return jobs, err
}
