package shared

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
	Audio   bool // its file is here as well
}

// noteReads is how many commands readNote is.
const noteReads = 2

// readNote asks for a note.
func readNote(shard int, id string) []command {
	return []command{
		{shard: shard, args: []any{"HMGET", prefix(shard) + "note:" + id, "mailbox", "home", "body", "read", "played"}},
		{shard: shard, args: []any{"EXISTS", prefix(shard) + "audio:" + id}},
	}
}

// parseNote reads the answers to readNote; false when there is no such note.
func parseNote(id string, replies []reply) (n Note, there bool, err error) {
	for _, r := range replies {
		if r.err != nil {
			return n, false, r.err
		}
	}
	values, _ := replies[0].value.([]any)
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
	n = Note{id, text[0], text[1], []byte(text[2]), instant(text[3]), instant(text[4]), replies[1].value == int64(1)}
	return n, n.Mailbox != "", nil
}

// Note finds a note by its id alone. ErrNotFound.
func (s *Shared) Note(ctx context.Context, id string) (Note, error) {
	in, err := s.usableShards()
	if err != nil {
		return Note{}, err
	}
	var cmds []command
	for _, shard := range in {
		cmds = append(cmds, readNote(shard, id)...)
	}
	away := s.whyDown() // it may lie in a shard that was not asked
	for replies := range slices.Chunk(s.client.all(ctx, cmds), noteReads) {
		n, there, err := parseNote(id, replies)
		if there {
			return n, nil
		}
		away = cmp.Or(away, err)
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
	found, _ := value.([]any)
	ids := make([]string, len(found))
	var cmds []command
	for i := range found {
		ids[i], _ = found[i].(string)
		cmds = append(cmds, readNote(shard, ids[i])...)
	}
	replies := s.client.all(ctx, cmds)
	var notes []Note
	for i, id := range ids {
		n, there, err := parseNote(id, replies[i*noteReads:][:noteReads])
		if err != nil {
			return nil, fmt.Errorf("read a thread: %w", err)
		}
		if there { // else it went meanwhile
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

// Retirement is a note that its home no longer keeps.
type Retirement struct {
	ID, Mailbox string
	AudioOnly   bool // the rest stays
}

// Retire drops the audio of notes, or all of them, in one round trip, and
// answers for each: ErrBusy while a job of it has not ended. A note that is not
// here is no error.
func (s *Shared) Retire(ctx context.Context, notes []Retirement) []error {
	errs := make([]error, len(notes))
	var (
		cmds []command
		of   []int // each command's note
	)
	for i, n := range notes {
		shard := ShardOf(n.Mailbox)
		if errs[i] = s.usable(shard); errs[i] != nil {
			continue
		}
		what := "note"
		if n.AudioOnly {
			what = "audio"
		}
		cmds, of = append(cmds, command{shard: shard, script: s.scripts.retire, args: []any{n.ID, what}}), append(of, i)
	}
	for i, r := range s.client.all(ctx, cmds) {
		if r.err == nil {
			r.err = refused(r.value)
		}
		if r.err != nil {
			errs[of[i]] = fmt.Errorf("retire note %s: %w", notes[of[i]].ID, r.err)
		}
	}
	return errs
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
