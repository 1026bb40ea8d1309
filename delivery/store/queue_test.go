package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// claim leases up to limit jobs.
func claim(tb testing.TB, s keeper, limit int) []delivery.Lease {
	tb.Helper()
	leases, err := s.Claim(tb.Context(), limit)
	check(tb, err)
	return leases
}

func finish(tb testing.TB, s keeper, l delivery.Lease, r delivery.Result) {
	tb.Helper()
	check(tb, s.Finish(tb.Context(), l, r))
}

// woken says whether the queue called since the last time.
func woken(s keeper) bool {
	select {
	case <-s.Wake():
		return true
	default:
		return false
	}
}

func TestRetryWaits(t *testing.T) { everywhere(t, testRetryWaits) }

func testRetryWaits(t *testing.T, c composition) {
	c.timed(t, func(t *testing.T, soon time.Duration) {
		s := c.open(t)
		l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
		before := s.Now()
		finish(t, s, l, delivery.Result{Outcome: delivery.Retry, Wait: soon, Status: 503, Detail: "busy"})
		after := s.Now()
		if got := claim(t, s, 10); len(got) != 0 && s.Now().Before(before.Add(soon)) {
			t.Fatalf("claimed too early: %+v", got)
		}
		due, err := s.NextDue(t.Context())
		check(t, err)
		if due.After(after.Add(soon+c.late())) || (!c.fleet && due.Before(before.Add(soon))) { // a fleet asks again sooner
			t.Fatalf("due at %v, finished at %v", due, before)
		}
		time.Sleep(soon)
		again := claim(t, s, 10)
		if len(again) != 1 || again[0].Attempt != 2 || again[0].Unknown || !c.between(again[0].First, l.First, before) || again[0].Job != l.Job {
			t.Fatalf("claimed %+v after %+v", again, l)
		}
		if got := claim(t, s, 10); len(got) != 0 {
			t.Fatal("claimed what is being sent")
		}
		events := life(t, s, l.Note.ID).Events
		if got, want := events[4], "status 503; busy; again in "+soon.String(); got.Name != "retry" || got.Detail != want {
			t.Errorf("event %+v", got)
		}
	})
}

// late is what a time may be off that Redis told, whose answer may come late.
func (c composition) late() time.Duration {
	if c.fleet {
		return 2 * time.Second
	}
	return 0
}

// between says that something was between two times, whichever clock told it.
func (c composition) between(at, from, to time.Time) bool {
	return !at.Before(from.Add(-c.late())) && !at.After(to.Add(c.late()))
}

func TestUnknownIsRemembered(t *testing.T) { everywhere(t, testUnknownIsRemembered) }

func testUnknownIsRemembered(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("crm", "inbox"))[0]
	for _, r := range []delivery.Result{{Outcome: delivery.Unknown}, {Outcome: delivery.Retry}} {
		finish(t, s, l, r)
		if l = claim(t, s, 1)[0]; !l.Unknown {
			t.Fatalf("after %s: %+v", r.Outcome, l)
		}
	}
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	if l = claim(t, s, 1)[0]; l.Unknown || l.Step != 1 || l.Attempt != 1 {
		t.Fatalf("at the next target: %+v", l)
	}
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	n, err := s.Redrive(t.Context(), l.Note.ID, "")
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if l = claim(t, s, 1)[0]; !l.Unknown || l.Step != 0 || l.Attempt != 1 {
		t.Fatalf("redriven: %+v", l)
	}
}

// What may have arrived before its target was given up is driven again as a
// possible repeat.
func TestDoubtOutlivesDeath(t *testing.T) { everywhere(t, testDoubtOutlivesDeath) }

func testDoubtOutlivesDeath(t *testing.T, c composition) {
	s := c.open(t)
	for name, tt := range map[string]struct {
		takes   delivery.Result // before the end, if anything
		ends    delivery.Result
		inDoubt bool
	}{
		"answer lost at the end": {ends: delivery.Result{InDoubt: true}, inDoubt: true},
		"no word of it":          {takes: waiting(0), inDoubt: true},
		"nobody asked for it":    {takes: invited(0)},
		"refused":                {},
	} {
		for _, chain := range []delivery.Chain{chainTo("wa:1"), chainTo("wa:1", "crm")} {
			l := keep(t, s, newNote("101", "201"), chain)[0]
			if tt.takes.Outcome != "" {
				finish(t, s, l, tt.takes)
				l = claimSoon(t, s)
			}
			tt.ends.Outcome = delivery.Dead
			finish(t, s, l, tt.ends)
			for range chain[1:] {
				if l = claimSoon(t, s); l.Unknown {
					t.Errorf("%s: a doubt at the next target: %+v", name, l)
				}
				finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
			}
			if n, err := s.Redrive(t.Context(), l.Note.ID, ""); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if l = claimSoon(t, s); l.Step != 0 || l.Unknown != tt.inDoubt {
				t.Errorf("%s, %d targets: redriven %+v", name, len(chain), l)
			}
			finish(t, s, l, done())
		}
	}
}

func TestChainAndDead(t *testing.T) { everywhere(t, testChainAndDead) }

func testChainAndDead(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("crm", "team-bot:123"))[0]
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead, Detail: "no such recipient"})
	if !woken(s) {
		t.Error("the next target is due and nobody was woken")
	}
	next := claim(t, s, 1)[0]
	if next.Target().String() != "team-bot:123" || next.Job != l.Job {
		t.Fatalf("the next target: %+v", next)
	}
	finish(t, s, next, delivery.Result{Outcome: delivery.Dead})
	depth, err := s.Depth(t.Context())
	if err != nil || depth["dead"] != 1 || depth["queued"] != 0 || depth["sending"] != 0 {
		t.Fatal(depth, err)
	}
	if got := claim(t, s, 1); len(got) != 0 {
		t.Fatal("a dead job was claimed")
	}
	if due, err := embedded(s).NextDue(t.Context()); err != nil || !due.IsZero() {
		t.Fatal(due, err)
	}
	woken(s)
	if n, err := s.Redrive(t.Context(), l.Note.ID, ""); err != nil || n != 1 || !woken(s) {
		t.Fatal("Redrive", n, err)
	}
	if n, err := s.Redrive(t.Context(), l.Note.ID, ""); err != nil || n != 0 {
		t.Fatal("Redrive of nothing", n, err)
	}
	if _, err := s.Redrive(t.Context(), delivery.NewID(), ""); !errors.Is(err, delivery.ErrNotFound) {
		t.Fatal("Redrive of no note:", err)
	}
	if l = claim(t, s, 1)[0]; l.Target().Channel != "crm" || l.Attempt != 1 {
		t.Fatalf("redriven: %+v", l)
	}
	want := "recording, recorded, rendered, sending crm, dead crm, sending team-bot:123, dead team-bot:123, redriven crm, sending crm"
	if got := names(life(t, s, l.Note.ID)); got != want {
		t.Errorf("events %s\nwant   %s", got, want)
	}
}

func TestLeaseIsFenced(t *testing.T) { everywhere(t, testLeaseIsFenced) }

func testLeaseIsFenced(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("crm", "inbox"))[0]
	finish(t, s, l, delivery.Result{Outcome: delivery.Retry})
	now := claim(t, s, 1)[0]
	results := []delivery.Outcome{delivery.Done, delivery.Retry, delivery.Unknown, delivery.Dead}
	for _, o := range results {
		if err := s.Finish(t.Context(), l, delivery.Result{Outcome: o}); !errors.Is(err, delivery.ErrFenced) {
			t.Errorf("Finish %s with an old lease: %v", o, err)
		}
	}
	if err := s.Release(t.Context(), l); !errors.Is(err, delivery.ErrFenced) {
		t.Errorf("Release of an old lease: %v", err)
	}
	if err := s.Finish(t.Context(), now, delivery.Result{Outcome: "odd"}); err == nil {
		t.Error("Finish took an outcome that is none")
	}
	finish(t, s, now, delivery.Result{Outcome: delivery.Done})
}

func TestReleaseAndPutOff(t *testing.T) { everywhere(t, testReleaseAndPutOff) }

func testReleaseAndPutOff(t *testing.T, c composition) {
	c.timed(t, func(t *testing.T, soon time.Duration) {
		s := c.open(t)
		l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
		check(t, s.Release(t.Context(), l))
		released, before := claim(t, s, 1), s.Now()
		if len(released) != 1 || released[0].Attempt != 1 {
			t.Fatalf("released: %+v", released)
		}
		time.Sleep(soon / 5)
		check(t, s.PutOff(t.Context(), released[0], soon))
		if got := claim(t, s, 1); len(got) != 0 {
			t.Fatalf("put off, and claimed: %+v", got)
		}
		time.Sleep(soon)
		again := claim(t, s, 1)
		if len(again) != 1 || again[0].Attempt != 1 || !c.between(again[0].First, l.First, before) {
			t.Fatalf("put off: %+v", again)
		}
		if got, want := names(life(t, s, l.Note.ID)), "recording, recorded, rendered, sending crm"; got != want {
			t.Errorf("events %s\nwant   %s", got, want)
		}
	})
}

// Of a thread only the oldest job is given out, and the next when that one is
// delivered or dead; other callers, mailboxes and targets do not wait.
func TestThreadOrder(t *testing.T) { everywhere(t, testThreadOrder) }

func testThreadOrder(t *testing.T, c composition) {
	c.timed(t, func(t *testing.T, soon time.Duration) {
		s := c.open(t)
		first := keep(t, s, newNote("101", "201"), chainTo("crm"))
		if len(first) != 1 {
			t.Fatal("the first note of a thread got no lease")
		}
		var waiting []string
		for range 2 {
			n := newNote("101", "201")
			waiting = append(waiting, n.ID)
			if got := keep(t, s, n, chainTo("crm")); len(got) != 0 {
				t.Fatalf("a note overtook: %+v", got)
			}
			time.Sleep(2 * time.Millisecond) // ids of one millisecond have no order
		}
		for name, leases := range map[string][]delivery.Lease{
			"caller":  keep(t, s, newNote("101", "202"), chainTo("crm")),
			"mailbox": keep(t, s, newNote("102", "201"), chainTo("crm")),
			"target":  keep(t, s, newNote("101", "201"), chainTo("inbox", "crm")),
		} {
			if len(leases) != 1 {
				t.Errorf("another %s waits", name)
			}
		}
		if got := claim(t, s, 10); len(got) != 0 {
			t.Fatalf("claimed %+v", got)
		}
		woken(s) // a fleet is when it has joined
		finish(t, s, first[0], delivery.Result{Outcome: delivery.Retry, Wait: soon})
		if got := claim(t, s, 10); len(got) != 0 || woken(s) {
			t.Fatalf("claimed past a job that waits: %+v", got)
		}
		time.Sleep(soon)
		outcomes := []delivery.Outcome{delivery.Dead, delivery.Done, delivery.Done}
		for i, id := range append([]string{first[0].Note.ID}, waiting...) {
			got := claim(t, s, 10)
			if len(got) != 1 || got[0].Note.ID != id {
				t.Fatalf("turn %d: claimed %+v", i, got)
			}
			finish(t, s, got[0], delivery.Result{Outcome: outcomes[i]})
			if last := i == len(waiting); woken(s) == last {
				t.Errorf("turn %d: woken %v", i, !last)
			}
		}
		// A dead note driven again goes behind what is on its way, and in turn.
		busy := keep(t, s, newNote("101", "201"), chainTo("crm"))
		if n, err := s.Redrive(t.Context(), first[0].Note.ID, ""); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if got := claim(t, s, 10); len(got) != 0 {
			t.Fatalf("overtaken: %+v", got)
		}
		finish(t, s, busy[0], delivery.Result{Outcome: delivery.Done})
		if got := claim(t, s, 10); len(got) != 1 || got[0].Note.ID != first[0].Note.ID {
			t.Fatalf("claimed %+v", got)
		}
	})
}

// A new note is claimed at once in front of a large backlog, which drains from
// its old end meanwhile.
func TestFreshIsNotStarved(t *testing.T) { everywhere(t, testFreshIsNotStarved) }

func testFreshIsNotStarved(t *testing.T, c composition) {
	s := c.open(t)
	var old []string
	for i := range 20 {
		l := keep(t, s, newNote("101", fmt.Sprint(200+i)), chainTo("crm"))[0]
		old = append(old, l.Job)
		finish(t, s, l, delivery.Result{Outcome: delivery.Retry})
		time.Sleep(time.Millisecond)
	}
	fresh := keep(t, s, newNote("101", "999"), chainTo("crm"))[0]
	check(t, s.Release(t.Context(), fresh))
	var got []string
	for _, l := range claim(t, s, 4) {
		got = append(got, l.Job)
	}
	if want := []string{fresh.Job, old[0], old[1], old[2]}; !slices.Equal(got, want) {
		if want[0], want[1] = want[1], want[0]; !c.fleet || !slices.Equal(got, want) { // there either may begin
			t.Errorf("claimed %v\nwant    %v", got, want)
		}
	}
}

func TestByTurns(t *testing.T) {
	tests := []struct {
		a, b  string
		limit int
		want  string
	}{
		{"", "", 3, ""},
		{"a b", "", 3, "a b"},
		{"", "1 2", 1, "1"},
		{"a b c", "1 2 3", 4, "a 1 b 2"},
		{"a b", "a b c d", 9, "a b c d"},
		{"d c", "a b c d", 3, "d a c"},
	}
	for _, tt := range tests {
		if got := byTurns(strings.Fields(tt.a), strings.Fields(tt.b), tt.limit); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("byTurns(%q, %q, %d) = %v, want %s", tt.a, tt.b, tt.limit, got, tt.want)
		}
	}
}

// Many workers share a queue: each job is given out once at a time and every
// one ends.
func TestWorkersShareTheQueue(t *testing.T) { everywhere(t, testWorkersShareTheQueue) }

func testWorkersShareTheQueue(t *testing.T, c composition) {
	s := c.open(t)
	const notes = 60
	for i := range notes {
		for _, l := range keep(t, s, newNote("101", fmt.Sprint(i%7)), chainTo("crm"), chainTo("inbox")) {
			check(t, s.Release(t.Context(), l))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var (
		mu    sync.Mutex
		held  = map[string]bool{}
		ended int
		wg    sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				leases, err := s.Claim(ctx, 3)
				if err != nil {
					t.Error(err)
					return
				}
				for _, l := range leases {
					mu.Lock()
					if held[l.Job] {
						t.Error("a job was given out twice")
					}
					held[l.Job] = true
					mu.Unlock()
					r := delivery.Result{Outcome: delivery.Done}
					if l.Attempt == 1 {
						r.Outcome = delivery.Retry
					}
					mu.Lock()
					delete(held, l.Job)
					if r.Outcome == delivery.Done {
						ended++
					}
					mu.Unlock()
					if err := s.Finish(ctx, l, r); err != nil {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				over := ended == 2*notes
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	wg.Wait()
	if ended != 2*notes {
		t.Fatalf("%d of %d jobs ended", ended, 2*notes)
	}
	depth, err := s.Depth(t.Context())
	if err != nil || depth["queued"]+depth["sending"]+depth["dead"] != 0 {
		t.Fatal(depth, err)
	}
}
