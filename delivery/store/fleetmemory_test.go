package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// knows waits until a machine's own store has a value, "" for none.
func (m *machine) knows(t *testing.T, key, want string) {
	t.Helper()
	eventually(t, "it is known here: "+key, func() bool {
		got, err := m.Store.Memory("crm").Get(t.Context(), key)
		return string(got) == want && (want == "") == errors.Is(err, delivery.ErrNotFound)
	})
}

// notices waits until both machines know that Redis is away, or back.
func (p duo) notices(t *testing.T, up bool) {
	t.Helper()
	eventually(t, "both notice", func() bool { return p.a.shared.Up() == up && p.b.shared.Up() == up })
}

// What one machine remembers is known on the other at once, and kept by both.
func TestFleetMemory(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a.Memory("crm"), p.b.Memory("crm")
		remember(t, a, "a", "one")
		recalls(t, b, "a", "one")
		p.b.knows(t, "a", "one")
		remember(t, b, "a", "two")
		recalls(t, a, "a", "two")
		p.a.knows(t, "a", "two")
		check(t, b.Delete(t.Context(), "a"))
		recalls(t, a, "a", "")
		p.a.knows(t, "a", "")
		oneWins(t, a, b)
		check(t, a.Put(t.Context(), delivery.Entry{Key: "ends", Value: []byte("soon"), For: 5 * time.Second}))
		recalls(t, b, "ends", "soon")
		for _, m := range []delivery.Memory{a, b} {
			eventually(t, "its time is over", func() bool {
				_, err := m.Get(t.Context(), "ends")
				return errors.Is(err, delivery.ErrNotFound)
			})
		}

		// Redis forgets; what was forgotten before stays so.
		remember(t, a, "kept", "by a")
		p.b.knows(t, "kept", "by a")
		for round := range rounds {
			p.a.knows(t, fmt.Sprint("round ", round), "")
			p.b.knows(t, fmt.Sprint("round ", round), "")
		}
		p.setup.Flush()
		recalls(t, b, "kept", "by a")
		recalls(t, b, "a", "")
		eventually(t, "it is told again", func() bool {
			m, err := p.a.shared.Recall(t.Context(), p.a.vault.memoryKey("crm", "kept"))
			return err == nil && !m.Gone
		})
		recalls(t, a, "kept", "by a")
		oneWins(t, a, b)
	})
}

// While Redis is away each machine goes on with what it knows, and what was
// changed is told when it is back: the later change stands.
func TestFleetMemoryApart(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a.Memory("crm"), p.b.Memory("crm")
		for _, key := range []string{"stays", "changes", "goes", "taken"} {
			remember(t, a, key, "before")
			p.b.knows(t, key, "before")
		}
		p.setup.Servers[0].Kill()
		p.notices(t, false)
		recalls(t, b, "stays", "before")
		remember(t, a, "changes", "by a")
		time.Sleep(2 * time.Millisecond)
		remember(t, b, "changes", "by b, later")
		check(t, b.Delete(t.Context(), "goes"))
		remember(t, a, "new", "by a")
		if value, err := a.Take(t.Context(), "taken"); string(value) != "before" || err != nil {
			t.Errorf("took %q, %v", value, err)
		}
		if added, err := b.Add(t.Context(), delivery.Entry{Key: "stays"}); added || err != nil {
			t.Errorf("added %v, %v", added, err)
		}
		recalls(t, a, "changes", "by a")
		recalls(t, b, "new", "")
		p.setup.Servers[0].Start()
		p.notices(t, true)
		for _, m := range []*machine{p.a, p.b} {
			for key, want := range map[string]string{"stays": "before", "changes": "by b, later", "goes": "", "new": "by a", "taken": ""} {
				m.knows(t, key, want)
				recalls(t, m.Memory("crm"), key, want)
			}
		}
		oneWins(t, a, b)
	})
}

// A Redis that is full is read and told nothing more.
func TestFleetMemoryOfAFullRedis(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	remember(t, a.Memory("crm"), "a", "one")
	b.knows(t, "a", "one")
	setup.Servers[0].Do("CONFIG SET maxmemory 1")
	remember(t, a.Memory("crm"), "b", "two")
	recalls(t, a.Memory("crm"), "b", "two")
	recalls(t, b.Memory("crm"), "a", "one")
	if value, err := b.Memory("crm").Take(t.Context(), "a"); string(value) != "one" || err != nil {
		t.Errorf("took %q, %v", value, err)
	}
	recalls(t, a.Memory("crm"), "a", "")
	a.knows(t, "a", "")
	setup.Servers[0].Do("CONFIG SET maxmemory 0")
	b.knows(t, "b", "two")
}

// A machine that comes to the others, or back to them, takes over all of it,
// page by page.
func TestFleetMemoryOfANewMachine(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	options := func() Options { return Options{Path: t.TempDir(), Redis: setup.URL} }
	a := joinFleet(t, options())
	const many = memoryPage + 50
	var keys []string // of one shard
	for i := 0; len(keys) < many; i++ {
		if key := fmt.Sprint(i); shared.ShardOf(a.vault.memoryKey("crm", key)) == 3 {
			keys = append(keys, key)
		}
	}
	_, err := write(t.Context(), a.Store, func(tx *txn) (any, error) { // as while Redis is away
		for i, key := range keys {
			r := remembered{key: a.vault.memoryKey("crm", key), value: []byte("one"), at: a.Now().UnixMilli() + int64(i)}
			if err := tx.remember(a.box, r, false); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	check(t, err)
	o := options()
	b := joinFleet(t, o)
	eventually(t, "all is known", func() bool { return b.count(t, "memory WHERE told = 1") == many })
	check(t, b.Close())
	check(t, a.Memory("crm").Delete(t.Context(), keys[7]))
	b = joinFleet(t, o)
	b.knows(t, keys[7], "")
	setup.Flush()
	eventually(t, "all is told again", func() bool {
		changes, err := b.shared.Changes(t.Context())
		return err == nil && changes[3] >= many
	})
	recalls(t, b.Memory("crm"), keys[7], "")
	recalls(t, b.Memory("crm"), keys[8], "one")
}

// What is erased on one machine is forgotten on all, also what another one was
// yet to tell.
func TestFleetMemoryIsErased(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		const mailbox = "+4930555002"
		put := func(m *machine, key, mailbox string) {
			t.Helper()
			check(t, m.Memory("crm").Put(t.Context(), delivery.Entry{Key: key, Value: []byte("of " + mailbox), Mailbox: mailbox}))
		}
		for _, again := range []bool{false, true} { // the second time without a note in between
			put(p.a, "a", mailbox)
			put(p.b, "b", mailbox)
			put(p.b, "other", "102")
			p.a.knows(t, "b", "of "+mailbox)
			p.b.knows(t, "a", "of "+mailbox)
			late := remembered{key: p.b.vault.memoryKey("crm", "late"), mailbox: p.b.vault.alias(mailbox), value: []byte("of " + mailbox), at: p.b.Now().UnixMilli() - 1}
			_, err := p.a.Erase(t.Context(), mailbox)
			check(t, err)
			check(t, p.b.shared.TellMemories(t.Context(), []shared.Memory{p.b.forAll(late)}))
			for _, m := range []*machine{p.a, p.b} {
				for _, key := range []string{"a", "b", "late"} {
					recalls(t, m.Memory("crm"), key, "")
					m.knows(t, key, "")
				}
				recalls(t, m.Memory("crm"), "other", "of 102")
				eventually(t, "no byte is left", func() bool { return len(inClear(t, m.path, []string{"of " + mailbox})) == 0 })
			}
			if again {
				continue
			}
			p.setup.Flush()
			p.notices(t, true)
			for _, m := range []*machine{p.a, p.b} {
				recalls(t, m.Memory("crm"), "a", "")
				recalls(t, m.Memory("crm"), "other", "of 102")
			}
		}
	})
}

// What two machines in clear remember is sealed with the rest, on their disks
// and in Redis.
func TestFleetMemoryIsSealed(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t, "appendonly yes")
	paths := []string{t.TempDir(), t.TempDir()}
	options := func(i int, keys string) Options {
		o := Options{Path: paths[i], Redis: setup.URL}
		if keys != "" {
			o.KeyFile = writeKeys(t, keys)
		}
		return o
	}
	a, b := joinFleet(t, options(0, "")), joinFleet(t, options(1, ""))
	check(t, a.Memory("crm").Put(t.Context(), delivery.Entry{Key: "by a", Value: []byte("of Quentin"), Mailbox: "101"}))
	remember(t, b.Memory("crm"), "by b", "of Quentin")
	check(t, b.Memory("crm").Delete(t.Context(), "by b"))
	b.knows(t, "by a", "of Quentin")
	clearKey := a.vault.memoryKey("crm", "by a")
	if found := leftOver(t, setup, []string{"of Quentin", clearKey}, paths...); len(found) < 3 {
		t.Fatalf("the search finds only %q in clear", found)
	}
	check(t, a.Close())
	check(t, b.Close())
	a, b = joinFleet(t, options(0, testIndex+testKey)), joinFleet(t, options(1, testIndex+testKey))
	for _, m := range []*machine{a, b} {
		recalls(t, m.Memory("crm"), "by a", "of Quentin")
		m.knows(t, "by b", "")
	}
	remember(t, a.Memory("crm"), "more", "of Quentin")
	b.knows(t, "more", "of Quentin")
	if found := leftOver(t, setup, []string{"of Quentin", clearKey}, paths...); len(found) > 0 {
		t.Errorf("in clear: %q", found)
	}
}

// After an erasure no byte of what a channel remembered is found: on the disks
// of both machines, in Redis' dump and its append-only file.
func TestFleetMemoryLeavesNoBytes(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t, "appendonly yes")
	a, b := pair(t, setup, 0)
	const mailbox = "+4930555003"
	code, _, err := delivery.NewChats(a.Memory("crm")).Code(t.Context(), mailbox)
	check(t, err)
	_, err = delivery.NewChats(b.Memory("crm")).Link(t.Context(), code, "chat of Wilhelmina")
	check(t, err)
	check(t, b.Memory("crm").Put(t.Context(), delivery.Entry{Key: "window of Wilhelmina", Value: []byte("open for " + mailbox), Mailbox: mailbox}))
	a.put(t, mailbox, chainTo("inbox"))
	a.knows(t, "window of Wilhelmina", "open for "+mailbox)
	words := []string{mailbox, "Wilhelmina"}
	if found := leftOver(t, setup, words, a.path, b.path); len(found) < 2*len(words) {
		t.Fatalf("before, the search finds only %q", found)
	}
	_, err = b.Erase(t.Context(), mailbox)
	check(t, err)
	if found := leftOver(t, setup, words, a.path, b.path); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	_, err = delivery.NewChats(a.Memory("crm")).Of(t.Context(), mailbox)
	expect(t, err, delivery.ErrNotFound)
}

// A machine that sends another one's note while that is erased tells nobody of
// it afterwards.
func TestFleetEraseBesideASend(t *testing.T) {
	t.Parallel()
	a, b := pair(t, redistest.Single(t), 0)
	l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
	e := delivery.Entry{Key: "job", Value: []byte("of 101"), Mailbox: "101", Note: l.Note.ID}
	for range 2 { // the second time without a note in between
		_, err := a.Erase(t.Context(), "101")
		check(t, err)
		check(t, b.Memory("crm").Put(t.Context(), e))
		for _, m := range []*machine{a, b} {
			recalls(t, m.Memory("crm"), "job", "")
			if m.count(t, "memory") != 0 {
				t.Error("it is on a disk")
			}
		}
		_, err = b.shared.Recall(t.Context(), b.vault.memoryKey("crm", "job"))
		expect(t, err, shared.ErrNotFound)
	}
	e.Note = keep(t, a, newNote("101", "201"), chainTo("crm"))[0].Note.ID
	check(t, b.Memory("crm").Put(t.Context(), e))
	recalls(t, a.Memory("crm"), "job", "of 101")
}
