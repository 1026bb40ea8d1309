package store

import (
	"context"
	"errors"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// What a relay's told holds, or how often it was proclaimed: Redis may forget a
// proclamation before the job's home has heard it, and nobody answers one.
const (
	relayUntold     = 0
	relayTold       = 1 // the other machines know it
	relayProclaimed = 2 // and more
)

// untoldRelays are the reports that Redis has not heard, and those that are to
// be proclaimed again: after 8 s, and each time as long again.
const untoldRelays = "SELECT " + relayColumns + ` FROM relay WHERE told = ?1
	UNION ALL SELECT ` + relayColumns + ` FROM relay WHERE told >= ?2 AND heard_at + (2000000 << told) <= ?3
	ORDER BY heard_at LIMIT ?4`

// tellReports tells Redis the reports that it has not heard.
func (f *Fleet) tellReports(ctx context.Context) error {
	if !f.shared.Up() {
		return nil
	}
	rows, err := f.readers.QueryContext(ctx, untoldRelays, relayUntold, relayProclaimed, micros(f.Now()), settleBatch)
	left, err := collect(rows, err, scanRelay)
	if err != nil {
		return err
	}
	return each(left, func(rel relay) error { return f.tellReport(ctx, rel) })
}

// tellReport tells Redis a report, and brings the job's row to how it stands
// then where this machine is its home. That Redis cannot hear it now is no
// error: settle tells it again. What Redis does not know is for every machine to
// hear.
func (f *Fleet) tellReport(ctx context.Context, rel relay) error {
	var err error
	if rel.job.Shard == unknownShard {
		if err = f.find(ctx, &rel); errors.Is(err, errNowhere) {
			return f.proclaim(ctx, rel)
		}
		if err == nil {
			_, err = write(ctx, f.Store, func(tx *txn) (any, error) { return nil, tx.keepRelay(rel) })
		}
	}
	var stands shared.Job
	if err == nil {
		stands, err = f.shared.Report(ctx, rel.job, rel.said)
	}
	gone := errors.Is(err, shared.ErrNotFound) || errors.Is(err, delivery.ErrNotFound)
	switch {
	case notNow(err):
		return nil
	case err != nil && !gone:
		return err
	}
	if what := rel.said.What; err == nil && rel.mailbox != "" && (what == string(delivery.MarkRead) || what == string(delivery.MarkPlayed)) {
		first, err := f.shared.Mark(ctx, rel.mailbox, rel.job.Note, what)
		if err != nil && !errors.Is(err, shared.ErrNotFound) {
			return nil // settle tells it again
		}
		if first && rel.job.Home != f.machine {
			f.foreignMarked(ctx, rel.job.Note)
		}
	}
	_, err = write(ctx, f.Store, func(tx *txn) (any, error) { return nil, f.toldReport(tx, rel, stands) })
	return err
}

// proclaim tells every other machine a report about a job that nobody who can be
// asked knows: one of them may be its home.
func (f *Fleet) proclaim(ctx context.Context, rel relay) error {
	if err := f.shared.Proclaim(ctx, rel.job.ID, rel.said); err != nil {
		if notNow(err) {
			return nil
		}
		return err
	}
	_, err := write(ctx, f.Store, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE relay SET told = max(told + 1, ?) WHERE job = ? AND channel = ? AND what = ?", relayProclaimed, rel.job.ID, rel.row, rel.said.What)
	})
	return err
}

// foreignMarked lets it be known that this machine has marked another's note.
func (f *Fleet) foreignMarked(ctx context.Context, id string) {
	if n, _, err := f.foreign(ctx, id); err == nil {
		f.changed(n.Recipient.Number)
	}
}

// toldReport keeps that Redis has a report, and how the job stands there: zero
// when it has none.
func (f *Fleet) toldReport(tx *txn, rel relay, j shared.Job) error {
	_, err := tx.exec("UPDATE relay SET told = ?, round = ? WHERE job = ? AND channel = ? AND what = ?", relayTold, j.Round, rel.job.ID, rel.row, rel.said.What)
	if err != nil || rel.job.Home != f.machine {
		return err
	}
	j.ID, j.First, j.Next = rel.job.ID, f.even(j.First), f.even(j.Next)
	return f.standsReported(tx, j, delivery.What(rel.said.What), rel.said.Step)
}

// standsReported brings the row of a job to where Redis says that a report has
// taken it. Of a lease whoever has it tells more, but not of one that ended in a
// delivery which is refused.
func (f *Fleet) standsReported(tx *txn, j shared.Job, what delivery.What, step int) error {
	if j.State == shared.Delivered { // which this machine may not have heard
		if err := f.stands(tx, j, certain, ""); err != nil {
			return err
		}
	}
	back, err := tx.tookBack(j.ID, what, step)
	switch {
	case err != nil:
		return err
	case back && (j.State == "" || j.State == shared.Delivered):
		return f.takeBackDelivery(tx, j.ID)
	case back:
		return f.stands(tx, j, overrules, "")
	case j.State == shared.Queued || j.State == shared.Dead:
		return f.stands(tx, j, certain, "")
	}
	return nil
}

// tookBack says that a job stands as delivered by a target whose service has
// refused it since.
func (t *txn) tookBack(job string, what delivery.What, step int) (bool, error) {
	if what != delivery.WasRefused {
		return false, nil
	}
	j, err := t.standing(job)
	if err != nil {
		return false, err
	}
	v, err := t.verdict(job, step)
	return j.shared && j.state == delivery.JobDelivered && j.step == step && v.refused && !v.arrived && v.settled < 0, err
}

// takeBackDelivery has a job of this machine go on to its next target, or end as
// dead, whose delivery was refused after all. Redis has it as delivered: a round
// more, and that no earlier one counts, say that this has changed.
func (f *Fleet) takeBackDelivery(tx *txn, job string) error {
	j, err := tx.standing(job)
	if err != nil {
		return err
	}
	if _, err := tx.exec("UPDATE job SET round = round + 1, void = round + 1, shared = 1 WHERE id = ?", job); err != nil {
		return err
	}
	var h heard
	if err := tx.moveOn(j, f.Now(), &h); err != nil {
		return err
	}
	f.wakeUp()
	return nil
}

// takeBack keeps that a delivery of this machine did not count: its service
// refused the note after all.
func (f *Fleet) takeBack(ctx context.Context, a attempt) error {
	_, err := write(ctx, f.Store, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE attempt SET outcome = ?, settled = 1 WHERE job = ? AND epoch = ?", delivery.Dead, a.ID, a.Epoch)
	})
	return err
}
