package shared

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"
)

// Note is a note as Redis has it.
type Note struct {
	ID      string
	Mailbox string
	Home    string
	Body    []byte
	Read    time.Time // zero while unread; by the server's clock
	Played  time.Time
}

// noteFields are what parseNote reads.
func noteFields(shard int, id string) command {
	return command{shard: shard, args: []any{"HMGET", prefix(shard) + "note:" + id, "mailbox", "home", "body", "read", "played"}}
}

// parseNote reads noteFields; false when there is no such note.
func parseNote(id string, value any) (Note, bool) {
	values, _ := value.([]any)
	text := make([]string, 5)
	for i := range min(len(values), len(text)) {
		text[i], _ = values[i].(string)
	}
	instant := func(s string) time.Time {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return time.Time{}
		}
		return time.UnixMilli(ms)
	}
	return Note{id, text[0], text[1], []byte(text[2]), instant(text[3]), instant(text[4])}, text[0] != ""
}

// Note finds a note by its id alone. ErrNotFound.
func (s *Shared) Note(ctx context.Context, id string) (Note, error) {
	in, err := s.usableShards()
	if err != nil {
		return Note{}, err
	}
	cmds := make([]command, len(in))
	for i, shard := range in {
		cmds[i] = noteFields(shard, id)
	}
	away := s.whyDown() // it may lie in a shard that was not asked
	for _, r := range s.client.all(ctx, cmds) {
		if n, ok := parseNote(id, r.value); ok {
			return n, nil
		}
		away = cmp.Or(away, r.err)
	}
	if away != nil {
		return Note{}, fmt.Errorf("find note %s: %w", id, away)
	}
	return Note{}, ErrNotFound
}

// Missing returns those of some notes, by their ids and mailboxes, that are not
// here.
func (s *Shared) Missing(ctx context.Context, notes []Publication) (missing []Publication, err error) {
	cmds := make([]command, len(notes))
	for i, n := range notes {
		shard := ShardOf(n.Mailbox)
		if err := s.usable(shard); err != nil {
			return nil, err
		}
		cmds[i] = command{shard: shard, args: []any{"EXISTS", prefix(shard) + "note:" + n.ID}}
	}
	for i, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return nil, fmt.Errorf("look for notes: %w", r.err)
		}
		if r.value == int64(0) {
			missing = append(missing, notes[i])
		}
	}
	return missing, nil
}

// Audio is the file of a note. ErrNotFound when it has none, or no longer.
func (s *Shared) Audio(ctx context.Context, mailbox, id string) ([]byte, error) {
	v, err := s.get(ctx, ShardOf(mailbox), "audio:"+id)
	if err != nil {
		return nil, fmt.Errorf("the audio of note %s: %w", id, err)
	}
	return v, nil
}

// Thread returns a mailbox's notes, newest first, at most limit, older than
// the id before ("" for all).
func (s *Shared) Thread(ctx context.Context, mailbox, before string, limit int) ([]Note, error) {
	shard := ShardOf(mailbox)
	if err := s.usable(shard); err != nil {
		return nil, err
	}
	from := "+"
	if before != "" {
		from = "(" + before
	}
	value, err := s.client.do(ctx, command{shard: shard, args: []any{
		"ZRANGE", prefix(shard) + "inbox:" + mailbox, from, "-", "BYLEX", "REV", "LIMIT", 0, limit,
	}})
	if err != nil {
		return nil, fmt.Errorf("read a thread: %w", err)
	}
	ids, _ := value.([]any)
	cmds := make([]command, len(ids))
	for i, id := range ids {
		text, _ := id.(string)
		cmds[i] = noteFields(shard, text)
	}
	var notes []Note
	for i, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return nil, fmt.Errorf("read a thread: %w", r.err)
		}
		id, _ := ids[i].(string)
		if n, ok := parseNote(id, r.value); ok { // else it went meanwhile
			notes = append(notes, n)
		}
	}
	return notes, nil
}

// Mark keeps that a note was "read" or "played", and says whether that was the
// first time. ErrNotFound when the mailbox has no such note.
func (s *Shared) Mark(ctx context.Context, mailbox, id, what string) (first bool, err error) {
	if what != "read" && what != "played" {
		return false, fmt.Errorf("no such mark %q", what)
	}
	value, err := s.run(ctx, ShardOf(mailbox), s.scripts.mark, s.o.Machine, id, what, mailbox)
	if err == nil {
		err = refused(value)
	}
	if err != nil {
		return false, fmt.Errorf("mark note %s: %w", id, err)
	}
	return value == int64(1), nil
}

// Jobs are the jobs of a note as they stand; of one that is delivered or erased
// little more than that is known. ErrNotFound.
func (s *Shared) Jobs(ctx context.Context, mailbox, id string) ([]Job, error) {
	shard := ShardOf(mailbox)
	value, err := s.run(ctx, shard, s.scripts.jobs, id)
	if err == nil {
		err = refused(value)
	}
	if err != nil {
		return nil, fmt.Errorf("the jobs of note %s: %w", id, err)
	}
	return parseJobs(shard, value)
}

// Redrive queues dead jobs of a note again, all of them when none is named,
// and returns them. ErrNotFound when the note is not here: publish it again,
// with one Round more.
func (s *Shared) Redrive(ctx context.Context, mailbox, id string, jobs ...string) ([]Job, error) {
	args := []any{s.o.Machine, id}
	for _, job := range jobs {
		args = append(args, job)
	}
	shard := ShardOf(mailbox)
	value, err := s.run(ctx, shard, s.scripts.redrive, args...)
	if err == nil {
		err = refused(value)
	}
	if err != nil {
		return nil, fmt.Errorf("redrive note %s: %w", id, err)
	}
	poke(s.wake)
	return parseJobs(shard, value)
}

// Erase forgets a mailbox's notes up to the id last, those that another
// machine has yet to publish included, and says how many were here. Their homes
// are told; what a machine missed is in Erasures. Notes that outlived an erasure
// up to last or later stay, see Publication.Outlives.
func (s *Shared) Erase(ctx context.Context, mailbox, last string) (int, error) {
	total := 0
	for {
		value, err := s.run(ctx, ShardOf(mailbox), s.scripts.erase, s.o.Machine, mailbox, last, eraseBatch)
		if err != nil {
			return total, fmt.Errorf("erase a mailbox: %w", err)
		}
		n, _ := value.(int64)
		total += int(n)
		if n < eraseBatch {
			return total, nil
		}
	}
}

// Retire drops a note's audio, or all of it: its home no longer keeps it.
// ErrBusy while a job of it has not ended.
func (s *Shared) Retire(ctx context.Context, mailbox, id string, audioOnly bool) error {
	what := "note"
	if audioOnly {
		what = "audio"
	}
	value, err := s.run(ctx, ShardOf(mailbox), s.scripts.retire, id, what)
	if err == nil {
		err = refused(value)
	}
	if err != nil {
		return fmt.Errorf("retire note %s: %w", id, err)
	}
	return nil
}

// get reads a value. ErrNotFound.
func (s *Shared) get(ctx context.Context, shard int, key string) ([]byte, error) {
	if err := s.usable(shard); err != nil {
		return nil, err
	}
	value, err := s.client.do(ctx, command{shard: shard, args: []any{"GET", prefix(shard) + key}})
	if err != nil {
		return nil, err
	}
	v, ok := value.(string)
	if !ok {
		return nil, ErrNotFound
	}
	return []byte(v), nil
}
