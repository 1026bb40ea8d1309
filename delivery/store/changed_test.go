package store

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// changes are the mailboxes that a machine says it has changed, in order.
type changes struct {
	mu  sync.Mutex
	all []string
}

func (c *changes) add(mailbox string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, mailbox)
}

// take returns what came since it was asked last.
func (c *changes) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}

// expect fails unless the mailboxes changed, and no others.
func (c *changes) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := c.take(); !slices.Equal(got, want) {
		t.Errorf("%s: %q changed, want %q", when, got, want)
	}
}

// What waits in a mailbox changes with a note, its first marks and its end.
func TestChanged(t *testing.T) { everywhere(t, testChanged) }

func testChanged(t *testing.T, c composition) {
	synctest.Test(t, func(t *testing.T) {
		var changed changes
		o := c.options(t, t.TempDir())
		o.Changed = changed.add
		s := openStore(t, o)
		ctx := t.Context()
		n := newNote("101", "201")
		lease := keep(t, s, n, chainTo("wa:1"))[0]
		changed.expect(t, "a note", "101")
		finish(t, s, lease, delivery.Result{Outcome: delivery.Done})
		changed.expect(t, "delivered")
		check(t, s.Mark(ctx, "101", n.ID, delivery.MarkRead))
		changed.expect(t, "read", "101")
		check(t, s.Mark(ctx, "101", n.ID, delivery.MarkRead))
		changed.expect(t, "read again")
		for _, what := range []delivery.What{delivery.WasDelivered, delivery.WasPlayed, delivery.WasPlayed} {
			_, err := s.Report(ctx, "wa", delivery.Report{Job: lease.Job, What: what}, delivery.Meaning{})
			check(t, err)
		}
		changed.expect(t, "reported as played, twice", "101")

		numbers, err := s.Recipients(ctx)
		if check(t, err); !slices.Equal(numbers, []string{"101"}) {
			t.Errorf("recipients %q", numbers)
		}
		time.Sleep(31 * testDay)
		retire(t, s, keepFor)
		changed.expect(t, "its audio is over", "101")
		keep(t, s, newNote("102", "201"))
		changed.expect(t, "another", "102")
		_, err = s.Erase(ctx, "102")
		check(t, err)
		changed.expect(t, "erased", "102")
		numbers, err = s.Recipients(ctx)
		if check(t, err); !slices.Equal(numbers, []string{"101"}) {
			t.Errorf("recipients %q", numbers)
		}
	})
}

// Of two machines the one that changes what waits says so, whoever keeps the
// note.
func TestFleetChanged(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	var here, there changes
	a := joinFleet(t, Options{Path: t.TempDir(), Redis: setup.URL, Changed: here.add})
	b := joinFleet(t, Options{Path: t.TempDir(), Redis: setup.URL, Changed: there.add})
	first := a.put(t, "101", chainTo("hook"))
	here.expect(t, "a note on a", "101")
	eventually(t, "b has it", func() bool {
		notes, err := b.Thread(t.Context(), "101", "", 9)
		return err == nil && len(notes) == 1
	})
	there.expect(t, "a note on a")
	check(t, b.Mark(t.Context(), "101", first.ID, delivery.MarkPlayed))
	there.expect(t, "marked on b", "101")
	check(t, b.Mark(t.Context(), "101", first.ID, delivery.MarkPlayed))
	there.expect(t, "marked again")
	eventually(t, "a knows", func() bool { return !life(t, a, first.ID).Note.PlayedAt.IsZero() })
	here.expect(t, "marked on b")

	lease := sentBy(t, a, b, delivery.Result{Outcome: delivery.Done})
	here.expect(t, "another note on a", "101")
	_, err := b.Report(t.Context(), "wa", delivery.Report{Job: lease.Job, What: delivery.WasRead}, delivery.Meaning{Settles: true})
	check(t, err)
	eventually(t, "a knows", func() bool { return !life(t, a, lease.Note.ID).Note.ReadAt.IsZero() })
	here.expect(t, "reported on b")
	there.expect(t, "reported on b", "101")

	_, err = b.Erase(t.Context(), "101")
	check(t, err)
	there.expect(t, "erased on b", "101")
}
