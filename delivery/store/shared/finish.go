package shared

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// Result is what an attempt came to.
type Result struct {
	Outcome string        // done, retry, unknown, dead or waiting: delivery.Outcome
	Wait    time.Duration // of retry, unknown and waiting
	Waits   int           // of waiting: Job.Waits then
	Arrived bool          // of done: as far as the service tells
	Receipt []byte        // of done; opaque
	Event   []byte        // for the note's home, if that is another machine; opaque
}

// Finish keeps what the attempt of a lease came to, and returns the job as it
// stands now. Dead moves it to the next target of its chain, and keeps what j has
// Unknown. ErrFenced when the lease is no longer held; a delivery is kept whoever
// holds it, and may be told without a lease. otherwise says that a report has
// taken the job elsewhere than the outcome does.
func (s *Shared) Finish(ctx context.Context, j Job, r Result) (stands Job, otherwise bool, err error) {
	value, err := s.run(ctx, j.Shard, s.scripts.finish, s.o.Machine, s.owner, j.ID, j.Note, j.Epoch,
		r.Outcome, r.Wait.Milliseconds(), r.Receipt, base64.StdEncoding.EncodeToString(r.Event),
		j.Step, j.Round, oneIf(r.Arrived), r.Waits, j.Unknown)
	if err == nil {
		err = refused(value)
	}
	s.ended(j, err)
	if err != nil {
		return Job{}, false, fmt.Errorf("finish job %s: %w", j.ID, err)
	}
	answer, _ := value.([]any)
	if len(answer) != 3 {
		return Job{}, false, fmt.Errorf("finish job %s: %w: %w", j.ID, ErrUncertain, errAnswer)
	}
	if answer[0] == int64(1) {
		poke(s.wake)
	}
	stands, err = parseJob(j.Shard, answer[1])
	return stands, answer[2] == int64(1), err
}

// Release gives a lease back unused: the attempt is not counted, and the job
// is due as it was before. ErrFenced.
func (s *Shared) Release(ctx context.Context, j Job) error { return s.giveBack(ctx, j, -1) }

// PutOff gives a lease back unused; the job is not claimed before wait is
// over. ErrFenced.
func (s *Shared) PutOff(ctx context.Context, j Job, wait time.Duration) error {
	return s.giveBack(ctx, j, wait.Milliseconds())
}

// Abandon lets a lease run out that could not be given back.
func (s *Shared) Abandon(j Job) { s.leases.drop(j.ID, j.Epoch) }

func (s *Shared) giveBack(ctx context.Context, j Job, ms int64) error {
	value, err := s.run(ctx, j.Shard, s.scripts.giveback, s.o.Machine, s.owner, j.ID, j.Epoch, ms)
	if err == nil {
		err = refused(value)
	}
	s.ended(j, err)
	if err != nil {
		return fmt.Errorf("give back job %s: %w", j.ID, err)
	}
	return nil
}

// ended forgets a lease that Redis no longer has.
func (s *Shared) ended(j Job, err error) {
	if err == nil || errors.Is(err, ErrFenced) {
		s.leases.drop(j.ID, j.Epoch)
	}
}

// refused is the error of an answer that is one word.
func refused(value any) error {
	switch value {
	case "FENCED":
		return ErrFenced
	case "GATE":
		return ErrGate
	case "NONE":
		return ErrNotFound
	case "BUSY":
		return ErrBusy
	case "ERASED":
		return ErrErased
	}
	return nil
}
