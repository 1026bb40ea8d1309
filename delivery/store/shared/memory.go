package shared

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Memory is something that a channel remembers, or that it was forgotten. Of
// two changes the later one counts, in whatever order they become known.
type Memory struct {
	Key     string        // a hash: it chooses the shard
	Value   []byte        // opaque; nil when it is gone
	Mailbox string        // the index of whose it is, "" for nobody's
	Note    string        // the id of the note which it comes from, "" for none; not kept
	At      int64         // when it was changed, in milliseconds since 1970
	For     time.Duration // what is left of its time; 0 for good
	Gone    bool          // it was forgotten
	Erased  bool          // with all of its mailbox
}

// gone is Gone and Erased as Redis has them.
func (m Memory) gone() string {
	switch {
	case m.Erased:
		return "erased"
	case m.Gone:
		return "taken"
	}
	return ""
}

// Remember keeps an entry, changed now and after m.At, and returns when that
// was: 0 when it is not kept, because its note was erased.
func (s *Shared) Remember(ctx context.Context, m Memory) (at int64, err error) {
	at, _, err = s.remember(ctx, "put", m)
	return at, err
}

// RememberFirst is Remember unless there is something under the key. added says
// whether there was nothing, and it is kept.
func (s *Shared) RememberFirst(ctx context.Context, m Memory) (at int64, added bool, err error) {
	return s.remember(ctx, "add", m)
}

func (s *Shared) remember(ctx context.Context, how string, m Memory) (at int64, did bool, err error) {
	shard := ShardOf(m.Key)
	if err := s.usable(shard); err != nil {
		return 0, false, err
	}
	value, err := s.client.do(ctx, s.remembering(how, m))
	if err != nil {
		return 0, false, fmt.Errorf("remember: %w", err)
	}
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return 0, false, fmt.Errorf("remember: %w: %w", ErrUncertain, errAnswer)
	}
	at, _ = pair[0].(int64)
	return at, pair[1] == int64(1), nil
}

func (s *Shared) remembering(how string, m Memory) command {
	left := m.For.Milliseconds()
	if m.For > 0 {
		left = max(1, left) // 0 would be for good
	}
	return command{shard: ShardOf(m.Key), script: s.scripts.remember, args: []any{how, m.Key, m.Value, m.Mailbox, m.At, left, m.gone(), m.Note}}
}

// TellMemories makes known what was changed at the times that it says.
func (s *Shared) TellMemories(ctx context.Context, all []Memory) error {
	cmds := make([]command, len(all))
	for i, m := range all {
		if err := s.usable(ShardOf(m.Key)); err != nil {
			return err
		}
		cmds[i] = s.remembering("tell", m)
	}
	var errs []error
	for _, r := range s.client.all(ctx, cmds) {
		errs = append(errs, r.err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tell what channels remember: %w", err)
	}
	return nil
}

// Recall returns an entry, which may be gone. ErrNotFound when nothing is
// known of its key.
func (s *Shared) Recall(ctx context.Context, key string) (m Memory, err error) {
	shard := ShardOf(key)
	if err := s.usable(shard); err != nil {
		return m, err
	}
	replies := s.client.all(ctx, []command{
		{shard: shard, args: []any{"HMGET", prefix(shard) + "memory:" + key, "value", "mailbox", "at", "until", "gone"}},
		{shard: shard, args: []any{"TIME"}},
	})
	for _, r := range replies {
		if r.err != nil {
			return m, fmt.Errorf("recall: %w", r.err)
		}
	}
	fields, clock := texts(replies[0].value), texts(replies[1].value)
	if len(fields) != 5 || len(clock) != 2 {
		return m, fmt.Errorf("recall: %w: %w", ErrUncertain, errAnswer)
	}
	if fields[2] == "" {
		return m, ErrNotFound
	}
	until, now := number(fields[3]), number(clock[0])*1000+number(clock[1])/1000
	if until > 0 && until <= now {
		return m, ErrNotFound
	}
	left := int64(0)
	if until > 0 {
		left = until - now
	}
	return memoryOf(key, fields[0], fields[1], fields[2], strconv.FormatInt(left, 10), fields[4]), nil
}

// Forget takes an entry: of many takers, on whatever machine, one gets its
// value. It was forgotten at a time after the one given. ErrNotFound.
func (s *Shared) Forget(ctx context.Context, key string, after int64) (value []byte, at int64, err error) {
	answer, err := s.run(ctx, ShardOf(key), s.scripts.forget, key, after)
	if err != nil {
		return nil, 0, fmt.Errorf("forget: %w", err)
	}
	pair, _ := answer.([]any)
	if len(pair) != 2 {
		return nil, 0, ErrNotFound
	}
	at, _ = pair[0].(int64)
	text, _ := pair[1].(string)
	return []byte(text), at, nil
}

// Disown forgets all that is remembered of a mailbox, and what its notes up to
// one have yet to be remembered for.
func (s *Shared) Disown(ctx context.Context, mailbox, upto string) error {
	if err := s.whyDown(); err != nil {
		return err
	}
	var errs []error
	for _, r := range s.client.all(ctx, everywhere(s.scripts.disown, mailbox, upto)) {
		errs = append(errs, r.err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("forget what is remembered of a mailbox: %w", err)
	}
	return nil
}

// Changes is how many changes each shard has seen.
func (s *Shared) Changes(ctx context.Context) (changes [Count]int64, err error) {
	if err := s.whyDown(); err != nil {
		return changes, err
	}
	cmds := make([]command, shards)
	for shard := range cmds {
		cmds[shard] = command{shard: shard, args: []any{"GET", prefix(shard) + "remembered"}}
	}
	for shard, r := range s.client.all(ctx, cmds) {
		if r.err != nil {
			return changes, fmt.Errorf("ask what changed in what channels remember: %w", r.err)
		}
		text, _ := r.value.(string)
		changes[shard] = number(text)
	}
	return changes, nil
}

// Recollect returns what changed in a shard after a change, at most limit, and
// the last change of these: the same as after when there is no more.
func (s *Shared) Recollect(ctx context.Context, shard int, after int64, limit int) (changed []Memory, last int64, err error) {
	answer, err := s.run(ctx, shard, s.scripts.recollect, after, limit)
	if err != nil {
		return nil, after, fmt.Errorf("read what channels remember: %w", err)
	}
	list, _ := answer.([]any)
	last = after
	for _, one := range list {
		f := texts(one)
		if len(f) > 0 {
			last = number(f[0])
		}
		if len(f) == 7 { // else its time is over
			changed = append(changed, memoryOf(f[1], f[2], f[3], f[4], f[5], f[6]))
		}
	}
	return changed, last, nil
}

// Unrecord drops entries without a trace, and what is known of mailboxes whose
// memories were forgotten: their machine tells them under other names.
func (s *Shared) Unrecord(ctx context.Context, keys []string) error {
	if err := s.whyDown(); err != nil {
		return err
	}
	byShard := map[int][]any{}
	for _, key := range keys {
		byShard[ShardOf(key)] = append(byShard[ShardOf(key)], key)
	}
	var cmds []command
	for shard := range shards {
		cmds = append(cmds,
			command{shard: shard, writes: true, args: []any{"DEL", prefix(shard) + "forgotten"}},
			command{shard: shard, script: s.scripts.unrecord, args: byShard[shard]})
	}
	var errs []error
	for _, r := range s.client.all(ctx, cmds) {
		errs = append(errs, r.err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take out what channels remember: %w", err)
	}
	return nil
}

func memoryOf(key, value, mailbox, at, left, gone string) Memory {
	return Memory{
		Key: key, Value: []byte(value), Mailbox: mailbox, At: number(at), For: time.Duration(number(left)) * time.Millisecond,
		Gone: gone != "", Erased: gone == "erased",
	}
}

// texts is a list of texts in an answer; what is none is "".
func texts(answer any) []string {
	list, _ := answer.([]any)
	all := make([]string, len(list))
	for i, v := range list {
		all[i], _ = v.(string)
	}
	return all
}

// number is a text of digits; 0 for anything else.
func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
