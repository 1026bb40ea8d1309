package store

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// alone is a machine of a fleet that does not run: what it does with its rows
// is seen step by step. Nothing answers where its Redis should be.
func alone(tb testing.TB, o Options) *Fleet {
	tb.Helper()
	o.Redis = "redis://127.0.0.1:1"
	f, err := OpenFleet(o, quiet())
	check(tb, err)
	tb.Cleanup(func() { closeStore(tb, f) })
	return f
}

// change changes rows as nothing in the program does.
func (f *Fleet) change(tb testing.TB, query string, args ...any) {
	tb.Helper()
	_, err := write(tb.Context(), f.Store, func(tx *txn) (int64, error) { return tx.exec(query, args...) })
	check(tb, err)
}

// shares keeps a note whose one job all machines have.
func (f *Fleet) shares(tb testing.TB, chains ...delivery.Chain) (note, job string) {
	tb.Helper()
	n := newNote("101", "201")
	for _, l := range keep(tb, f, n, chains...) {
		check(tb, f.Release(tb.Context(), l))
	}
	f.change(tb, "UPDATE job SET shared = 2, head = 0 WHERE note = ?", n.ID)
	return n.ID, life(tb, f, n.ID).Jobs[0].ID
}

// count counts rows.
func (f *Fleet) count(tb testing.TB, rows string) (n int) {
	tb.Helper()
	check(tb, f.readers.QueryRowContext(tb.Context(), "SELECT count(*) FROM "+rows).Scan(&n))
	return n
}

// granted is a first lease of a note's job as another machine gets it.
func (f *Fleet) granted(tb testing.TB, note string) shared.Lease {
	tb.Helper()
	p, err := f.publication(tb.Context(), note)
	check(tb, err)
	l := shared.Lease{Job: p.Jobs[0], Body: p.Body}
	l.State, l.Attempt, l.Epoch, l.Shard, l.First = shared.Sending, 1, 1, shared.ShardOf(p.Mailbox), time.Now()
	return l
}

// TestFleetHearsTwice: messages that come again, since it is not known whether
// they were taken out of Redis, tell the operator nothing new. One about a job
// that this store does not have keeps none of the others back.
func TestFleetHearsTwice(t *testing.T) {
	t.Parallel()
	f := alone(t, Options{Path: t.TempDir(), Operator: []string{delivery.EventDead}})
	note, job := f.shares(t, chainTo("crm"))
	other, _ := f.shares(t, chainTo("crm"))
	about := shared.Message{Job: job, Note: note, Epoch: 1, Attempt: 1, At: time.Now(), Next: time.Now()}
	sending, dead := about, about
	sending.Name, sending.State = "sending", shared.Sending
	dead.Name, dead.State = "dead", shared.Dead
	strange := sending
	strange.Job, strange.Note = "gone", other
	for range 2 {
		check(t, f.hear(t.Context(), []shared.Message{strange, sending, dead}))
	}
	if got := life(t, f, note).Jobs; len(got) != 2 || got[0].State != delivery.JobDead {
		t.Errorf("jobs %+v, want the dead one and one that tells the operator", got)
	}
	redriven := about
	redriven.Name, redriven.State, redriven.Round = "redriven", shared.Queued, 1
	check(t, f.hear(t.Context(), []shared.Message{redriven}))
	if f.count(t, "note WHERE ended_at > 0") != 0 {
		t.Error("a note that was redriven elsewhere counts as ended")
	}
}

// TestFleetEndedIsPublished: a job that has ended needs no publishing, though
// nobody kept that Redis has it.
func TestFleetEndedIsPublished(t *testing.T) {
	t.Parallel()
	f := alone(t, Options{Path: t.TempDir()})
	f.shares(t, chainTo("crm"))
	f.change(t, "UPDATE job SET shared = 1, state = 'delivered'")
	s, err := f.Standing(t.Context())
	check(t, err)
	left, err := f.notesAfter(t.Context(), untoldNotes, "")
	check(t, err)
	if s.Unpublished != 0 || len(left) != 0 {
		t.Errorf("%d jobs unpublished, notes %v", s.Unpublished, left)
	}
}

// onClocks runs a test over a machine alone whose clock is set a year back or forth
// while it is off: restart stops it, sets its clock and starts it.
func onClocks(t *testing.T, do func(t *testing.T, f *Fleet, restart func() *Fleet)) {
	for name, by := range map[string]time.Duration{"back": -year, "forth": year} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wall wallClock
			o := Options{Path: t.TempDir(), Wall: wall.now}
			f := alone(t, o)
			do(t, f, func() *Fleet {
				check(t, f.Close())
				wall.set(by)
				return alone(t, o)
			})
		})
	}
}

// TestFleetClockAtAStart: a clock that was set between two runs makes a shared
// job fall due neither too late nor too early, nor given up.
func TestFleetClockAtAStart(t *testing.T) {
	t.Parallel()
	onClocks(t, func(t *testing.T, f *Fleet, restart func() *Fleet) {
		note, _ := f.shares(t, chainTo("crm"))
		f = restart()
		j := f.granted(t, note).Job
		p, err := f.publication(t.Context(), note)
		check(t, err)
		if wait := time.Until(j.Next); wait > time.Minute {
			t.Errorf("due in %v", wait)
		}
		if age := time.Since(p.Jobs[0].First); age > time.Minute {
			t.Errorf("tried for %v", age)
		}
	})
}

// TestFleetWaitingAtAStart: what a machine tells a Redis that has forgotten of a
// note that waits for its service's report leaves out the time in which the machine
// was off, or by which its clock was set: its job's row, and its attempt's.
func TestFleetWaitingAtAStart(t *testing.T) {
	t.Parallel()
	const wait = 20 * time.Minute
	onClocks(t, func(t *testing.T, f *Fleet, restart func() *Fleet) {
		note, _ := f.shares(t, chainTo("wa:1"))
		leases, err := f.take(t.Context(), []shared.Lease{f.granted(t, note)})
		check(t, err)
		finish(t, f, leases[0], waiting(wait))
		f = restart()
		told := map[shared.Kind]time.Time{}
		check(t, ledger{f}.Recall(t.Context(), ^shared.Shards(0), func(fact shared.Fact) error {
			told[fact.Kind] = fact.Job.Next
			if fact.Kind == shared.IsPending {
				told[fact.Kind] = fact.Note.Jobs[0].Next
			}
			return nil
		}))
		for _, kind := range []shared.Kind{shared.IsWaiting, shared.IsPending} {
			if left := time.Until(told[kind]); (left - wait).Abs() > time.Minute {
				t.Errorf("it is told as %s for %v", kind, left)
			}
		}
	})
}

// TestFleetLosesAFile: a note whose file is gone keeps no other note from being
// told: it goes out as far as it can.
func TestFleetLosesAFile(t *testing.T) {
	t.Parallel()
	f := alone(t, Options{Path: t.TempDir()})
	note, _ := f.shares(t, chainTo("crm"))
	check(t, os.Remove(f.notePath(note)))
	p, err := f.publication(t.Context(), note)
	check(t, err)
	if len(p.Jobs) != 1 || p.Audio != nil {
		t.Errorf("publication %+v", p)
	}
}

// TestFleetTakesTheReadable: a job that cannot be read keeps none of the others
// that were granted with it from being sent.
func TestFleetTakesTheReadable(t *testing.T) {
	t.Parallel()
	a, b := alone(t, Options{Path: t.TempDir()}), alone(t, Options{Path: t.TempDir()})
	first, _ := a.shares(t, chainTo("crm"))
	second, job := a.shares(t, chainTo("crm"))
	damaged, short, good := a.granted(t, first), a.granted(t, first), a.granted(t, second)
	damaged.Chain = []byte("[")
	short.ID, short.Chain = "short", []byte("[]")
	leases, err := b.take(t.Context(), []shared.Lease{damaged, short, good})
	check(t, err)
	if len(leases) != 1 || leases[0].Job != job || !leases[0].Foreign {
		t.Errorf("leases %+v", leases)
	}
}

// TestFleetWithAnOlderKeyFile: a machine whose key file lacks a key tells of the
// notes that it cannot read, and sends the others.
func TestFleetWithAnOlderKeyFile(t *testing.T) {
	t.Parallel()
	a := alone(t, Options{Path: t.TempDir(), KeyFile: writeKeys(t, testIndex+otherKey+testKey)})
	old := alone(t, Options{Path: t.TempDir(), KeyFile: writeKeys(t, testIndex+testKey)})
	var said bytes.Buffer
	old.log = slog.New(slog.NewTextHandler(&said, nil))
	var granted []shared.Lease
	for range 3 {
		note, _ := a.shares(t, chainTo("crm"))
		granted = append(granted, a.granted(t, note))
	}
	last, err := a.RotateKeys(t.Context(), []byte(testIndex+testKey), granted[1].Note)
	check(t, err)
	granted[2] = a.granted(t, last)
	for range 2 {
		leases, err := old.take(t.Context(), granted)
		check(t, err)
		if len(leases) != 1 || leases[0].Note.ID != last {
			t.Errorf("leases %+v", leases)
		}
	}
	for i, want := range []int{1, 1, 0} {
		if n := strings.Count(said.String(), "note_id="+granted[i].Note); n != want {
			t.Errorf("note %d is told of %d times: %s", i, n, &said)
		}
	}
}

// TestFleetForgetsAttempts: what a machine keeps of another's note goes with
// the note's mailbox, and after ten days though nothing else happens.
func TestFleetForgetsAttempts(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(t *testing.T, f *Fleet, upto string){
		"erased": func(t *testing.T, f *Fleet, upto string) {
			t.Helper()
			alias := f.vault.alias("101")
			_, err := f.eraseUpTo(t.Context(), "", alias, upto)
			check(t, err)
		},
		"erased here": func(t *testing.T, f *Fleet, upto string) {
			t.Helper()
			_, err := f.eraseUpTo(t.Context(), f.vault.mailbox("101"), f.vault.alias("101"), upto)
			check(t, err)
		},
		"old": func(t *testing.T, f *Fleet, _ string) {
			t.Helper()
			f.change(t, "UPDATE attempt SET outcome = 'done', settled = 1, began_at = 1")
			check(t, f.keepSettled(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{KeyFile: writeKeys(t, testIndex+testKey)}
			o.Path = t.TempDir()
			a := alone(t, o)
			o.Path = t.TempDir()
			b := alone(t, o)
			note, _ := a.shares(t, chainTo("crm"))
			_, err := b.take(t.Context(), []shared.Lease{a.granted(t, note)})
			check(t, err)
			if b.count(t, "attempt") != 1 {
				t.Fatal("no attempt was kept")
			}
			forget(t, b, note)
			if n := b.count(t, "attempt"); n != 0 {
				t.Errorf("%d attempts are left", n)
			}
		})
	}
}

// TestFleetGivenUp: a store whose configuration no longer names a Redis sends
// what many machines shared, as a possible repeat: some of it may have arrived.
func TestFleetGivenUp(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	f := alone(t, Options{Path: path})
	first, _ := f.shares(t, chainTo("crm"))
	second, _ := f.shares(t, chainTo("crm"))
	f.change(t, "UPDATE job SET state = 'sending', attempt = 1, epoch = 1 WHERE note = ?", first)
	check(t, f.Close())
	s := openStore(t, Options{Path: path, AsIs: true})
	if leases := claim(t, s, 10); len(leases) != 0 {
		t.Fatalf("a command took the jobs home: %+v", leases)
	}
	check(t, s.Close())
	s = openStore(t, Options{Path: path})
	for _, want := range []string{first, second} { // one thread, in order
		leases := claim(t, s, 10)
		if len(leases) != 1 || leases[0].Note.ID != want || !leases[0].Unknown {
			t.Fatalf("leases %+v, want one of note %s", leases, want)
		}
		finish(t, s, leases[0], done())
	}
}
