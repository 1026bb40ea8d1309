package shared

import (
	"context"
	"errors"
	"fmt"
)

// Publication is a note for all machines to deliver.
type Publication struct {
	ID      string
	Mailbox string // its index: letters and digits, nothing that tells the number
	Body    []byte // opaque
	Jobs    []Job  // ID, Thread, Chain, Steps; Step, Attempt, Unknown, Round, First, Next, Epoch, Waits, Void where it was tried

	// Outlives is up to where this machine has erased the mailbox and kept the
	// note, whose call was under way; "" for never.
	Outlives string

	// Audio reads the note's file, opaque; nil for a note without one. It is
	// called when Redis does not have it.
	Audio func(context.Context) ([]byte, error)
}

// Publish makes a note and its jobs known to every machine, with this one as
// the note's home. again says that it may have been published before. With
// lease wanted, each job that is due and heads its thread is leased to the
// caller (Job.Leased). Published twice, nothing happens but that the jobs come
// back as they stand. After ErrUncertain, ask again: a lease whose answer was
// lost comes with the next answer, be it that or a Claim's, and but once. The
// jobs come in the order given. ErrErased.
func (s *Shared) Publish(ctx context.Context, p Publication, again, lease bool) ([]Job, error) {
	if err := s.usable(ShardOf(p.Mailbox)); err != nil {
		return nil, err
	}
	var audio []byte
	if p.Audio != nil && !again {
		var err error
		if audio, err = p.Audio(ctx); err != nil {
			return nil, fmt.Errorf("publish note %s: %w", p.ID, err)
		}
	}
	cmd, err := s.publishing(p, again, lease, audio)
	if err != nil {
		return nil, err
	}
	m := s.leases.now()
	value, err := s.client.do(ctx, cmd)
	var jobs []Job
	if err == nil {
		jobs, err = s.published(ctx, p, cmd, value)
	}
	if lease && errors.Is(err, ErrUncertain) {
		s.lost(cmd.shard, m)
	}
	if err != nil {
		return nil, fmt.Errorf("publish note %s: %w", p.ID, err)
	}
	for i, j := range jobs {
		jobs[i].Leased = lease && s.leases.adopt(j, m, s.o.Lease)
	}
	return jobs, nil
}

// audioArg is where publish.lua has the audio.
const audioArg = 8

// publishing is the command that publishes.
func (s *Shared) publishing(p Publication, again, lease bool, audio []byte) (command, error) {
	ttl := int64(0)
	if lease {
		ttl = s.o.Lease.Milliseconds()
	}
	args := []any{s.o.Machine, s.owner, ttl, oneIf(again), p.ID, p.Mailbox, p.Body, oneIf(p.Audio != nil), audio, p.Outlives}
	for _, j := range p.Jobs {
		if j.Steps < 1 || j.Steps > MaxSteps {
			return command{}, fmt.Errorf("publish note %s: a chain has %d targets: 1 to %d can be shared", p.ID, j.Steps, MaxSteps)
		}
		args = append(args, j.ID, j.Thread, j.Chain, j.Steps, j.Step, j.Attempt, j.Unknown, j.Round,
			age(j.First), wait(j.Next), j.Epoch, j.Waits, j.Void)
	}
	return command{shard: ShardOf(p.Mailbox), script: s.scripts.publish, args: args}, nil
}

// published takes in the answer, and sends the audio when it is asked for.
func (s *Shared) published(ctx context.Context, p Publication, cmd command, value any) ([]Job, error) {
	if value == "AUDIO" {
		audio, err := p.Audio(ctx)
		if err != nil {
			return nil, err
		}
		cmd.args[audioArg] = audio
		if value, err = s.client.do(ctx, cmd); err != nil {
			return nil, err
		}
	}
	if err := refused(value); err != nil {
		return nil, err
	}
	jobs, err := parseJobs(cmd.shard, value)
	if err == nil && len(jobs) != len(p.Jobs) {
		err = fmt.Errorf("%w: %w", ErrUncertain, errAnswer)
	}
	return jobs, err
}

func oneIf(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
