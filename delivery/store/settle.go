package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

const (
	settleBatch = 512 // attempts or notes told at once
	sideBySide  = 8   // round trips under way

	// promoteBatch is how many threads become all machines' with one commit: few
	// enough that no call waits for it.
	promoteBatch = 64

	// publishFor is how long notes are published before the other steps have a
	// turn.
	publishFor = 5 * time.Second
	keepLedger = delivery.LeastMetadata
)

// settle brings this machine and the others together: what they did to its
// notes, what it did to theirs, and the notes they are yet to get.
func (f *Fleet) settle(ctx context.Context) {
	for _, step := range []func(context.Context) error{f.keepSettled, f.drain, f.tellReports, f.tellAll, f.dropStrays, f.promote, f.publishAll} {
		err := step(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, shared.ErrAway) && !errors.Is(err, shared.ErrUncertain) {
			f.log.Error("the other machines and this one cannot be brought together; trying again", "error", err)
		}
	}
}

// settling is what is told to Redis just now, and what Redis knows and the rows
// do not say yet. A crash before they do has it told again, which does no harm.
// The zero value is ready.
type settling struct {
	mu       sync.Mutex
	busy     map[string]bool // jobs whose attempts are being told: nobody else tells them
	attempts []attempt       // whose outcomes Redis has
	jobs     []shared.Job    // that Redis has
}

func (s *settling) begin(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		s.busy = map[string]bool{}
	}
	s.busy[job] = true
}

func (s *settling) end(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, job)
}

func (s *settling) has(a attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy[a.ID] || slices.ContainsFunc(s.attempts, func(o attempt) bool { return o.ID == a.ID && o.Epoch == a.Epoch })
}

// heard takes in an attempt whose outcome Redis has.
func (s *settling) heard(a attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, a)
}

// known takes in jobs that Redis has.
func (s *settling) known(jobs []shared.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, jobs...)
}

// take returns what came together.
func (s *settling) take() (attempts []attempt, jobs []shared.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	attempts, jobs = s.attempts, s.jobs
	s.attempts, s.jobs = nil, nil
	return attempts, jobs
}

// keepSettled writes down what Redis knows, and forgets attempts that are too
// old to be told.
func (f *Fleet) keepSettled(ctx context.Context) error {
	const old, oldRelay = "FROM attempt WHERE settled = 1 AND began_at < ?", "FROM relay WHERE heard_at < ?"
	before := micros(f.Now().Add(-keepLedger))
	var some bool
	if err := f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 "+old+") OR EXISTS (SELECT 1 "+oldRelay+")", before, before).Scan(&some); err != nil {
		return err
	}
	attempts, jobs := f.settling.take()
	if len(attempts)+len(jobs) == 0 && !some {
		return nil
	}
	_, err := write(ctx, f.Store, func(tx *txn) (any, error) {
		for _, a := range attempts {
			change := "UPDATE attempt SET settled = 1"
			if a.Outcome == returned {
				change = "DELETE FROM attempt"
			}
			if _, err := tx.exec(change+" WHERE job = ? AND epoch = ? AND outcome = ?", a.ID, a.Epoch, a.Outcome); err != nil {
				return nil, err
			}
		}
		for _, j := range jobs {
			if _, err := tx.exec("UPDATE job SET shared = 2 WHERE id = ? AND shared = 1 AND round = ?", j.ID, j.Round); err != nil {
				return nil, err
			}
		}
		if _, err := tx.exec("DELETE "+oldRelay, before); err != nil {
			return nil, err
		}
		return tx.exec("DELETE "+old, before)
	})
	return err
}

// tell tells Redis the outcome of an attempt; delivery.ErrFenced when the lease
// was lost. It is no error that Redis cannot hear it now: settle tells it again.
func (f *Fleet) tell(ctx context.Context, a attempt) error {
	defer f.settling.end(a.ID)
	j, otherwise, err := f.say(ctx, a)
	switch {
	case errors.Is(err, shared.ErrAway), errors.Is(err, shared.ErrUncertain):
		return nil
	case errors.Is(err, shared.ErrFenced):
		f.settling.heard(a)
		return delivery.ErrFenced
	case err != nil:
		return err
	}
	f.settling.heard(a)
	if otherwise && a.Outcome == string(delivery.Done) {
		if err := f.takeBack(ctx, a); err != nil {
			return err
		}
	}
	switch {
	case a.Home != f.machine:
	case otherwise: // its service had told something of it
		return f.mirrorAs(ctx, overrules, j)
	case j.State == shared.Delivered && a.Outcome != string(delivery.Done):
		return f.mirror(ctx, []shared.Job{j}) // another machine had delivered it before
	}
	return nil
}

// say makes the call that tell is about, and returns the job as it stands then,
// if it was an attempt, and whether that is otherwise than the outcome says.
func (f *Fleet) say(ctx context.Context, a attempt) (j shared.Job, otherwise bool, err error) {
	wait := max(0, a.NextAt.Sub(f.Now()))
	switch {
	case a.Outcome == returned && a.NextAt.IsZero():
		return j, false, f.shared.Release(ctx, a.Job)
	case a.Outcome == returned:
		return j, false, f.shared.PutOff(ctx, a.Job, wait)
	}
	event, err := json.Marshal(result{a.Receipt, a.Event})
	if err != nil {
		return j, false, err
	}
	return f.shared.Finish(ctx, a.Job, shared.Result{
		Outcome: a.Outcome, Wait: wait, Waits: a.Then, Arrived: a.Arrived, Receipt: []byte(a.Receipt), Event: event,
	})
}

// tellAll tells Redis the outcomes that it has not heard.
func (f *Fleet) tellAll(ctx context.Context) error {
	if !f.shared.Up() {
		return nil
	}
	left, err := f.unsettled(ctx, settleBatch)
	if err != nil {
		return err
	}
	left = slices.DeleteFunc(left, f.settling.has)
	err = each(left, func(a attempt) error {
		f.settling.begin(a.ID)
		if err := f.tell(ctx, a); !errors.Is(err, delivery.ErrFenced) {
			return err
		}
		return nil
	})
	return errors.Join(err, f.keepSettled(ctx))
}

// each calls do for each of a list, a few side by side.
func each[T any](list []T, do func(T) error) error {
	errs := make([]error, len(list))
	var calls sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for i, v := range list {
		slots <- struct{}{}
		calls.Go(func() {
			errs[i] = do(v)
			<-slots
		})
	}
	calls.Wait()
	return errors.Join(errs...)
}

// dropStrays gives leases back that nobody uses: an attempt that ended just
// while Redis was told that it is under way leaves one. A lease that is just
// being written down is no stray, hence the second look.
func (f *Fleet) dropStrays(ctx context.Context) error {
	strays := map[string]int{} // epochs by job
	for _, j := range f.shared.Leases() {
		used, err := f.inUse(ctx, j)
		switch {
		case err != nil:
			return err
		case used:
		case f.strays[j.ID] == j.Epoch:
			if err := f.dropStray(ctx, j); err != nil {
				return err
			}
		default:
			strays[j.ID] = j.Epoch
		}
	}
	f.strays = strays
	return nil
}

// dropStray gives a lease back, unless it is written down after all. It cannot
// be begun from the first step on: without a row then, it never will be, and
// with one it may have been before, so that it runs out.
func (f *Fleet) dropStray(ctx context.Context, j shared.Job) error {
	f.shared.Abandon(j)
	used, err := f.inUse(ctx, j)
	if err == nil && !used {
		_ = f.shared.Release(ctx, j) // it runs out otherwise
	}
	return err
}

// inUse says whether a lease has a row, by which it may be begun.
func (f *Fleet) inUse(ctx context.Context, j shared.Job) (used bool, err error) {
	err = f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM attempt WHERE job = ? AND epoch = ? AND settled = 0)", j.ID, j.Epoch).Scan(&used)
	return used, err
}

// promote gives jobs that were kept here while Redis was away to all machines,
// by whole threads, none of which is just being sent. A full Redis would refuse
// them, and then nobody would send them.
func (f *Fleet) promote(ctx context.Context) error {
	if !f.shared.Up() || f.shared.Full() {
		return nil
	}
	for last := ""; ; {
		rows, err := f.readers.QueryContext(ctx, `SELECT note, thread FROM job
			WHERE state = 'queued' AND state <> 'delivered' AND note > ? AND shared = 0 AND substr(thread, 1, ?) <> ? ORDER BY note LIMIT ?`,
			last, len(operatorThread), []byte(operatorThread), promoteBatch)
		threads, err := collect(rows, err, func(r scanner) (thread []byte, err error) { return thread, r.Scan(&last, &thread) })
		if err != nil || len(threads) == 0 {
			return err
		}
		_, err = write(ctx, f.Store, func(tx *txn) (any, error) {
			for _, thread := range threads {
				if err := tx.promote(thread); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
	}
}

// promote makes the jobs of a thread those of all machines, unless one of them
// is being sent or has more targets than can be shared.
func (t *txn) promote(thread []byte) error {
	_, err := t.exec(promoteThread, thread, shared.MaxSteps)
	return err
}

// promoteThread names both states, as the index on threads has them.
const promoteThread = `UPDATE job SET shared = 1, head = 0
	WHERE thread = ?1 AND state IN ('queued', 'sending') AND state = 'queued' AND shared = 0 AND NOT EXISTS (
	SELECT 1 FROM job AS other WHERE other.thread = ?1 AND other.shared = 0 AND other.state IN ('queued', 'sending')
	AND (other.state = 'sending' OR other.steps > ?2))`

// publishAll publishes what is meant for all machines and not known to be
// there, oldest first.
func (f *Fleet) publishAll(ctx context.Context) error {
	for last, began := "", time.Now(); f.shared.Up() && time.Since(began) < publishFor; {
		notes, err := f.notesAfter(ctx, untoldNotes, last)
		if err != nil || len(notes) == 0 {
			return err
		}
		last = notes[len(notes)-1]
		notes = slices.DeleteFunc(notes, f.offering.has)
		err = f.publish(ctx, notes)
		if errors.Is(err, shared.ErrAway) || errors.Is(err, shared.ErrUncertain) {
			return err
		}
		if err != nil { // of a note alone
			f.log.Error("a note of this machine cannot be published; trying again", "error", err)
		}
	}
	return nil
}

// publish publishes notes of this machine anew, and takes in how their jobs
// stand.
func (f *Fleet) publish(ctx context.Context, notes []string) error {
	defer f.offering.add(notes...)()
	var mu sync.Mutex
	var standing []shared.Job
	err := each(f.publications(ctx, notes), func(p shared.Publication) error {
		jobs, err := f.shared.Publish(ctx, p, true, false)
		mu.Lock()
		defer mu.Unlock()
		standing = append(standing, jobs...)
		return err
	})
	if len(standing) == 0 {
		return err
	}
	return errors.Join(err, f.mirror(ctx, standing))
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
