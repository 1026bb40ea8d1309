package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

const (
	settleBatch = 512 // attempts or notes told at once
	sideBySide  = 8   // round trips under way
	keepLedger  = delivery.LeastMetadata
)

// settle brings this machine and the others together: what they did to its
// notes, what it did to theirs, and the notes they are yet to get.
func (f *Fleet) settle(ctx context.Context) {
	for _, step := range []func(context.Context) error{f.keepSettled, f.drain, f.tellAll, f.dropStrays, f.promote, f.publishAll} {
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
	attempts, jobs := f.settling.take()
	if len(attempts)+len(jobs) == 0 {
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
		return tx.exec("DELETE FROM attempt WHERE settled = 1 AND began_at < ?", micros(f.Now().Add(-keepLedger)))
	})
	return err
}

// tell tells Redis the outcome of an attempt; delivery.ErrFenced when the lease
// was lost. It is no error that Redis cannot hear it now: settle tells it again.
func (f *Fleet) tell(ctx context.Context, a attempt) error {
	defer f.settling.end(a.ID)
	j, err := f.say(ctx, a)
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
	if a.Home == f.machine && j.State == shared.Delivered && a.Outcome != string(delivery.Done) {
		return f.mirror(ctx, []shared.Job{j}) // another machine had delivered it before
	}
	return nil
}

// say makes the call that tell is about, and returns the job as it stands then,
// if it was an attempt.
func (f *Fleet) say(ctx context.Context, a attempt) (j shared.Job, err error) {
	wait := max(0, a.NextAt.Sub(f.Now()))
	switch {
	case a.Outcome == returned && a.NextAt.IsZero():
		return j, f.shared.Release(ctx, a.Job)
	case a.Outcome == returned:
		return j, f.shared.PutOff(ctx, a.Job, wait)
	}
	event, err := json.Marshal(report{a.Receipt, a.Event})
	if err != nil {
		return j, err
	}
	return f.shared.Finish(ctx, a.Job, shared.Result{Outcome: a.Outcome, Wait: wait, Receipt: []byte(a.Receipt), Event: event})
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
		var used bool
		err := f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM attempt WHERE job = ? AND epoch = ? AND settled = 0)", j.ID, j.Epoch).Scan(&used)
		switch {
		case err != nil:
			return err
		case used:
		case f.strays[j.ID] == j.Epoch:
			f.giveUp(ctx, j)
		default:
			strays[j.ID] = j.Epoch
		}
	}
	f.strays = strays
	return nil
}

// promote gives jobs that were kept here while Redis was away to all machines,
// by whole threads, none of which is just being sent.
func (f *Fleet) promote(ctx context.Context) error {
	if !f.shared.Up() {
		return nil
	}
	const own = "shared = 0 AND state = 'queued' AND steps <= ? AND substr(thread, 1, ?) <> ?"
	args := []any{shared.MaxSteps, len(operatorThread), []byte(operatorThread)}
	var some bool
	err := f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM job WHERE "+own+")", args...).Scan(&some)
	if err != nil || !some {
		return err
	}
	_, err = write(ctx, f.Store, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE job SET shared = 1, head = 0 WHERE "+own+` AND NOT EXISTS (
			SELECT 1 FROM job AS other WHERE other.thread = job.thread AND other.shared = 0 AND other.state IN ('queued', 'sending')
			AND (other.state = 'sending' OR other.steps > ?1))`, args...)
	})
	return err
}

// publishAll publishes what is meant for all machines and not known to be there.
func (f *Fleet) publishAll(ctx context.Context) error {
	for last := ""; f.shared.Up(); {
		notes, err := f.notesAfter(ctx, untoldNotes, last)
		if err != nil || len(notes) == 0 {
			return err
		}
		last = notes[len(notes)-1]
		notes = slices.DeleteFunc(notes, f.offering.has)
		if err := f.publish(ctx, notes); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes notes of this machine anew, and takes in how their jobs
// stand.
func (f *Fleet) publish(ctx context.Context, notes []string) error {
	defer f.offering.add(notes...)()
	all, err := f.publications(ctx, notes)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var standing []shared.Job
	err = each(all, func(p shared.Publication) error {
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
	if !f.shared.Up() {
		return nil
	}
	_, err := f.shared.Drain(ctx, f.hear)
	return err
}
