package shared

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
)

// Said is what a chat service told of a job.
type Said struct {
	What    string // delivery.What
	Step    int    // the target that it is about, -1 when that is not known
	Settles bool   // the job is delivered by it
	Arrived bool   // as far as the service tells
	Event   []byte // for the note's home, if that is another machine; opaque
}

// Report tells all machines what a chat service told of a job (ID, Shard, and
// where known Note and Home; Round where it was told before, else -1), and returns the job as it stands then. What
// is delivered already its home takes back when it hears that it was refused.
// ErrNotFound when there is no such job; its home has heard if it was given.
// ErrGate when it may have been forgotten: to be told again.
func (s *Shared) Report(ctx context.Context, j Job, r Said) (Job, error) {
	cmd := s.reporting(j, r)
	err := s.usable(j.Shard)
	var value any
	if err == nil {
		value, err = s.client.do(ctx, cmd)
	}
	if err == nil {
		err = refused(value)
	}
	if err != nil {
		return Job{}, fmt.Errorf("report about job %s: %w", j.ID, err)
	}
	answer, _ := value.([]any)
	if len(answer) != 2 {
		return Job{}, fmt.Errorf("report about job %s: %w: %w", j.ID, ErrUncertain, errAnswer)
	}
	if answer[0] == int64(1) {
		poke(s.wake)
	}
	return parseJob(j.Shard, answer[1])
}

// reporting is the command that reports.
func (s *Shared) reporting(j Job, r Said) command {
	step := ""
	if r.Step >= 0 {
		step = fmt.Sprint(r.Step)
	}
	round := ""
	if j.Round >= 0 {
		round = fmt.Sprint(j.Round)
	}
	return command{shard: j.Shard, script: s.scripts.report, args: []any{
		s.o.Machine, j.ID, j.Note, j.Home, round, step, r.What, oneIf(r.Settles), oneIf(r.Arrived),
		base64.StdEncoding.EncodeToString(r.Event),
	}}
}

// Proclaim tells every other machine what a chat service told of a job that Find
// does not find, as a Message without a note.
func (s *Shared) Proclaim(ctx context.Context, id string, r Said) error {
	shard := ShardOf(id)
	err := s.usable(shard)
	if err == nil {
		_, err = s.client.do(ctx, command{shard: shard, script: s.scripts.proclaim, args: []any{
			s.o.Machine, id, r.What, base64.StdEncoding.EncodeToString(r.Event),
		}})
	}
	if err != nil {
		return fmt.Errorf("proclaim a report about job %s: %w", id, err)
	}
	return nil
}

// Homes is how many machines ever took part, those that stopped included.
func (s *Shared) Homes(ctx context.Context) (int, error) {
	if err := s.usable(0); err != nil {
		return 0, err
	}
	n, err := s.client.do(ctx, command{args: []any{"SCARD", prefix(0) + "homes"}})
	if err != nil {
		return 0, fmt.Errorf("ask which machines took part: %w", err)
	}
	count, _ := n.(int64)
	return int(count), nil
}

// Find finds a job by its id alone. ErrNotFound when no shard has it.
func (s *Shared) Find(ctx context.Context, id string) (Job, error) {
	if err := s.whyDown(); err != nil {
		return Job{}, err
	}
	var errs []error
	for shard, r := range s.client.all(ctx, everywhere(s.scripts.find, id)) {
		switch {
		case r.err != nil:
			errs = append(errs, r.err)
		case r.value != "NONE":
			return parseJob(shard, r.value)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Job{}, fmt.Errorf("find job %s: %w", id, err)
	}
	return Job{}, ErrNotFound
}
