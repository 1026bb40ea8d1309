package store

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// duo is two machines of one fleet.
type duo struct {
	setup   *redistest.Setup
	options func(path string) Options
	a, b    *machine
}

// onDuos runs a test over two machines, in clear and sealed.
func onDuos(t *testing.T, test func(*testing.T, duo)) {
	t.Helper()
	for _, c := range []struct{ name, keys string }{{"clear", ""}, {"sealed", testIndex + testKey}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := duo{setup: redistest.Single(t)}
			p.options = func(path string) Options {
				o := Options{Path: path, Redis: p.setup.URL}
				if c.keys != "" {
					o.KeyFile = writeKeys(t, c.keys)
				}
				return o
			}
			p.a, p.b = joinFleet(t, p.options(t.TempDir())), joinFleet(t, p.options(t.TempDir()))
			test(t, p)
		})
	}
}

// put keeps a note of a mailbox on a machine, which tells the others of it.
func (m *machine) put(t *testing.T, mailbox string, chains ...delivery.Chain) delivery.Note {
	t.Helper()
	n := newNote(mailbox, "+491705550101")
	for _, l := range keep(t, m, n, chains...) {
		check(t, m.Release(t.Context(), l))
	}
	row, err := m.note(t.Context(), n.ID)
	check(t, err)
	return row.Note
}

// expect fails unless err is want.
func expect(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("got %v, want %v", err, want)
	}
}

func ids(notes []delivery.Note) (all []string) {
	for _, n := range notes {
		all = append(all, n.ID)
	}
	return all
}

// A note that was held up for longer than any call is shown to the others too.
func TestFleetShowsAHeldNote(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		sees := func(id string) {
			t.Helper()
			eventually(t, "b sees the note", func() bool {
				notes, err := p.b.Thread(t.Context(), "101", "", 10)
				return err == nil && slices.Contains(ids(notes), id)
			})
		}
		sees(p.a.put(t, "101").ID)
		held := newNote("101", "+491705550101")
		held.ID = delivery.FirstID(time.Now().Add(-3 * time.Hour))[:25] + "g"
		keep(t, p.a, held)
		sees(held.ID)
	})
}

func TestFleetThread(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a, p.b
		watched := b.Watch(t.Context(), "101")
		eventually(t, "both listen to the news", func() bool {
			text, _ := p.setup.Servers[0].Do("CLIENT LIST TYPE pubsub").(string)
			return strings.Count(text, "\n") >= 2
		})
		first := a.put(t, "101", chainTo("hook"))
		select {
		case id := <-watched:
			if id != first.ID {
				t.Errorf("b is told of %s", id)
			}
		case <-time.After(20 * time.Second):
			t.Error("b is not told of a's note")
		}
		time.Sleep(time.Millisecond) // ids of one millisecond have no order
		second := b.put(t, "101", chainTo("hook"))
		a.put(t, "102")
		want := []string{second.ID, first.ID}
		for _, m := range []*machine{a, b} {
			thread, err := m.Thread(t.Context(), "101", "", 10)
			check(t, err)
			if !slices.Equal(ids(thread), want) || thread[1].Media.SHA256 != first.Media.SHA256 || thread[1].Caller != first.Caller || thread[1].State != delivery.Rendered {
				t.Errorf("the thread is %+v, want %v", thread, want)
			}
			page, err := m.Thread(t.Context(), "101", second.ID, 10)
			check(t, err)
			one, err := m.Thread(t.Context(), "101", "", 1)
			check(t, err)
			if !slices.Equal(ids(page), want[1:]) || !slices.Equal(ids(one), want[:1]) {
				t.Errorf("pages %v and %v", ids(page), ids(one))
			}
			file, n, err := m.Open(t.Context(), first.ID)
			check(t, err)
			content, err := io.ReadAll(file)
			check(t, err)
			if hexSum(content) != first.Media.SHA256 || n.ID != first.ID {
				t.Errorf("the file is %q", content)
			}
		}
		expect(t, b.Mark(t.Context(), "102", first.ID, delivery.MarkPlayed), delivery.ErrNotFound)
		check(t, b.Mark(t.Context(), "101", first.ID, delivery.MarkPlayed))
		for _, m := range []*machine{a, b} {
			thread, err := m.Thread(t.Context(), "101", "", 10)
			check(t, err)
			if thread[1].PlayedAt.IsZero() || !thread[1].ReadAt.IsZero() || !thread[0].PlayedAt.IsZero() {
				t.Errorf("after the mark: %+v", thread)
			}
		}
		for n := range 2 { // not just by what a shows when it begins
			a.put(t, "103")
			eventually(t, "b sees a note that has no target", func() bool {
				thread, err := b.Thread(t.Context(), "103", "", 10)
				return err == nil && len(thread) == n+1
			})
		}
		p.setup.Servers[0].Kill()
		eventually(t, "b notices", func() bool { return !b.shared.Up() })
		thread, err := b.Thread(t.Context(), "101", "", 10)
		check(t, err)
		if !slices.Equal(ids(thread), want[:1]) {
			t.Errorf("without Redis the thread is %v", ids(thread))
		}
		if _, _, err := b.Open(t.Context(), first.ID); !errors.Is(err, shared.ErrAway) {
			t.Errorf("without Redis, opening another machine's note: %v", err)
		}
		check(t, b.Mark(t.Context(), "101", second.ID, delivery.MarkRead))
	})
}

func TestFleetLife(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a, p.b
		n := a.put(t, "101", chainTo("hook:7"), chainTo("inbox"))
		life, err := b.Life(t.Context(), n.ID)
		check(t, err)
		if life.Note.ID != n.ID || len(life.Jobs) != 2 || life.Jobs[0].Chain[0].String() != "hook:7" || len(life.Events) != 1 || !strings.Contains(life.Events[0].Detail, a.machine) {
			t.Errorf("the life elsewhere: %+v", life)
		}
		_, err = b.Life(t.Context(), delivery.NewID())
		expect(t, err, delivery.ErrNotFound)
		leases, err := b.shared.Claim(t.Context(), 10)
		check(t, err)
		if len(leases) != 2 {
			t.Fatalf("claimed %d jobs", len(leases))
		}
		for _, l := range leases {
			_, _, err := b.shared.Finish(t.Context(), l.Job, shared.Result{Outcome: "dead"})
			check(t, err)
		}
		for _, channel := range []struct {
			name string
			want int
		}{{"fax", 0}, {"hook", 1}, {"", 1}} {
			if again, err := b.Redrive(t.Context(), n.ID, channel.name); again != channel.want || err != nil {
				t.Errorf("redriven at %q: %d, %v", channel.name, again, err)
			}
		}
		if life, err = b.Life(t.Context(), n.ID); err != nil || life.Jobs[0].State != delivery.JobQueued || life.Jobs[1].State != delivery.JobQueued {
			t.Errorf("after redriving: %+v, %v", life.Jobs, err)
		}
		_, err = b.Redrive(t.Context(), delivery.NewID(), "")
		expect(t, err, delivery.ErrNotFound)
	})
}

// TestFleetForgottenFile: a file that Redis forgot after the lease is not gone
// for the machine that is sending it: the note is not dead.
func TestFleetForgottenFile(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
	finish(t, a, l, delivery.Result{Outcome: delivery.Retry})
	l = claimOne(t, b)
	setup.Flush()
	if _, _, err := b.Open(t.Context(), l.Note.ID); err == nil || errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("the file of a note that is being sent: %v", err)
	}
	eventually(t, "its home publishes it again", func() bool {
		file, _, err := b.Open(t.Context(), l.Note.ID)
		if err != nil {
			return false
		}
		check(t, file.Close())
		return true
	})
	if err := b.Finish(t.Context(), l, done()); err != nil {
		t.Error(err)
	}
	a.settledUp(t)
	if _, _, err := b.Open(t.Context(), delivery.NewID()); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("the file of a note that nobody has: %v", err)
	}
}
