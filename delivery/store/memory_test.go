package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// remember puts a value that is kept for good.
func remember(tb testing.TB, m delivery.Memory, key, value string) {
	tb.Helper()
	check(tb, m.Put(tb.Context(), delivery.Entry{Key: key, Value: []byte(value)}))
}

// recalls fails unless a value is remembered, "" for none.
func recalls(tb testing.TB, m delivery.Memory, key, want string) {
	tb.Helper()
	got, err := m.Get(tb.Context(), key)
	if string(got) != want || (want == "") != errors.Is(err, delivery.ErrNotFound) || (want != "" && err != nil) {
		tb.Errorf("under %s is %q, %v, want %q", key, got, err, want)
	}
}

func TestMemory(t *testing.T) { everywhere(t, testMemory) }

func testMemory(t *testing.T, c composition) {
	o, ctx := c.options(t, t.TempDir()), t.Context()
	s := c.openWith(t, o)
	m, other := s.Memory("crm"), s.Memory("crm2")
	recalls(t, m, "a", "")
	remember(t, m, "a", "one")
	remember(t, m, "a", "two")
	remember(t, other, "a", "another's")
	recalls(t, m, "a", "two")
	for i, want := range []bool{true, false} {
		if added, err := m.Add(ctx, delivery.Entry{Key: "b", Value: fmt.Append(nil, i)}); added != want || err != nil {
			t.Errorf("added %v, %v", added, err)
		}
	}
	recalls(t, m, "b", "0")
	check(t, m.Delete(ctx, "never there"))
	check(t, m.Delete(ctx, "b"))
	recalls(t, m, "b", "")
	if value, err := m.Take(ctx, "a"); string(value) != "two" || err != nil {
		t.Errorf("took %q, %v", value, err)
	}
	_, err := m.Take(ctx, "a")
	expect(t, err, delivery.ErrNotFound)
	recalls(t, m, "a", "")
	if added, err := m.Add(ctx, delivery.Entry{Key: "a", Value: []byte("three")}); !added || err != nil {
		t.Errorf("added %v, %v", added, err)
	}
	check(t, m.Put(ctx, delivery.Entry{Key: "empty"}))
	if value, err := m.Get(ctx, "empty"); len(value) != 0 || err != nil {
		t.Errorf("an empty value is %q, %v", value, err)
	}
	large := bytes.Repeat([]byte("~"), 1<<20)
	check(t, m.Put(ctx, delivery.Entry{Key: "large", Value: large}))
	check(t, s.Close())

	s = c.openWith(t, o)
	m = s.Memory("crm")
	recalls(t, m, "a", "three")
	recalls(t, m, "b", "")
	recalls(t, s.Memory("crm2"), "a", "another's")
	if value, err := m.Get(ctx, "large"); !bytes.Equal(value, large) || err != nil {
		t.Errorf("a large value has %d bytes, %v", len(value), err)
	}
}

func TestMemoryEnds(t *testing.T) { everywhere(t, testMemoryEnds) }

func testMemoryEnds(t *testing.T, c composition) {
	c.timed(t, func(t *testing.T, soon time.Duration) {
		s := c.open(t)
		defer closeStore(t, s)
		m := s.Memory("crm")
		check(t, m.Put(t.Context(), delivery.Entry{Key: "a", Value: []byte("one"), For: soon}))
		check(t, m.Put(t.Context(), delivery.Entry{Key: "b", Value: []byte("two"), For: time.Hour}))
		recalls(t, m, "a", "one")
		time.Sleep(soon + soon/10) // Redis counts from when it heard
		recalls(t, m, "a", "")
		recalls(t, m, "b", "two")
		_, err := m.Take(t.Context(), "a")
		expect(t, err, delivery.ErrNotFound)
		if added, err := m.Add(t.Context(), delivery.Entry{Key: "a", Value: []byte("anew")}); !added || err != nil {
			t.Errorf("added %v, %v", added, err)
		}
		remember(t, m, "b", "for good")
		recalls(t, m, "a", "anew")
	})
}

// Of many at once, one takes and one adds.
func TestMemoryAtOnce(t *testing.T) { everywhere(t, testMemoryAtOnce) }

func testMemoryAtOnce(t *testing.T, c composition) {
	s := c.open(t)
	oneWins(t, s.Memory("crm"))
}

// rounds is how often oneWins tries.
const rounds = 3

// oneWins lets 20 add and then 20 take at the same time, spread over memories
// that are to be one.
func oneWins(t *testing.T, memories ...delivery.Memory) {
	t.Helper()
	for round := range rounds {
		key := fmt.Sprint("round ", round)
		var added, taken atomic.Int32
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if ok, err := memories[i%len(memories)].Add(t.Context(), delivery.Entry{Key: key, Value: []byte("one")}); err != nil {
					t.Error(err)
				} else if ok {
					added.Add(1)
				}
			})
		}
		all.Wait()
		for i := range 20 {
			all.Go(func() {
				value, err := memories[i%len(memories)].Take(t.Context(), key)
				switch {
				case err == nil && string(value) == "one":
					taken.Add(1)
				case !errors.Is(err, delivery.ErrNotFound):
					t.Errorf("took %q, %v", value, err)
				}
			})
		}
		all.Wait()
		if added.Load() != 1 || taken.Load() != 1 {
			t.Errorf("%d added, %d took", added.Load(), taken.Load())
		}
	}
}

func TestChats(t *testing.T) { everywhere(t, testChats) }

func testChats(t *testing.T, c composition) {
	s := c.open(t)
	chats := delivery.NewChats(s.Memory("crm"))
	for _, mailbox := range []string{"101", "102"} {
		code, _, err := chats.Code(t.Context(), mailbox)
		check(t, err)
		linked, err := chats.Link(t.Context(), code, "family")
		if linked != mailbox || err != nil {
			t.Errorf("linked %q, %v", linked, err)
		}
		_, err = chats.Link(t.Context(), code, "elsewhere")
		expect(t, err, delivery.ErrNotFound)
	}
	if address, err := chats.Of(t.Context(), "102"); address != "family" || err != nil {
		t.Errorf("linked to %q, %v", address, err)
	}
	if n, err := chats.Unlink(t.Context(), "family"); n != 2 || err != nil {
		t.Errorf("unlinked %d, %v", n, err)
	}
	_, err := chats.Of(t.Context(), "102")
	expect(t, err, delivery.ErrNotFound)
}

// Retention takes what is over, and what was forgotten long ago.
func TestMemoryIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Path: t.TempDir()})
		defer closeStore(t, s)
		m := s.Memory("crm")
		_, err := write(t.Context(), s, func(tx *txn) (any, error) {
			for i := range 2*removeBatch + 1 {
				r := remembered{key: fmt.Sprint(i), at: 1, until: s.Now().Add(time.Hour)}
				if err := tx.remember(s.box, r, false); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		check(t, err)
		remember(t, m, "stays", "one")
		remember(t, m, "goes", "one")
		check(t, m.Delete(t.Context(), "goes"))
		for _, step := range []struct {
			wait time.Duration
			rows int
		}{{0, 2*removeBatch + 3}, {time.Hour, 2}, {forgottenFor, 1}} {
			time.Sleep(step.wait)
			_, err := s.Retire(t.Context(), func(string) delivery.Retention { return delivery.Retention{} })
			check(t, err)
			var rows int
			check(t, s.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM memory").Scan(&rows))
			if rows != step.rows {
				t.Errorf("%d rows, want %d", rows, step.rows)
			}
		}
		recalls(t, m, "stays", "one")
	})
}

// A clock that is set back while the gateway is off makes nothing last longer,
// one that is set forth brings nothing back.
func TestMemoryAndTheClock(t *testing.T) {
	for name, tt := range map[string]struct {
		set, off time.Duration
		there    bool
		left     time.Duration
	}{
		"left alone":      {0, time.Minute, true, 59 * time.Minute},
		"set back a year": {-year, 0, true, time.Hour},
		"set forth a day": {25 * time.Hour, 0, false, 0},
		"off too long":    {0, 2 * time.Hour, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, path, wall := compositions()[0], t.TempDir(), &wallClock{}
				s := c.openBy(t, path, wall)
				check(t, s.Memory("crm").Put(t.Context(), delivery.Entry{Key: "a", Value: []byte("one"), For: time.Hour}))
				check(t, s.Close())
				time.Sleep(tt.off)
				wall.set(tt.set)
				s = c.openBy(t, path, wall)
				defer closeStore(t, s)
				recalls(t, s.Memory("crm"), "a", map[bool]string{true: "one"}[tt.there])
				time.Sleep(max(0, tt.left-time.Second))
				recalls(t, s.Memory("crm"), "a", map[bool]string{true: "one"}[tt.there])
				time.Sleep(time.Second)
				recalls(t, s.Memory("crm"), "a", "")
			})
		})
	}
}

// A store in clear that is sealed remembers the same, and nothing of it is left
// in clear; so does one whose keys were turned.
func TestMemoryIsSealed(t *testing.T) {
	path := t.TempDir()
	s := openStore(t, Options{Path: path})
	m := s.Memory("front-office")
	check(t, m.Put(t.Context(), delivery.Entry{Key: "window of +4930777", Value: []byte("open for Quentin"), Mailbox: "101"}))
	remember(t, m, "gone", "Quentin again")
	check(t, m.Delete(t.Context(), "gone"))
	check(t, s.Close())
	words := []string{"+4930777", "Quentin", "front-office"}
	if found := inClear(t, path, words[1:2]); len(found) == 0 {
		t.Fatal("the search finds nothing in clear")
	}
	s = openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+testKey)})
	recalls(t, s.Memory("front-office"), "window of +4930777", "open for Quentin")
	recalls(t, s.Memory("front-office"), "gone", "")
	remember(t, s.Memory("front-office"), "more", "of Quentin")
	rotateAll(t, s, testIndex+otherKey+testKey)
	recalls(t, s.Memory("front-office"), "more", "of Quentin")
	check(t, s.Close())
	if found := inClear(t, path, words); len(found) > 0 {
		t.Errorf("in clear: %q", found)
	}
	s = openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+otherKey)})
	recalls(t, s.Memory("front-office"), "window of +4930777", "open for Quentin")
	recalls(t, s.Memory("front-office"), "more", "of Quentin")
	_, err := s.Erase(t.Context(), "101")
	check(t, err)
	recalls(t, s.Memory("front-office"), "window of +4930777", "")
	recalls(t, s.Memory("front-office"), "more", "of Quentin")
}

// A value belongs under its key: in the place of another it does not open.
func TestMemoryIsNotMoved(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir(), KeyFile: writeKeys(t, testIndex+testKey)})
	m := s.Memory("crm")
	remember(t, m, "a", "one")
	remember(t, m, "b", "two")
	_, err := write(t.Context(), s, func(tx *txn) (any, error) {
		return tx.exec("UPDATE memory SET value = (SELECT value FROM memory WHERE key = ?) WHERE key = ?",
			s.vault.memoryKey("crm", "a"), s.vault.memoryKey("crm", "b"))
	})
	check(t, err)
	_, err = m.Get(t.Context(), "b")
	expect(t, err, errSealed)
}
