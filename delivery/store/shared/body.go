package shared

import (
	"context"
	"fmt"
)

// Bodies fills in the bodies of some notes, by their ids and mailboxes, as they
// are here: nil for a note that is not.
func (s *Shared) Bodies(ctx context.Context, notes []Publication) error {
	cmds := make([]command, len(notes))
	for i, n := range notes {
		shard := ShardOf(n.Mailbox)
		if err := s.usable(shard); err != nil {
			return err
		}
		cmds[i] = command{shard: shard, args: []any{"HGET", prefix(shard) + "note:" + n.ID, "body"}}
	}
	for i, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return fmt.Errorf("read the bodies of notes: %w", r.err)
		}
		if text, here := r.value.(string); here {
			notes[i].Body = []byte(text)
		}
	}
	return nil
}

// Rebody replaces the bodies of those notes that are here.
func (s *Shared) Rebody(ctx context.Context, notes []Publication) error {
	cmds := make([]command, len(notes))
	for i, n := range notes {
		shard := ShardOf(n.Mailbox)
		if err := s.usable(shard); err != nil {
			return err
		}
		cmds[i] = command{shard: shard, script: s.scripts.rebody, args: []any{n.ID, n.Body}}
	}
	for _, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return fmt.Errorf("replace the bodies of notes: %w", r.err)
		}
	}
	return nil
}
