package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// member is a machine of a fleet in a test.
type member struct {
	*Fleet
	options Options
	leave   func() // ends it
}

// joinFleet opens a store that shares its work, and waits until it does.
func joinFleet(tb testing.TB, o Options) *member {
	tb.Helper()
	f, err := OpenFleet(o, slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	check(tb, err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	m := &member{f, o, sync.OnceFunc(func() {
		stop()
		running.Wait()
		if err := f.Close(); err != nil {
			tb.Error("Close:", err)
		}
	})}
	tb.Cleanup(m.leave)
	soon(tb, "leases are given out", f.shared.Ready)
	return m
}

// soon waits for what other goroutines and machines do.
func soon(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s: not within 15 s", what)
		}
	}
}

// twoMachines are two machines of one fleet, in clear and sealed.
func twoMachines(t *testing.T, test func(t *testing.T, setup *redistest.Setup, a, b *member)) {
	t.Helper()
	for _, c := range []struct{ name, keys string }{{"clear", ""}, {"sealed", testIndex + testKey}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t)
			options := func() Options {
				o := Options{Path: t.TempDir(), Redis: setup.URL}
				if c.keys != "" {
					o.KeyFile = writeKeys(t, c.keys)
				}
				return o
			}
			test(t, setup, joinFleet(t, options()), joinFleet(t, options()))
		})
	}
}

// put keeps a note of a mailbox on a machine and tells the others of it.
func (m *member) put(t *testing.T, mailbox string, chains ...delivery.Chain) delivery.Note {
	t.Helper()
	n := newNote(mailbox, "+491705550101")
	for _, l := range keep(t, m.Store, n, chains...) {
		check(t, m.Store.Release(t.Context(), l))
	}
	row, err := m.note(t.Context(), n.ID)
	check(t, err)
	p := shared.Publication{ID: n.ID, Mailbox: m.vault.alias(mailbox)}
	var c parcel
	check(t, m.readers.QueryRowContext(t.Context(), "SELECT key, body FROM note WHERE id = ?", n.ID).Scan(&c.Key, &c.Body))
	p.Body, err = json.Marshal(c)
	check(t, err)
	p.Audio = func(context.Context) ([]byte, error) { return os.ReadFile(m.notePath(n.ID)) }
	rows, err := m.readers.QueryContext(t.Context(), "SELECT id, thread, chain FROM job WHERE note = ?", n.ID)
	p.Jobs, err = collect(rows, err, func(r scanner) (j shared.Job, err error) {
		var thread []byte
		err = r.Scan(&j.ID, &thread, &j.Chain)
		j.Thread, j.Steps = hex.EncodeToString(thread), 1
		return j, err
	})
	check(t, err)
	_, err = write(t.Context(), m.Store, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE job SET shared = 2, head = 0 WHERE note = ?", n.ID)
	})
	check(t, err)
	_, err = m.shared.Publish(t.Context(), p, false, false)
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

func TestFleetThread(t *testing.T) {
	t.Parallel()
	twoMachines(t, func(t *testing.T, setup *redistest.Setup, a, b *member) {
		watched := b.Watch(t.Context(), "101")
		first := a.put(t, "101", chainTo("hook"))
		select {
		case id := <-watched:
			if id != first.ID {
				t.Errorf("b is told of %s", id)
			}
		case <-time.After(5 * time.Second):
			t.Error("b is not told of a's note")
		}
		time.Sleep(time.Millisecond) // ids of one millisecond have no order
		second := b.put(t, "101", chainTo("hook"))
		a.put(t, "102")
		want := []string{second.ID, first.ID}
		for _, m := range []*member{a, b} {
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
		for _, m := range []*member{a, b} {
			thread, err := m.Thread(t.Context(), "101", "", 10)
			check(t, err)
			if thread[1].PlayedAt.IsZero() || !thread[1].ReadAt.IsZero() || !thread[0].PlayedAt.IsZero() {
				t.Errorf("after the mark: %+v", thread)
			}
		}
		setup.Servers[0].Kill()
		soon(t, "b notices", func() bool { return !b.shared.Up() })
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
	twoMachines(t, func(t *testing.T, _ *redistest.Setup, a, b *member) {
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
			_, err := b.shared.Finish(t.Context(), l.Job, shared.Result{Outcome: "dead"})
			check(t, err)
		}
		for channel, want := range map[string]int{"fax": 0, "hook": 1, "": 1} {
			if again, err := b.Redrive(t.Context(), n.ID, channel); again != want && channel != "" || err != nil {
				t.Errorf("redriven at %q: %d, %v", channel, again, err)
			}
		}
		if life, err = b.Life(t.Context(), n.ID); err != nil || life.Jobs[0].State != delivery.JobQueued || life.Jobs[1].State != delivery.JobQueued {
			t.Errorf("after redriving: %+v, %v", life.Jobs, err)
		}
		_, err = b.Redrive(t.Context(), delivery.NewID(), "")
		expect(t, err, delivery.ErrNotFound)
	})
}
