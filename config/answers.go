package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// answer is what the service said of a number.
type answer struct {
	mailbox *Mailbox  // nil for none
	entry   []byte    // the mailbox as JSON
	asked   time.Time // when the service said so; zero when it never did
	kept    time.Time // when the memory last got it
}

// fresh says whether the answer counts without asking again.
func (a answer) fresh(within time.Duration) bool {
	if a.mailbox == nil {
		within = min(within, freshNone)
	}
	age := time.Since(a.asked) // negative when the clock was set back: ask again
	return !a.asked.IsZero() && age >= 0 && age < within
}

func (a answer) result() (*Mailbox, error) {
	if a.mailbox == nil {
		return nil, ErrNoMailbox
	}
	return a.mailbox, nil
}

// How many answers this process holds; the memory has them all. Numbers without
// a mailbox are counted apart: who dials them by the thousand displaces nobody.
const (
	maxThere = 100_000
	maxNone  = 10_000
)

// answers are what this process knows. The zero value is ready.
type answers struct {
	mu          sync.Mutex
	there, none map[question]answer
}

func (as *answers) get(q question) (answer, bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if a, ok := as.there[q]; ok {
		return a, true
	}
	a, ok := as.none[q]
	return a, ok
}

// put keeps an answer in place of the one before; where there is no room any
// other goes.
func (as *answers) put(q question, a answer) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.there == nil {
		as.there, as.none = map[question]answer{}, map[question]answer{}
	}
	to, other, most := as.there, as.none, maxThere
	if a.mailbox == nil {
		to, other, most = as.none, as.there, maxNone
	}
	delete(other, q)
	if _, ok := to[q]; !ok && len(to) >= most {
		for old := range to {
			delete(to, old)
			break
		}
	}
	to[q] = a
}

// memoryKey is where the memory has the answer to a question.
func memoryKey(q question) string { return "mailbox " + q.user + "\n" + q.number }

// remembered is an answer as the memory has it.
type remembered struct {
	Asked   time.Time       `json:"asked"`
	Mailbox json.RawMessage `json:"mailbox"`
}

// learn takes an answer over. It returns what is left to be done for the
// memory: nothing, as long as the mailbox is as it was.
func (s *service) learn(q question, a answer) (remember func(context.Context)) {
	before, _ := s.answers.get(q)
	a.kept = before.kept
	switch {
	case a.mailbox == nil && before.mailbox != nil:
		remember = func(ctx context.Context) { s.remembered(s.memory.Delete(ctx, memoryKey(q))) }
	case a.mailbox != nil && (!bytes.Equal(a.entry, before.entry) || a.asked.Sub(a.kept) >= keepAgain):
		a.kept = a.asked
		remember = func(ctx context.Context) { s.remembered(s.keep(ctx, q, a)) }
	default:
		remember = func(context.Context) {}
	}
	s.answers.put(q, a)
	return remember
}

func (s *service) remembered(err error) {
	if err != nil {
		s.log.Warn("what the directory said cannot be kept over a restart", "error", err)
	}
}

func (s *service) keep(ctx context.Context, q question, a answer) error {
	value, err := json.Marshal(remembered{a.asked, a.entry})
	if err != nil {
		return err
	}
	return s.memory.Put(ctx, delivery.Entry{Key: memoryKey(q), Value: value, For: keepAnswer, Mailbox: a.mailbox.Number})
}

// recall is what the memory has; the zero answer for nothing. An answer that no
// longer fits the configuration is none.
func (s *service) recall(ctx context.Context, q question) (a answer, err error) {
	value, err := s.memory.Get(ctx, memoryKey(q))
	if errors.Is(err, delivery.ErrNotFound) {
		return answer{}, nil
	}
	if err != nil {
		return answer{}, err
	}
	var r remembered
	if err := json.Unmarshal(value, &r); err != nil {
		return answer{}, fmt.Errorf("what was kept is no answer: %w", err)
	}
	if a, err = s.read(q, r.Mailbox); err != nil {
		return answer{}, nil //nolint:nilerr // the service is asked, and says what is right now
	}
	a.asked, a.kept = r.Asked, r.Asked
	return a, nil
}
