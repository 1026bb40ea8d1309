package store

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// A machine that hears late of an erasure keeps the notes that came in there since,
// though the clock of the machine that erased is a day ahead: up to where is said by
// the notes that there were.
func TestFleetEraseHeardLate(t *testing.T) {
	t.Parallel()
	var wall wallClock
	wall.set(24 * time.Hour)
	setup := redistest.Single(t)
	a := joinFleet(t, Options{Path: t.TempDir(), Redis: setup.URL, Wall: wall.now})
	b := joinFleet(t, Options{Path: t.TempDir(), Redis: setup.URL})
	old := []delivery.Note{a.put(t, "101", chainTo("inbox")), b.put(t, "101", chainTo("inbox"))}
	eventually(t, "Redis knows all notes", func() bool { return a.shared.Whole(t.Context(), a.vault.alias("101")) == nil })
	unlock := sync.OnceFunc(b.erasing.Unlock)
	b.erasing.Lock() // which keeps it from hearing
	defer unlock()
	_, err := a.Erase(t.Context(), "101")
	check(t, err)
	later := b.put(t, "101", chainTo("hook"))
	unlock()
	eventually(t, "b erases", func() bool {
		_, err := b.Store.Life(t.Context(), old[1].ID)
		return errors.Is(err, delivery.ErrNotFound)
	})
	finish(t, a, claimOne(t, a), done())
	for _, m := range []*machine{a, b} {
		if thread, err := m.Thread(t.Context(), "101", "", 10); err != nil || len(thread) != 1 || thread[0].ID != later.ID {
			t.Errorf("the thread has %v, %v", ids(thread), err)
		}
	}
}
