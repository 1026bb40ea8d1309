package shared

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// Erasures returns the last erased note of each mailbox that was erased in a
// shard, and their version: ErasureVersion says when to ask again.
func (s *Shared) Erasures(ctx context.Context, shard int) (last map[string]string, err error) {
	if err := s.usable(shard); err != nil {
		return nil, err
	}
	value, err := s.client.do(ctx, command{shard: shard, args: []any{"HGETALL", prefix(shard) + "erasures"}})
	if err != nil {
		return nil, fmt.Errorf("read erasures: %w", err)
	}
	flat, _ := value.([]any)
	last = make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		mailbox, _ := flat[i].(string)
		last[mailbox], _ = flat[i+1].(string)
	}
	return last, nil
}

// Erased is up to which note a mailbox was erased, "" for never.
func (s *Shared) Erased(ctx context.Context, mailbox string) (last string, err error) {
	shard := ShardOf(mailbox)
	if err := s.usable(shard); err != nil {
		return "", err
	}
	value, err := s.client.do(ctx, command{shard: shard, args: []any{"HGET", prefix(shard) + "erasures", mailbox}})
	if err != nil {
		return "", fmt.Errorf("read an erasure: %w", err)
	}
	last, _ = value.(string)
	return last, nil
}

// ErasureVersion is the version of a shard's erasures at the last beat. It
// differs when something was erased since, or when Redis forgot some.
func (s *Shared) ErasureVersion(shard int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%s-%d", s.state[shard].era, s.state[shard].erasing)
}

// Era names what a shard remembers: another one has begun when it differs.
func (s *Shared) Era(shard int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[shard].era
}

// Shown keeps that all notes of this machine are in the shards, whose eras these
// are.
func (s *Shared) Shown(ctx context.Context, eras [Count]string) error {
	cmds := everywhere(s.scripts.shown)
	for shard, era := range eras {
		cmds[shard].args = []any{s.o.Machine, era}
	}
	for _, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return fmt.Errorf("keep that all notes were shown: %w", r.err)
		}
	}
	return nil
}

// Whole says that a mailbox's notes are here as far as the machines that beat have
// them. ErrGate while one of them is yet to tell it or to show them, in the first
// ten minutes of an era.
func (s *Shared) Whole(ctx context.Context, mailbox string) error {
	value, err := s.run(ctx, ShardOf(mailbox), s.scripts.whole, s.o.Machine, showWithin.Milliseconds())
	if err == nil {
		err = refused(value)
	}
	if err != nil {
		return fmt.Errorf("see whether all notes are known: %w", err)
	}
	return nil
}

// EraseApplied keeps that this machine has taken out of its own store what was
// erased in a shard, up to a version as ErasureVersion had it.
func (s *Shared) EraseApplied(ctx context.Context, shard int, version string) error {
	if err := s.usable(shard); err != nil {
		return err
	}
	_, n, _ := strings.Cut(version, "-")
	_, err := s.client.do(ctx, command{shard: shard, writes: true, args: []any{"HSET", prefix(shard) + "applied", s.o.Machine, n}})
	if err != nil {
		return fmt.Errorf("keep that erasures were applied: %w", err)
	}
	return nil
}

// EraseConfirmed counts the other machines that have applied everything that
// was erased in a mailbox's shard until now, and those that have not. homes are
// machines that count though they may have stopped.
func (s *Shared) EraseConfirmed(ctx context.Context, mailbox string, homes []string) (have, not int, err error) {
	shard := ShardOf(mailbox)
	if err := s.usable(shard); err != nil {
		return 0, 0, err
	}
	replies := s.client.all(ctx, []command{
		{shard: shard, args: []any{"GET", prefix(shard) + "erasing"}},
		{shard: shard, args: []any{"HGETALL", prefix(shard) + "applied"}},
		{shard: shard, args: []any{"ZRANGE", prefix(shard) + "machines", 0, -1}},
	})
	for _, r := range replies {
		if r.err != nil {
			return 0, 0, fmt.Errorf("ask who has applied an erasure: %w", r.err)
		}
	}
	text, _ := replies[0].value.(string)
	version, _ := strconv.ParseInt(text, 10, 64) // none is 0
	applied, _ := replies[1].value.([]any)
	upTo := map[string]int64{}
	for i := 0; i+1 < len(applied); i += 2 {
		machine, _ := applied[i].(string)
		text, _ := applied[i+1].(string)
		upTo[machine], _ = strconv.ParseInt(text, 10, 64)
	}
	machines, _ := replies[2].value.([]any)
	all := s.peersAnd(machines)
	for _, home := range homes {
		all[home] = true
	}
	for peer := range all {
		switch {
		case peer == s.o.Machine:
		case upTo[peer] >= version:
			have++
		default:
			not++
		}
	}
	return have, not, nil
}

// peersAnd are the machines that were met, and those of an answer.
func (s *Shared) peersAnd(answer []any) map[string]bool {
	s.mu.Lock()
	all := maps.Clone(s.peers)
	s.mu.Unlock()
	for _, v := range answer {
		machine, _ := v.(string)
		all[machine] = true
	}
	return all
}
