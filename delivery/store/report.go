package store

import (
	"context"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Report implements delivery.Reports.
func (s *Store) Report(ctx context.Context, channel string, r delivery.Report, m delivery.Meaning) (delivery.Upshot, error) {
	h, err := write(ctx, s, func(tx *txn) (heard, error) { return tx.report(heardOf{channel, r, m}, s.Now()) })
	if err != nil {
		return h.Upshot, fmt.Errorf("keep a report about job %s: %w", r.Job, err)
	}
	s.spread(h)
	s.countAnew(h)
	return h.Upshot, nil
}

// countAnew lets it be known that a report has marked a note.
func (s *Store) countAnew(h heard) {
	if h.marked {
		s.changed(h.Note.Recipient.Number)
	}
}

// spread lets those know whom a report concerns.
func (s *Store) spread(h heard) {
	if h.marked {
		s.watches.publish(s.vault.alias(h.Note.Recipient.Number), h.Note.ID)
	}
	if h.early {
		s.wakeUp()
	}
}

// heardOf is a report of a channel and what it means.
type heardOf struct {
	channel string
	delivery.Report
	delivery.Meaning
}

// heard is what a report changed.
type heard struct {
	delivery.Upshot
	marked bool // the note
	early  bool // a job became due
}

// report keeps what a service told of a job of this machine, and does what
// follows from it.
func (t *txn) report(r heardOf, now time.Time) (h heard, err error) {
	j, err := t.standing(r.Job)
	if err != nil {
		return h, err
	}
	step := stepOf(j.chain, r.channel, r.Address, j.step)
	if step < 0 {
		return h, delivery.ErrNotFound
	}
	h.Note = j.Note
	before, err := t.verdict(j.id, step)
	if err != nil {
		return h, err
	}
	first, err := t.keepReport(j, step, &r)
	if err != nil {
		return h, err
	}
	if first {
		if err := t.tellOf(j, step, r, now, &h); err != nil {
			return h, err
		}
	}
	if j.state == delivery.JobSending { // what follows does when the lease ends
		h.Settled = first && r.Settles && before.settled < 0
		return h, nil
	}
	return h, t.follow(j, step, now, &h)
}

// keepReport keeps a report once, and says whether that was the first time.
// Being asked for and coming back count again where the job waits again. A
// service that refused what it had accepted has not delivered it; what reached
// the recipient it cannot refuse. They come in any order.
func (t *txn) keepReport(j standing, step int, r *heardOf) (first bool, err error) {
	v, err := t.verdict(j.id, step)
	if err != nil {
		return false, err
	}
	if r.What == delivery.WasAccepted && v.refused {
		r.Settles, r.Arrived = false, false
	}
	if r.What == delivery.WasRefused && !v.arrived {
		_, err := t.exec("UPDATE report SET settles = 0 WHERE job = ? AND step = ? AND what = 'accepted'", j.id, step)
		if err != nil {
			return false, err
		}
	}
	v.asked, v.bounced = r.What == delivery.WasAsked, r.What == delivery.WasBounced
	open := step == j.step && (v.again(j.waits) || (j.state == delivery.JobSending && (v.asked || v.bounced)))
	changed, err := t.exec(`INSERT INTO report (job, step, what, note, settles, open) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (job, step, what) DO UPDATE SET settles = max(settles, excluded.settles), open = excluded.open
		WHERE excluded.settles > settles OR excluded.open > open`, j.id, step, r.What, j.ID, r.Settles, open)
	return changed > 0, err
}

// tellOf writes the line of a report, marks its note, and tells the operator.
func (t *txn) tellOf(j standing, step int, r heardOf, now time.Time, h *heard) error {
	err := t.event(j.box, delivery.Event{Job: j.id, Name: string(r.What), Target: j.chain[step].String(), Detail: r.Detail})
	if err != nil {
		return err
	}
	if set, ok := marks()[delivery.Mark(r.What)]; ok {
		at := t.clock.Wall()
		if !r.At.IsZero() && r.At.Before(at) {
			at = r.At
		}
		changed, err := t.exec(set, micros(at), j.ID)
		if err != nil {
			return err
		}
		if h.marked = changed > 0; h.marked {
			if h.early, err = t.tellMarked(j.kept, string(r.What), r.channel, now); err != nil {
				return err
			}
		}
	}
	if !r.Arrived {
		return nil
	}
	told, err := t.tellDelivered(j.kept, j.id, r.channel, now)
	h.early = h.early || told
	return err
}

// forgetRefused has a job that is driven again be refused, asked for and come
// back anew.
func (t *txn) forgetRefused(job string) error {
	_, err := t.exec("DELETE FROM report WHERE job = ? AND what IN ('refused', 'asked', 'bounced')", job)
	return err
}
