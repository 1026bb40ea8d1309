package store

import (
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// standing is a job of this machine as its row has it.
type standing struct {
	kept    // its note
	id      string
	state   delivery.JobState
	chain   delivery.Chain
	step    int
	head    bool
	unknown bool // an attempt at this step may have arrived
	waits   int  // as shared.Job.Waits
	shared  bool
}

// standing reads a job. delivery.ErrNotFound.
func (t *txn) standing(job string) (j standing, err error) {
	var chain []byte
	j.id = job
	j.kept, err = t.vault.scanNote(t.row("SELECT "+noteColumns+`,
		job.state, job.chain, job.step, job.head, (job.unknown >> job.step) & 1, job.waits, job.shared > 0
		FROM job JOIN note ON note.id = job.note WHERE job.id = ?`, job),
		&j.state, &chain, &j.step, &j.head, &j.unknown, &j.waits, &j.shared)
	if err != nil {
		return j, err
	}
	return j, j.box.openJSON("chain", chain, &j.chain)
}

// stepOf is the target of a chain that a channel's report is about: of those
// with its address, or of all where that is not known, the last one up to where
// the job stands, else the first; -1 for none.
func stepOf(c delivery.Chain, channel string, address *string, at int) int {
	step := -1
	for i, target := range c {
		if target.Channel == channel && (address == nil || target.Address == *address) && (i <= at || step < 0) {
			step = i
		}
	}
	if step < 0 && address != nil { // an address that the channel knows better than the chain
		return stepOf(c, channel, nil, at)
	}
	return step
}

// verdict is what the reports about a job come to.
type verdict struct {
	settled int  // the target that delivered it, -1 for none
	refused bool // by the service of the target in question
	arrived bool // at its recipient, by that target
	asked   bool // there, and not sent since
	bounced bool // there, and not sent since
}

// again says that a job which waits so, as shared.Job.Waits, is to be sent
// again: it was asked for, or came back.
func (v verdict) again(waits int) bool {
	return (v.asked && waits == shared.ToBeAsked) || (v.bounced && !v.arrived && shared.Job{Waits: waits}.Waiting())
}

// verdict reads the reports about a target of a job.
func (t *txn) verdict(job string, step int) (v verdict, err error) {
	err = t.row(`SELECT coalesce(min(iif(settles = 1, step, NULL)), -1),
		coalesce(max(step = ?2 AND what = 'refused'), 0),
		coalesce(max(step = ?2 AND what IN ('delivered', 'read', 'played')), 0),
		coalesce(max(step = ?2 AND what = 'asked' AND open = 1), 0),
		coalesce(max(step = ?2 AND what = 'bounced' AND open = 1), 0)
		FROM report WHERE job = ?1`, job, step).Scan(&v.settled, &v.refused, &v.arrived, &v.asked, &v.bounced)
	return v, err
}

// follow does what reports about a target have as their consequence for a job
// that is not being sent.
func (t *txn) follow(j standing, step int, now time.Time, h *heard) error {
	v, err := t.verdict(j.id, step)
	if err != nil {
		return err
	}
	queued := j.state == delivery.JobQueued
	switch {
	case v.settled >= 0 && j.state != delivery.JobDelivered:
		h.Settled = true
		return t.settle(j, v.settled, now, h)
	case v.settled >= 0 || step != j.step || (j.shared && !t.alone):
		return nil
	case v.refused && !v.arrived && (j.state == delivery.JobDelivered || (queued && (j.waits&1 == 1 || j.unknown))):
		return t.moveOn(j, now, h)
	case queued && v.again(j.waits):
		h.early = true
		if _, err := t.exec("UPDATE job SET waits = waits + 1, next_at = ?1, first_at = ?1 WHERE id = ?2", micros(now), j.id); err != nil {
			return err
		}
		return t.honoured(j.id)
	}
	return nil
}

// settle ends a job as delivered by a target.
func (t *txn) settle(j standing, step int, now time.Time, h *heard) error {
	_, err := t.exec("UPDATE job SET state = 'delivered', head = 0, waits = 0, step = ? WHERE id = ?", step, j.id)
	if err != nil {
		return err
	}
	if err := t.free(j, h); err != nil {
		return err
	}
	return t.endNote(j.ID, now)
}

// moveOn gives the next target its turn, or ends the job as dead: its service
// refused what it had accepted.
func (t *txn) moveOn(j standing, now time.Time, h *heard) error {
	if err := t.makeOwn(j.id); err != nil {
		return err
	}
	if j.step+1 < len(j.chain) {
		h.early = true
		if _, err := t.exec("UPDATE job SET state = 'queued', next_at = ?, "+nextTarget+" WHERE id = ?", micros(now), j.id); err != nil {
			return err
		}
		if j.state != delivery.JobDelivered {
			return nil
		}
		if _, err := t.setApart(j.id); err != nil {
			return err
		}
		_, err := t.exec("UPDATE note SET ended_at = 0 WHERE id = ?", j.ID)
		return err
	}
	h.Dead = true
	if _, err := t.exec("UPDATE job SET state = 'dead', head = 0, waits = 0 WHERE id = ?", j.id); err != nil {
		return err
	}
	if err := t.free(j, h); err != nil {
		return err
	}
	if err := t.endNote(j.ID, now); err != nil {
		return err
	}
	told, err := t.tellOperator(j.kept, delivery.EventDead, j.chain[j.step].Channel, now)
	h.early = h.early || told
	return err
}

// free lets the next of a thread go whose head has ended.
func (t *txn) free(j standing, h *heard) error {
	if !j.head {
		return nil
	}
	freed, err := t.freeThread(j.id)
	h.early = h.early || freed
	return err
}

// catchUp does what follows from reports that came while a job was being sent
// to a target, and says whether a job became due.
func (t *txn) catchUp(job string, step int, now time.Time) (early bool, err error) {
	var some bool
	err = t.row("SELECT EXISTS (SELECT 1 FROM report WHERE job = ?)", job).Scan(&some)
	if err != nil || !some {
		return false, err
	}
	j, err := t.standing(job)
	if err != nil {
		return false, err
	}
	var h heard
	if err := t.follow(j, step, now, &h); err != nil {
		return false, err
	}
	return h.early, t.honoured(job)
}

// honoured keeps that no asking and no coming back is left to be honoured.
func (t *txn) honoured(job string) error {
	_, err := t.exec("UPDATE report SET open = 0 WHERE job = ? AND open = 1", job)
	return err
}

// askedLast honours a recipient who asked for the note in the last moment, and
// a note that came back then: the time is over, and the next target has not had
// its turn. True when so.
func (t *txn) askedLast(l delivery.Lease, now time.Time) (asked bool, err error) {
	if !l.Waited {
		return false, nil
	}
	v, err := t.verdict(l.Job, l.Step)
	if err != nil || v.settled >= 0 || (!v.asked && !v.bounced) {
		return false, err
	}
	j, err := t.standing(l.Job)
	if err != nil || !v.again(j.waits) {
		return false, err
	}
	if err := t.change(l, "state = 'queued', waits = waits + 1, next_at = ?, first_at = ?", micros(now), micros(now)); err != nil {
		return false, err
	}
	return true, t.honoured(l.Job)
}
