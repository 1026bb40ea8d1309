package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// gone fails where a machine still knows something of a note.
func (m *machine) gone(t *testing.T, n delivery.Note) {
	t.Helper()
	if _, err := m.Life(t.Context(), n.ID); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("its life: %v", err)
	}
	if _, _, err := m.Open(t.Context(), n.ID); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("its file: %v", err)
	}
	if thread, err := m.Thread(t.Context(), n.Recipient.Number, "", 10); err != nil || len(thread) > 0 {
		t.Errorf("the thread has %d notes, %v", len(thread), err)
	}
}

func TestFleetErase(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a, p.b
		const mailbox = "+4930555001"
		first, second, other := a.put(t, mailbox, chainTo("inbox")), b.put(t, mailbox, chainTo("inbox")), b.put(t, "102", chainTo("inbox"))
		token, err := b.LinkFor(t.Context(), mailbox)
		check(t, err)
		_, err = a.LinkFor(t.Context(), mailbox)
		check(t, err)
		erased, err := a.Erase(t.Context(), mailbox)
		check(t, err)
		if erased.Notes != 1 || erased.Elsewhere != 1 || erased.Machines != 1 || erased.Behind != 0 || len(erased.Proof) != 1 {
			t.Errorf("erased %+v", erased)
		}
		for _, m := range []*machine{a, b} {
			m.gone(t, first)
			m.gone(t, second)
			_, err := m.LinkOwner(t.Context(), token)
			expect(t, err, delivery.ErrNotFound)
			if thread, err := m.Thread(t.Context(), "102", "", 10); err != nil || len(thread) != 1 || thread[0].ID != other.ID {
				t.Errorf("the other mailbox has %v, %v", ids(thread), err)
			}
		}
		if keys := fmt.Sprint(p.setup.Servers[0].Do("KEYS *")); strings.Contains(keys, "4930555001") {
			t.Errorf("the number is in a key: %s", keys)
		}

		// A machine that is away erases when it is back.
		late := b.put(t, mailbox, chainTo("inbox"))
		b.crash(t)
		erased, err = a.Erase(t.Context(), mailbox)
		check(t, err)
		if erased.Notes != 0 || erased.Elsewhere != 1 || erased.Machines != 0 || erased.Behind != 1 {
			t.Errorf("erased without b: %+v", erased)
		}
		b = joinFleet(t, p.options(b.path))
		eventually(t, "b erases", func() bool {
			_, err := b.Life(t.Context(), late.ID)
			return errors.Is(err, delivery.ErrNotFound)
		})
		b.gone(t, late)

		p.setup.Servers[0].Kill()
		eventually(t, "a notices", func() bool { return !a.shared.Up() })
		_, err = a.Erase(t.Context(), "102")
		expect(t, err, shared.ErrAway)
	})
}

// After an erasure nothing of the mailbox is found by its bytes: on the disks of
// both machines, in their logs, in Redis' dump, its append-only file and its log.
func TestFleetEraseLeavesNoBytes(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"", testIndex + testKey} {
		t.Run(map[bool]string{true: "clear", false: "sealed"}[keys == ""], func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t, "appendonly yes")
			logs := t.TempDir()
			start := func(name string) *machine {
				file, err := os.Create(filepath.Join(logs, name))
				check(t, err)
				t.Cleanup(func() { _ = file.Close() })
				o := Options{Path: t.TempDir(), Redis: setup.URL}
				if keys != "" {
					o.KeyFile = writeKeys(t, keys)
				}
				m := startFleetLogging(t, o, shared.Options{}, slog.New(slog.NewJSONHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug})))
				m.awaitReady(t)
				return m
			}
			a, b := start("a"), start("b")
			eraseBytes(t, setup, a, b, logs)
		})
	}
}

func eraseBytes(t *testing.T, setup *redistest.Setup, a, b *machine, logs string) {
	t.Helper()
	notes := []delivery.Note{a.speak(t), b.speak(t), a.speak(t)}
	for range 2 { // one that each machine took, sent by b
		finish(t, b, claimOne(t, b), done())
	}
	own, err := b.Store.LinkFor(t.Context(), fleetMailbox) // as while Redis is away
	check(t, err)
	common, err := a.LinkFor(t.Context(), fleetMailbox)
	check(t, err)
	check(t, b.shareLinks(t.Context()))
	check(t, b.Mark(t.Context(), fleetMailbox, notes[0].ID, delivery.MarkRead))
	words := append(fleetWords(), own, common)
	if found := leftOver(t, setup, words, a.path, b.path, logs); !b.Sealed() && len(found) < len(fleetWords()) {
		t.Fatalf("before, the search finds only %q", found)
	}
	erased, err := a.Erase(t.Context(), fleetMailbox)
	check(t, err)
	if erased.Notes != 2 || erased.Elsewhere != 1 || erased.Machines != 1 || erased.Behind != 0 {
		t.Errorf("erased %+v", erased)
	}
	for _, m := range []*machine{a, b} {
		for _, n := range notes {
			m.gone(t, n)
		}
		var attempts int
		check(t, m.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM attempt").Scan(&attempts))
		if attempts > 0 {
			t.Errorf("%d attempts are left", attempts)
		}
		for _, token := range []string{own, common} {
			_, err := m.LinkOwner(t.Context(), token)
			expect(t, err, delivery.ErrNotFound)
		}
	}
	if found := leftOver(t, setup, words, a.path, b.path, logs); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
}

func TestFleetRetire(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a, p.b
		busy, over := a.put(t, "101", chainTo("inbox")), a.put(t, "102", chainTo("inbox"))
		leases, err := b.shared.Claim(t.Context(), 10)
		check(t, err)
		for _, l := range leases {
			if l.Note == over.ID {
				_, _, err := b.shared.Finish(t.Context(), l.Job, shared.Result{Outcome: "done"})
				check(t, err)
			}
		}
		eventually(t, "its home hears", func() bool { return life(t, a, over.ID).Jobs[0].State == delivery.JobDelivered })
		a.change(t, "UPDATE note SET ended_at = ?", micros(a.Now().Add(-2*time.Hour)))
		keep := delivery.Retention{Audio: time.Hour}
		took, err := a.Retire(t.Context(), func(string) delivery.Retention { return keep })
		check(t, err)
		if took.Audio != 1 {
			t.Errorf("took %+v", took)
		}
		for id, want := range map[string]bool{busy.ID: true, over.ID: false} {
			for _, m := range []*machine{a, b} {
				_, _, err := m.Open(t.Context(), id)
				if there := err == nil; there != want || (err != nil && !errors.Is(err, delivery.ErrNotFound)) {
					t.Errorf("note %s opens: %v, want %v", id, err, want)
				}
			}
		}
		keep.Metadata = time.Hour
		took, err = a.Retire(t.Context(), func(string) delivery.Retention { return keep })
		check(t, err)
		if took.Notes != 1 {
			t.Errorf("took %+v", took)
		}
		b.gone(t, over)
	})
}

// A machine that stopped in order has not erased its notes, and does when it is
// back.
func TestFleetEraseWithoutAStoppedHome(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a, p.b
		n := b.put(t, "101", chainTo("inbox"))
		check(t, b.Close())
		eventually(t, "a knows that it is alone", func() bool { return a.peers.Load() == 1 })
		erased, err := a.Erase(t.Context(), "101")
		check(t, err)
		if erased.Elsewhere != 1 || erased.Machines != 0 || erased.Behind != 1 {
			t.Errorf("erased %+v", erased)
		}
		b = joinFleet(t, p.options(b.path))
		eventually(t, "b erases", func() bool {
			_, err := b.Store.Life(t.Context(), n.ID)
			return errors.Is(err, delivery.ErrNotFound)
		})
		b.gone(t, n)
	})
}

// A note that Redis has without any of its jobs, as it went out before the
// machine had others, is taken out of there when its time is over.
func TestFleetRetireShown(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		b, path := p.b, p.a.path
		check(t, p.a.Close())
		o := p.options(path)
		o.Redis = ""
		s := openStore(t, o)
		n := newNote("101", "+491705550101")
		finish(t, s, keep(t, s, n, chainTo("inbox"))[0], done())
		check(t, s.Close())
		a := joinFleet(t, p.options(path))
		eventually(t, "b is shown it", func() bool {
			thread, err := b.Thread(t.Context(), "101", "", 10)
			return err == nil && len(thread) == 1
		})
		a.change(t, "UPDATE note SET ended_at = ?", micros(a.Now().Add(-2*time.Hour)))
		for _, keep := range []delivery.Retention{{Audio: time.Hour}, {Metadata: time.Hour}} {
			_, err := a.Retire(t.Context(), func(string) delivery.Retention { return keep })
			check(t, err)
			if _, _, err := b.Open(t.Context(), n.ID); !errors.Is(err, delivery.ErrNotFound) {
				t.Errorf("kept for %+v, its file: %v", keep, err)
			}
		}
		a.gone(t, n)
		b.gone(t, n)
	})
}

func TestFleetLimiter(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := joinFleet(t, Options{Path: t.TempDir(), Redis: setup.URL}), joinFleet(t, Options{Path: t.TempDir(), Redis: setup.URL})
	eventually(t, "a knows b", func() bool { return a.peers.Load() == 2 })
	rate := delivery.Rate{Sends: 10, Per: time.Minute}
	limits := []delivery.Limiter{a, b}
	take := func(l delivery.Limiter) int {
		n, _, err := l.Take(t.Context(), "hook", rate, 5)
		check(t, err)
		return n
	}
	if first, second := take(limits[0]), take(limits[1]); first != 1 || second != 0 {
		t.Errorf("granted %d and %d, want 1 over both", first, second)
	}
	setup.Servers[0].Kill()
	eventually(t, "a notices", func() bool { return !a.shared.Up() })
	began := time.Now()
	if n := take(limits[0]); n != 1 {
		t.Errorf("without Redis: %d granted, want 1", n)
	}
	if n, wait, err := limits[0].Take(t.Context(), "hook", rate, 1); n != 0 || err != nil || wait < 12*time.Second-time.Since(began) || wait > 12*time.Second {
		t.Errorf("without Redis the next of two machines is due in %v, want 12 s; %d, %v", wait, n, err)
	}
}

// underWay begins a call, whose note is kept when it ends.
func (m *machine) underWay(t *testing.T, mailbox string) (hangUp func() (delivery.Note, []delivery.Lease)) {
	t.Helper()
	d := begin(t, m, newNote(mailbox, "+491705550101"))
	check(t, d.Append([]byte("hello")))
	return func() (delivery.Note, []delivery.Lease) {
		t.Helper()
		check(t, d.Recorded(t.Context(), false))
		n := d.Note()
		n.Duration, n.Media.Type = time.Second, "audio/ogg; codecs=opus"
		leases, err := d.Rendered(t.Context(), n, []byte("OggS "+n.ID), []delivery.Chain{chainTo("hook")})
		check(t, err)
		return n, leases
	}
}

// A call that is under way while its mailbox is erased has its note delivered,
// wherever it came in. The note goes when the mailbox is erased again, and not
// with what the machines tell a Redis that has forgotten.
func TestFleetEraseSparesCallsUnderWay(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		const mailbox = "+4930555001"
		hangUps := []func() (delivery.Note, []delivery.Lease){p.a.underWay(t, mailbox), p.b.underWay(t, mailbox)}
		old := p.b.put(t, mailbox, chainTo("inbox"))
		_, err := p.a.Erase(t.Context(), mailbox)
		check(t, err)
		p.b.gone(t, old)
		var spared []delivery.Note
		for i, hangUp := range hangUps {
			n, leases := hangUp()
			spared = append(spared, n)
			if i == 0 && len(leases) != 1 {
				t.Fatalf("the call that was under way has %d leases, want 1", len(leases))
			}
			for _, l := range leases {
				check(t, p.a.Release(t.Context(), l))
			}
		}
		p.setup.Servers[0].Do("FLUSHALL")
		seen := func() bool {
			thread, err := p.a.shared.Thread(t.Context(), p.a.vault.alias(mailbox), "", 10)
			return err == nil && len(thread) == len(spared)
		}
		eventually(t, "Redis is told of both notes", seen)
		eventually(t, "both machines can claim", func() bool { return p.a.shared.Ready() && p.b.shared.Ready() })
		for range spared {
			finish(t, p.b, claimOne(t, p.b), done())
		}
		eventually(t, "their homes hear", func() bool {
			return life(t, p.a, spared[0].ID).Jobs[0].State == delivery.JobDelivered && life(t, p.b, spared[1].ID).Jobs[0].State == delivery.JobDelivered
		})
		e, err := p.a.Erase(t.Context(), mailbox)
		check(t, err)
		if e.Notes != 1 || e.Elsewhere != 1 || e.Machines != 1 || e.Behind != 0 {
			t.Errorf("erased again %+v", e)
		}
		for _, m := range []*machine{p.a, p.b} {
			for _, n := range spared {
				m.gone(t, n)
			}
		}
	})
}

// A machine whose clock was ahead leaves ids of later: notes that come in after
// an erasure are delivered all the same.
func TestFleetEraseByClockAhead(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		const mailbox = "+4930555009"
		ahead := newNote(mailbox, "+491705550101")
		ahead.ID = delivery.FirstID(time.Now().Add(2 * time.Hour))
		for _, l := range keep(t, p.a, ahead, chainTo("inbox")) {
			finish(t, p.a, l, done())
		}
		_, err := p.a.Erase(t.Context(), mailbox)
		check(t, err)
		for i, m := range []*machine{p.b, p.a} {
			n := newNote(mailbox, "+491705550102")
			leases := keep(t, m, n, chainTo("hook"))
			if len(leases) != 1 || leases[0].Epoch == 0 {
				t.Fatalf("the next call to machine %d has leases %+v, want a shared one", i, leases)
			}
			finish(t, m, leases[0], done())
			if thread, err := p.a.Thread(t.Context(), mailbox, "", 10); err != nil || len(thread) != i+1 {
				t.Errorf("the thread has %d notes, want %d, %v", len(thread), i+1, err)
			}
		}
		e, err := p.b.Erase(t.Context(), mailbox)
		check(t, err)
		if e.Notes != 1 || e.Elsewhere != 1 || e.Machines != 1 || e.Behind != 0 {
			t.Errorf("erased again %+v", e)
		}
	})
}

// A Redis that has forgotten a mailbox's notes is asked to erase them once every
// machine has shown them again: what it does not know is not erased.
func TestFleetEraseAfterAFlush(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		const mailbox = "+4930555001"
		eventually(t, "a knows b", func() bool { return p.a.peers.Load() == 2 })
		n := newNote(mailbox, "+491705550101")
		finish(t, p.b, keep(t, p.b, n, chainTo("inbox"))[0], done())
		p.b.erasing.Lock() // which keeps b from showing it
		p.setup.Servers[0].Do("FLUSHALL")
		_, err := p.a.Erase(t.Context(), mailbox)
		p.b.erasing.Unlock()
		if !errors.Is(err, shared.ErrGate) || !strings.Contains(err.Error(), "erase again") {
			t.Errorf("erased while b was yet to show a note: %v", err)
		}
		eventually(t, "it is seen again", func() bool {
			thread, err := p.a.Thread(t.Context(), mailbox, "", 10)
			return err == nil && len(thread) == 1
		})
		if err == nil {
			return
		}
		eventually(t, "it is erased", func() bool {
			_, err = p.a.Erase(t.Context(), mailbox)
			return err == nil
		})
		p.a.gone(t, n)
		p.b.gone(t, n)
	})
}

// A machine that has not heard of an erasure yet delivers the note of a call
// itself, and publishes none that the erasure takes.
func TestFleetEraseUnheard(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		const mailbox = "+4930555001"
		hangUp := p.b.underWay(t, mailbox)
		p.a.put(t, mailbox, chainTo("inbox"))
		held := p.b.put(t, "102", chainTo("hook"))
		p.b.erasing.Lock()
		for _, erased := range []string{mailbox, "102"} {
			_, _, err := p.a.eraseShared(t.Context(), erased)
			check(t, err)
		}
		n, leases := hangUp()
		if len(leases) != 1 || leases[0].Epoch != 0 {
			t.Errorf("leases %+v, want one of this machine's own", leases)
		}
		p.b.change(t, "UPDATE job SET shared = 1 WHERE note = ?", held.ID)
		check(t, p.b.publish(t.Context(), []string{held.ID}))
		if state := life(t, p.b, held.ID).Jobs[0].State; state != delivery.JobQueued {
			t.Errorf("what is about to be erased is %s", state)
		}
		p.b.erasing.Unlock()
		eventually(t, "b erases", func() bool {
			_, own := p.b.Life(t.Context(), n.ID)
			_, other := p.b.Life(t.Context(), held.ID)
			return errors.Is(own, delivery.ErrNotFound) && errors.Is(other, delivery.ErrNotFound)
		})
		p.b.gone(t, n)
		p.a.gone(t, held)
		check(t, p.b.publishAll(t.Context()))
		p.b.gone(t, n)
	})
}
