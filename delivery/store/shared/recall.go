package shared

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// recall tells shards what this machine knows, then signs.
func (s *Shared) recall(ctx context.Context, in Shards) {
	began := time.Now()
	r := recall{s: s, in: in}
	s.mu.Lock()
	for i, st := range s.state {
		r.eras[i] = st.era
	}
	s.mu.Unlock()
	s.suspend(in)
	err := s.ledger.Recall(ctx, in, func(f Fact) error { return r.say(ctx, f) })
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("what this machine knows could not be told; trying again", "facts", r.facts, "error", err)
		}
		return
	}
	s.mu.Lock()
	for i := range s.state {
		if in.Has(i) {
			s.state[i].told = r.eras[i]
		}
	}
	s.mu.Unlock()
	s.log.Info("told the shared Redis what this machine knows", "facts", r.facts, "took_ms", time.Since(began).Milliseconds())
	s.sign(ctx, in)
	poke(s.kick)
	poke(s.wake)
}

// suspend keeps leases of shards from being begun, and from being asked for
// again. The eras that are told are read before: what is given out after the
// reading and forgotten in another era must not count as told.
func (s *Shared) suspend(in Shards) {
	s.leases.suspend(in)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.state {
		if in.Has(i) {
			s.state[i].lost = time.Time{}
		}
	}
}

// recall is one telling, in batches.
type recall struct {
	s     *Shared
	in    Shards
	eras  [shards]string // as the telling began
	facts int
	cmds  []command
	said  []Fact // what each of cmds says
}

func (r *recall) say(ctx context.Context, f Fact) error {
	cmd, err := r.s.telling(f)
	if err != nil {
		return err
	}
	if !r.in.Has(cmd.shard) {
		return nil
	}
	// A server that lacks one of a batch's scripts runs it later than the
	// others: nothing is published before the results are told.
	if f.Kind == IsPending && len(r.said) > 0 && r.said[0].Kind != IsPending {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.facts++
	r.cmds, r.said = append(r.cmds, cmd), append(r.said, f)
	if len(r.cmds) == recallBatch {
		return r.flush(ctx)
	}
	return nil
}

// telling is the command that says a fact.
func (s *Shared) telling(f Fact) (command, error) {
	switch f.Kind {
	case IsPending:
		return s.publishing(f.Note, true, false, nil)
	case WasErased:
		return command{
			shard: ShardOf(f.Note.Mailbox), script: s.scripts.erase,
			args: []any{s.o.Machine, f.Note.Mailbox, f.Note.ID, eraseBatch},
		}, nil
	case WasReported:
		return s.reporting(f.Job, f.Said), nil
	case WasDelivered, WasDead, IsSending, WasInterrupted, IsWaiting:
		j := f.Job
		return command{shard: j.Shard, script: s.scripts.recall, args: []any{
			s.o.Machine, s.owner, s.o.Lease.Milliseconds(), string(f.Kind),
			j.ID, j.Note, j.Thread, j.Chain, j.Steps, j.Step, j.Attempt, j.Unknown, j.Round, age(j.First), wait(j.Next), j.Epoch, j.Pos, j.Home, j.Waits, j.Void,
		}}, nil
	}
	return command{}, fmt.Errorf("no such kind of fact %q", f.Kind)
}

// flush says what has gathered and takes in the answers.
func (r *recall) flush(ctx context.Context) error {
	m := r.s.leases.now()
	replies := r.s.client.all(ctx, r.cmds)
	var news []Job
	for i, reply := range replies {
		if reply.err != nil {
			return reply.err
		}
		jobs, err := r.answered(ctx, m, r.said[i], r.cmds[i], reply.value)
		if err != nil {
			return err
		}
		news = append(news, jobs...)
	}
	r.cmds, r.said = r.cmds[:0], r.said[:0]
	if len(news) == 0 {
		return nil
	}
	return r.s.ledger.Learn(ctx, news)
}

// answered takes in the answer to a fact, and returns the jobs of this machine
// that stand otherwise than it said.
func (r *recall) answered(ctx context.Context, m moment, f Fact, cmd command, value any) ([]Job, error) {
	switch f.Kind {
	case IsSending:
		j, err := parseJob(cmd.shard, value)
		if err == nil {
			r.s.leases.resume(j, m, r.s.o.Lease)
		}
		return nil, err
	case WasErased:
		for n, _ := value.(int64); n == eraseBatch; {
			more, err := r.s.client.do(ctx, cmd)
			if err != nil {
				return nil, err
			}
			n, _ = more.(int64)
		}
	case IsPending:
		jobs, err := r.s.published(ctx, f.Note, cmd, value)
		if errors.Is(err, ErrErased) {
			return nil, nil
		}
		if err != nil && !errors.Is(err, ErrAway) && !errors.Is(err, ErrUncertain) { // its file: the others are told
			r.s.log.Error("a note cannot be told", "note_id", f.Note.ID, "error", err)
			return nil, nil
		}
		var changed []Job
		for i, j := range jobs {
			if told := f.Note.Jobs[i]; j.State != Queued || j.Step != told.Step || j.Attempt != told.Attempt || j.Unknown != told.Unknown || j.Waits != told.Waits {
				changed = append(changed, j)
			}
		}
		return changed, err
	case WasDelivered, WasDead, WasInterrupted, IsWaiting, WasReported:
	}
	return nil, nil
}
