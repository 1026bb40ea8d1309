package shared

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Depth counts jobs by state, over all shards: queued, sending and dead.
func (s *Shared) Depth(ctx context.Context) (map[State]int, error) {
	if err := s.whyDown(); err != nil {
		return nil, err
	}
	depth := map[State]int{Queued: 0, Sending: 0, Dead: 0}
	cmds := make([]command, shards)
	for i := range cmds {
		cmds[i] = command{shard: i, args: []any{"HMGET", prefix(i) + "depth", string(Queued), string(Sending), string(Dead)}}
	}
	for _, r := range s.client.all(ctx, cmds) {
		values, _ := r.value.([]any)
		if r.err != nil || len(values) != len(depth) {
			return nil, fmt.Errorf("count jobs: %w", r.err)
		}
		for i, state := range []State{Queued, Sending, Dead} {
			text, _ := values[i].(string)
			n, _ := strconv.Atoi(text) // none is 0
			depth[state] += n
		}
	}
	return depth, nil
}

// NextDue is when the next head of a thread falls due, or a lease runs out;
// zero when neither is to come.
func (s *Shared) NextDue(ctx context.Context) (time.Time, error) {
	from, err := s.usableShards()
	if err != nil {
		return time.Time{}, err
	}
	cmds := make([]command, len(from))
	for i, shard := range from {
		cmds[i] = command{shard: shard, script: s.scripts.nextDue}
	}
	var next time.Time
	for _, r := range s.client.all(ctx, cmds) {
		ms, ok := r.value.(int64)
		if !ok {
			return time.Time{}, fmt.Errorf("when the next job is due: %w", r.err)
		}
		if at := time.Now().Add(time.Duration(ms) * time.Millisecond); ms >= 0 && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, nil
}
