package store

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// composition is a way to put a store together. The suite runs over all of them.
type composition struct {
	name    string
	options func(tb testing.TB, path string) Options // of a store at path, the same each time
	fleet   bool                                     // with Redis on top: see fleet_test.go
}

// keeper is a store in a test that runs over the fleet as well.
type keeper interface {
	delivery.Drafts
	delivery.Queue
	delivery.Notes
	delivery.Inbox
	delivery.Links
	Memory(channel string) delivery.Memory
	Now() time.Time
	Close() error
}

// open opens a new store.
func (c composition) open(tb testing.TB) keeper {
	tb.Helper()
	return c.openWith(tb, c.options(tb, tb.TempDir()))
}

func (c composition) openWith(tb testing.TB, o Options) keeper {
	tb.Helper()
	if c.fleet {
		return joinFleet(tb, o)
	}
	return openStore(tb, o)
}

// timed runs a test that waits: over the fleet as long as it says, else for no
// time at all. soon is what it should wait for.
func (c composition) timed(t *testing.T, test func(t *testing.T, soon time.Duration)) {
	t.Helper()
	if c.fleet {
		test(t, 3*time.Second)
		return
	}
	synctest.Test(t, func(t *testing.T) { test(t, 5*time.Second) })
}

// inner is a draft as the embedded store has it.
func inner(d delivery.Draft) *draft {
	if f, ok := d.(fleetDraft); ok {
		return f.draft
	}
	return d.(*draft)
}

// embedded is the store on this machine's disk.
func embedded(k keeper) *Store {
	switch s := k.(type) {
	case *Fleet:
		return s.Store
	case *machine:
		return s.Store
	}
	return k.(*Store)
}

func compositions() []composition {
	return []composition{
		{name: "clear", options: func(_ testing.TB, path string) Options { return Options{Path: path} }},
		{name: "sealed", options: func(tb testing.TB, path string) Options {
			tb.Helper()
			return Options{Path: path, KeyFile: writeKeys(tb, testIndex+testKey)}
		}},
	}
}

// everywhere runs a test over every composition.
func everywhere(t *testing.T, test func(*testing.T, composition)) {
	t.Helper()
	for _, c := range compositions() {
		t.Run(c.name, func(t *testing.T) { test(t, c) })
	}
}

// benchEverywhere runs a benchmark over every composition.
func benchEverywhere(b *testing.B, bench func(*testing.B, composition)) {
	b.Helper()
	for _, c := range compositions() {
		b.Run(c.name, func(b *testing.B) { bench(b, c) })
	}
}

// openAt opens the store at path with the real disk.
func (c composition) openAt(tb testing.TB, path string) *Store {
	tb.Helper()
	return openStore(tb, c.options(tb, path))
}

func openStore(tb testing.TB, o Options) *Store {
	tb.Helper()
	s, err := Open(o, quiet())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeStore(tb, s) })
	return s
}
