package store

import (
	"context"
	"errors"
	"fmt"
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

// What is too old to be told, from before ?1. The terms are as the indexes have
// them.
const (
	oldAttempts = "FROM attempt WHERE settled = 1 AND began_at < ?1"
	oldRelays   = "FROM relay WHERE (told = 0 AND heard_at < ?1) OR (told = 1 AND heard_at < ?1) OR (told >= 2 AND heard_at < ?1)"
)

// keepSettled writes down what Redis knows, and forgets attempts that are too
// old to be told.
func (f *Fleet) keepSettled(ctx context.Context) error {
	before := micros(f.Now().Add(-keepLedger))
	var some bool
	if err := f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 "+oldAttempts+") OR EXISTS (SELECT 1 "+oldRelays+")", before).Scan(&some); err != nil {
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
		if !some {
			return nil, nil
		}
		if _, err := tx.exec("DELETE "+oldRelays, before); err != nil {
			return nil, err
		}
		return tx.exec("DELETE "+oldAttempts, before)
	})
	return err
}

// each calls do for each of a list, a few side by side. Of many errors it
// returns one, if there is that Redis is away or gave no answer.
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
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	worst := max(0, slices.IndexFunc(errs, func(err error) bool {
		return errors.Is(err, shared.ErrAway) || errors.Is(err, shared.ErrUncertain)
	}))
	if len(errs) == 1 {
		return errs[worst]
	}
	return fmt.Errorf("%d of %d failed, one so: %w", len(errs), len(list), errs[worst])
}
