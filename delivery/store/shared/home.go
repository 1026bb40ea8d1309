package shared

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Message is a change that another machine made to a note of this one.
type Message struct {
	Job     string `json:"job"`   // "" when the note as a whole changed
	Note    string `json:"note"`  // "" for a job that may be anybody's, see Proclaim
	Name    string `json:"name"`  // sending, done, retry, unknown, dead, waiting, returned, redriven; a Said.What, asked for bounced; read, played, erased
	Event   []byte `json:"event"` // as Result.Event or Said.Event had it
	State   State  `json:"state"` // of the job after the change, and so on
	Epoch   int    `json:"epoch"`
	Round   int    `json:"round"`
	Step    int    `json:"step"`
	Attempt int    `json:"attempt"`
	Unknown uint32 `json:"unknown"`
	Waits   int    `json:"waits"`
	Arrived bool   `json:"arrived"`

	At    time.Time `json:"-"` // of the change; by the server's clock, as those that follow
	Next  time.Time `json:"-"`
	First time.Time `json:"-"` // zero for none
}

// UnmarshalJSON reads a message; its times are milliseconds.
func (m *Message) UnmarshalJSON(b []byte) error {
	type plain Message
	var in struct {
		*plain
		At    int64 `json:"at"`
		Next  int64 `json:"next"`
		First int64 `json:"first"`
	}
	in.plain = (*plain)(m)
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	m.At, m.Next = time.UnixMilli(in.At), time.UnixMilli(in.Next)
	if in.First != 0 {
		m.First = time.UnixMilli(in.First)
	}
	return nil
}

// Drain reads what other machines changed of this one's notes, hands it to
// apply, oldest first within a shard, and forgets it once that returned nil. A
// crash in between repeats: apply must bear that. It returns how many there
// were.
func (s *Shared) Drain(ctx context.Context, apply func(context.Context, []Message) error) (int, error) {
	from, err := s.usableShards()
	if err != nil {
		return 0, err
	}
	cmds := make([]command, len(from))
	for i, shard := range from {
		cmds[i] = command{shard: shard, args: []any{"LRANGE", s.homeKey(shard), 0, drainBatch - 1}}
	}
	var errs []error
	total := 0
	for i, r := range s.client.all(ctx, cmds) {
		values, _ := r.value.([]any)
		if r.err != nil || len(values) == 0 {
			errs = append(errs, r.err)
			continue
		}
		err := s.drained(ctx, from[i], values, apply)
		if err == nil {
			total += len(values)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return total, fmt.Errorf("read what other machines did: %w", err)
	}
	return total, nil
}

// drained applies the messages of a shard and trims them.
func (s *Shared) drained(ctx context.Context, shard int, values []any, apply func(context.Context, []Message) error) error {
	messages := make([]Message, 0, len(values))
	for _, v := range values {
		var m Message
		text, _ := v.(string)
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			s.log.Error("a message of another machine cannot be read and is dropped", "error", err)
			continue
		}
		messages = append(messages, m)
	}
	if err := apply(ctx, messages); err != nil {
		return err
	}
	_, err := s.client.do(ctx, command{shard: shard, writes: true, args: []any{"LTRIM", s.homeKey(shard), len(values), -1}})
	return err
}

func (s *Shared) homeKey(shard int) string { return prefix(shard) + "home:" + s.o.Machine }
