package shared

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// beating is how long after its last beat a machine counts as running.
const beating = 10 * time.Second

// Others are the other machines that run now.
func (s *Shared) Others(ctx context.Context) ([]string, error) {
	if err := s.usable(0); err != nil {
		return nil, err
	}
	replies := s.client.all(ctx, []command{
		{args: []any{"TIME"}},
		{args: []any{"ZRANGE", prefix(0) + "machines", 0, -1, "WITHSCORES"}},
	})
	for _, r := range replies {
		if r.err != nil {
			return nil, fmt.Errorf("ask which machines run: %w", r.err)
		}
	}
	clock, _ := replies[0].value.([]any)
	now := int64(0)
	if len(clock) > 0 {
		text, _ := clock[0].(string)
		now, _ = strconv.ParseInt(text, 10, 64) // seconds
	}
	var others []string
	flat, _ := replies[1].value.([]any)
	for i := 0; i+1 < len(flat); i += 2 {
		machine, _ := flat[i].(string)
		text, _ := flat[i+1].(string)
		last, err := strconv.ParseInt(text, 10, 64) // milliseconds
		if err != nil {
			return nil, fmt.Errorf("ask which machines run: %w", err)
		}
		if machine != s.o.Machine && last/1000+int64(beating.Seconds()) >= now {
			others = append(others, machine)
		}
	}
	return others, nil
}

// Withdraw takes notes of this machine and their jobs out of Redis, tombstones
// included, by their ids and mailboxes.
func (s *Shared) Withdraw(ctx context.Context, notes []Publication) error {
	cmds := make([]command, len(notes))
	for i, n := range notes {
		shard := ShardOf(n.Mailbox)
		if err := s.usable(shard); err != nil {
			return err
		}
		cmds[i] = command{shard: shard, script: s.scripts.withdraw, args: []any{s.o.Machine, n.ID}}
	}
	for _, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return fmt.Errorf("withdraw notes: %w", r.err)
		}
	}
	return nil
}

// DropErasure forgets that a mailbox was erased: it is told under another index.
func (s *Shared) DropErasure(ctx context.Context, mailbox string) error {
	shard := ShardOf(mailbox)
	if err := s.usable(shard); err != nil {
		return err
	}
	_, err := s.client.do(ctx, command{shard: shard, writes: true, args: []any{"HDEL", prefix(shard) + "erasures", mailbox}})
	if err != nil {
		return fmt.Errorf("drop an erasure: %w", err)
	}
	return nil
}
