package shared

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Lease is the right to make one attempt at a job.
type Lease struct {
	Job
	Body []byte // of its note
}

// Claim leases up to limit jobs whose time has come, the head of each thread
// only: by turns the newest that was never tried and the one due for longest.
// Leases of other machines that ran out are taken back first, their outcome
// unknown. What could be claimed comes back even when there is an error;
// ErrGate when jobs are due and may not be given out yet.
func (s *Shared) Claim(ctx context.Context, limit int) ([]Lease, error) {
	ask, err := s.usableShards()
	if err != nil {
		return nil, err
	}
	start := int(s.turn.Add(1)) % len(ask)
	ask = append(ask[start:len(ask):len(ask)], ask[:start]...)
	var (
		leases []Lease
		errs   []error
	)
	for len(ask) > 0 && len(leases) < limit {
		room := limit - len(leases)
		now, share := ask[:min(len(ask), room)], max(1, room/len(ask))
		got, more, err := s.claimFrom(ctx, now, share)
		leases = append(leases, got...)
		errs = append(errs, err)
		ask = append(ask[len(now):len(ask):len(ask)], more...)
	}
	return leases, errors.Join(errs...)
}

// claimFrom claims up to share jobs in each of some shards, and returns the
// shards that may have more.
func (s *Shared) claimFrom(ctx context.Context, ask []int, share int) (leases []Lease, more []int, err error) {
	m := s.leases.now()
	cmds := make([]command, len(ask))
	for i, shard := range ask {
		cmds[i] = command{shard: shard, script: s.scripts.claim, args: []any{
			s.o.Machine, s.owner, share, s.o.Lease.Milliseconds(), oneIf(s.mayBeLost(shard)), s.takeTurns(shard, share),
		}}
	}
	var errs []error
	for i, r := range s.client.all(ctx, cmds) {
		shard := ask[i]
		got, err := s.claimed(shard, r, m)
		if errors.Is(err, ErrUncertain) {
			s.lost(shard, m)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		leases = append(leases, got...)
		if len(got) >= share {
			more = append(more, shard)
		}
	}
	return leases, more, errors.Join(errs...)
}

// lost keeps that the answer to a request of m was lost, with the leases in it.
// The server may get to that request later than to those that follow it, so
// they are asked for until they have run out. After a suspension they do: such
// a lease may be one that has ended, of which the server forgot the end.
func (s *Shared) lost(shard int, m moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leases.since(m, shard) {
		s.state[shard].lost = time.Now().Add(s.o.Lease)
	}
}

// askAgain has leases whose answer was lost asked for from now on: a server that
// stood still gets to the request now. One that may have forgotten the end of a
// lease is not asked, as after a suspension.
func (st *state) askAgain(ttl time.Duration) {
	if !st.lost.IsZero() && st.told == st.era {
		st.lost = time.Now().Add(ttl)
	}
}

// mayBeLost says whether an answer with leases may have been lost in the shard.
func (s *Shared) mayBeLost(shard int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.state[shard].lost)
}

// takeTurns says who goes first when share jobs are claimed of a shard, the
// newest (1) or the oldest (2), so that they take turns from call to call.
func (s *Shared) takeTurns(shard, share int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state[shard]
	first := 1 + st.turn%2
	st.turn += share
	return first
}

// claimed reads the answer of a claim. Leases that were handed out already are
// left out: they come along when an earlier answer was lost.
func (s *Shared) claimed(shard int, r reply, m moment) ([]Lease, error) {
	if r.err != nil {
		return nil, fmt.Errorf("claim jobs: %w", r.err)
	}
	if r.value == "GATE" {
		return nil, ErrGate
	}
	values, _ := r.value.([]any)
	var got []Lease
	for _, v := range values {
		pair, _ := v.([]any)
		if len(pair) != 2 {
			return nil, fmt.Errorf("claim jobs: %w: %w", ErrUncertain, errAnswer)
		}
		j, err := parseJob(shard, pair[0])
		if err != nil {
			return nil, err
		}
		body, _ := pair[1].(string)
		got = append(got, Lease{j, []byte(body)})
	}
	return slices.DeleteFunc(got, func(l Lease) bool { return !s.leases.adopt(l.Job, m, s.o.Lease) }), nil
}
