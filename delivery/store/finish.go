package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// Finish implements delivery.Queue. delivery.ErrFenced when the lease is no
// longer held.
func (s *Store) Finish(ctx context.Context, l delivery.Lease, r delivery.Result) error {
	early, err := write(ctx, s, func(tx *txn) (bool, error) { return tx.finish(l, r, s.Now()) })
	if err != nil {
		return fmt.Errorf("finish job %s: %w", l.Job, err)
	}
	if early {
		s.wakeUp()
	}
	return nil
}

// finish moves the job to where the result takes it, or what its service has
// told meanwhile, and says whether that made a job due early: this one at its
// next target, the next of the thread, or the operator's.
func (t *txn) finish(l delivery.Lease, r delivery.Result, now time.Time) (early bool, err error) {
	to, err := t.after(l, r, now)
	if err != nil {
		return false, err
	}
	if asked, err := t.askedLast(l, now); asked || err != nil {
		return asked, err
	}
	if err := t.change(l, to.set, to.args...); err != nil {
		return false, err
	}
	b, err := t.box(l.Note.ID)
	if err != nil {
		return false, err
	}
	err = t.event(b, delivery.Event{Job: l.Job, Name: string(r.Outcome), Target: l.Target().String(), Detail: answer(r)})
	if err != nil {
		return false, err
	}
	early = r.Outcome == delivery.Dead
	if r.Outcome == delivery.Waiting {
		if early, err = t.setApart(l.Job); err != nil {
			return false, err
		}
	}
	if to.ended {
		if early, err = t.freeThread(l.Job); err != nil {
			return false, err
		}
		told, err := t.ended(kept{l.Note, b}, l, r, now)
		if err != nil {
			return false, err
		}
		early = early || told
	}
	overtaken, err := t.catchUp(l.Job, l.Step, now)
	return early || overtaken, err
}

// ended keeps that a job ended, and has the operator told; true when that is
// due.
func (t *txn) ended(n kept, l delivery.Lease, r delivery.Result, now time.Time) (told bool, err error) {
	if err := t.endNote(n.ID, now); err != nil {
		return false, err
	}
	channel := l.Target().Channel
	switch {
	case r.Outcome == delivery.Dead:
		v, err := t.verdict(l.Job, l.Step)
		if err != nil || v.settled >= 0 { // it was told in the last moment that it is delivered
			return false, err
		}
		return t.tellOperator(n, delivery.EventDead, channel, now)
	case r.Arrived:
		return t.tellDelivered(n, l.Job, channel, now)
	}
	return false, nil
}

// setApart gives a job a thread of its own: it waits for nobody any more, and
// nobody for it. True when the next of its thread may go.
func (t *txn) setApart(job string) (early bool, err error) {
	var thread []byte
	var head bool
	if err := t.row("SELECT thread, head FROM job WHERE id = ?", job).Scan(&thread, &head); err != nil {
		return false, err
	}
	_, err = t.exec("UPDATE job SET thread = ?, head = shared = 0 WHERE id = ?", t.vault.apart(job), job)
	if err != nil || !head {
		return false, err
	}
	return t.lead(thread)
}

// transition is what a result makes of its job's row.
type transition struct {
	set   string // of an UPDATE
	args  []any
	ended bool // the job is over, its thread is free
}

func (t *txn) after(l delivery.Lease, r delivery.Result, now time.Time) (transition, error) {
	switch {
	case r.Outcome == delivery.Done:
		return transition{"state = 'delivered', head = 0, receipt = ?", []any{t.vault.index("receipt", r.Receipt.ID)}, true}, nil
	case r.Outcome == delivery.Retry:
		return transition{"state = 'queued', next_at = ?", []any{micros(now.Add(r.Wait))}, false}, nil
	case r.Outcome == delivery.Unknown:
		return transition{"state = 'queued', next_at = ?, unknown = unknown | (1 << step)", []any{micros(now.Add(r.Wait))}, false}, nil
	case r.Outcome == delivery.Waiting:
		return transition{"state = 'queued', next_at = ?, waits = ?, receipt = ?", []any{
			micros(now.Add(r.Wait)), waitsFor(r), t.vault.index("receipt", r.Receipt.ID),
		}, false}, nil
	case r.Outcome == delivery.Dead && l.Step+1 < len(l.Chain):
		return transition{"state = 'queued', next_at = ?, " + doubted + nextTarget, []any{micros(now), r.InDoubt}, false}, nil
	case r.Outcome == delivery.Dead:
		return transition{"state = 'dead', head = 0, " + doubted + "waits = 0", []any{r.InDoubt}, true}, nil
	}
	return transition{}, fmt.Errorf("no such outcome %q", r.Outcome)
}

// waitsFor is what a job waits for after a result, as shared.Job.Waits.
func waitsFor(r delivery.Result) int {
	switch {
	case r.Outcome != delivery.Waiting:
		return 0
	case r.Receipt.Invited:
		return shared.ToBeAsked
	}
	return shared.ForReport
}

// doubted keeps that a note may have arrived at the target that is given up: its
// service took it and told no more of it, or its answer was lost.
const doubted = "unknown = unknown | ((waits = 3 OR ?) << step), "

// nextTarget moves a job on in its chain.
const nextTarget = "step = step + 1, attempt = 0, first_at = 0, waits = 0"

// change updates the job of a lease, or returns delivery.ErrFenced when the
// lease is no longer held.
func (t *txn) change(l delivery.Lease, set string, args ...any) error {
	changed, err := t.exec("UPDATE job SET "+set+" WHERE id = ? AND state = 'sending' AND step = ? AND attempt = ? AND (waits & 1) = ?",
		append(args, l.Job, l.Step, l.Attempt, l.Waited)...)
	if err == nil && changed == 0 {
		err = delivery.ErrFenced
	}
	return err
}

// endNote keeps when the last of a note's jobs was delivered or dead.
func (t *txn) endNote(id string, now time.Time) error {
	_, err := t.exec(`UPDATE note SET ended_at = ?2 WHERE id = ?1
		AND NOT EXISTS (SELECT 1 FROM job WHERE note = ?1 AND state IN ('queued', 'sending'))`, id, micros(now))
	return err
}

// freeThread lets the oldest waiting job of a job's thread go.
func (t *txn) freeThread(job string) (bool, error) {
	var thread []byte
	if err := t.row("SELECT thread FROM job WHERE id = ?", job).Scan(&thread); err != nil {
		return false, err
	}
	return t.lead(thread)
}

// behind and ofThread pick jobs that are queued or being sent: those that head
// no thread, and all of the thread ?1. They are in the words of the indexes
// job_head and job_behind, or sqlite would not use them.
const (
	behind   = "head = 0 AND state IN ('queued', 'sending')"
	ofThread = "(thread = ?1 AND head = 1 OR thread = ?1 AND " + behind + ")"
)

const leadThread = `UPDATE job SET head = 1 WHERE seq = (
	SELECT seq FROM job WHERE thread = ? AND ` + behind + ` AND state = 'queued' AND shared = 0 ORDER BY note, seq LIMIT 1)`

// lead lets the oldest waiting job of a thread go.
func (t *txn) lead(thread []byte) (bool, error) {
	changed, err := t.exec(leadThread, thread)
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
	if r.Wait > 0 && r.Outcome == delivery.Waiting {
		parts = append(parts, "its report is waited for: "+r.Wait.Round(time.Millisecond).String())
	} else if r.Wait > 0 {
		parts = append(parts, "again in "+r.Wait.Round(time.Millisecond).String())
	}
	return strings.Join(parts, "; ")
}
