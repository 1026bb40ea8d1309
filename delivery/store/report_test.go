package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// tell reports what the service of a channel says of a job.
func tell(tb testing.TB, s keeper, channel, job string, what delivery.What, m delivery.Meaning) delivery.Upshot {
	tb.Helper()
	up, err := s.Report(tb.Context(), channel, delivery.Report{Job: job, What: what, Detail: "as it said"}, m)
	check(tb, err)
	return up
}

var settles = delivery.Meaning{Settles: true, Arrived: true}

func waiting(wait time.Duration) delivery.Result {
	return delivery.Result{Outcome: delivery.Waiting, Wait: wait, Receipt: delivery.Receipt{ID: "m1"}, Detail: "200 OK"}
}

// invited is a result of which the recipient may ask for the note.
func invited(wait time.Duration) delivery.Result {
	r := waiting(wait)
	r.Receipt.Invited = true
	return r
}

// becomes waits until a job is in a state at a target.
func becomes(tb testing.TB, s keeper, note string, state delivery.JobState, step int) {
	tb.Helper()
	var j delivery.Job
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if j = life(tb, s, note).Jobs[0]; j.State == state && j.Step == step {
			return
		}
	}
	tb.Fatalf("the job is %s at target %d, want %s at %d", j.State, j.Step, state, step)
}

// claimSoon waits for a lease.
func claimSoon(tb testing.TB, s keeper) delivery.Lease {
	tb.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if leases := claim(tb, s, 1); len(leases) == 1 {
			return leases[0]
		}
	}
	tb.Fatal("no job fell due")
	return delivery.Lease{}
}

// claimNone fails when a job is due.
func claimNone(tb testing.TB, s keeper) {
	tb.Helper()
	if got := claim(tb, s, 10); len(got) != 0 {
		tb.Fatalf("claimed %+v", got)
	}
}

func TestWaitingIsSettled(t *testing.T) { everywhere(t, testWaitingIsSettled) }

func testWaitingIsSettled(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
	if behind := keep(t, s, newNote("101", "201"), chainTo("wa:1")); len(behind) != 0 {
		t.Fatal("a note overtook")
	}
	finish(t, s, l, waiting(time.Hour))
	if next := claimSoon(t, s); next.Note.ID == l.Note.ID || next.Waited {
		t.Fatalf("the thread waits for a report: %+v", next)
	}
	if up := tell(t, s, "wa", l.Job, delivery.WasDelivered, delivery.Meaning{Arrived: true}); up.Settled || up.Note.ID != l.Note.ID {
		t.Errorf("%+v", up)
	}
	becomes(t, s, l.Note.ID, delivery.JobQueued, 0)
	if j := life(t, s, l.Note.ID).Jobs[0]; !j.Waits || time.Until(j.NextAt) < 50*time.Minute {
		t.Errorf("it waits for a report: %+v", j)
	}
	if up := tell(t, s, "wa", l.Job, delivery.WasRead, settles); !up.Settled {
		t.Errorf("%+v", up)
	}
	becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
	if j := life(t, s, l.Note.ID).Jobs[0]; j.Waits {
		t.Errorf("it waits for nothing any more: %+v", j)
	}
	claimNone(t, s)
	known := life(t, s, l.Note.ID)
	if got, want := names(known), "recording, recorded, rendered, sending wa:1, waiting wa:1, delivered wa:1, read wa:1"; got != want {
		t.Errorf("events %s\nwant   %s", got, want)
	}
	if known.Note.ReadAt.IsZero() || !known.Note.PlayedAt.IsZero() {
		t.Errorf("marks %v, %v", known.Note.ReadAt, known.Note.PlayedAt)
	}
	if last := known.Events[len(known.Events)-1]; last.Detail != "as it said" {
		t.Errorf("%+v", last)
	}
	if n := count(t, s, "note WHERE ended_at > 0"); n != 1 {
		t.Errorf("%d notes have ended", n)
	}
	if _, err := s.Report(t.Context(), "wa", delivery.Report{Job: delivery.NewID(), What: delivery.WasRead}, settles); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("no job: %v", err)
	}
	if _, err := s.Report(t.Context(), "bot", delivery.Report{Job: l.Job, What: delivery.WasRead}, settles); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("a channel that the chain does not name: %v", err)
	}
}

// count counts rows of this machine.
func count(tb testing.TB, s keeper, from string) (n int) {
	tb.Helper()
	check(tb, embedded(s).readers.QueryRowContext(tb.Context(), "SELECT count(*) FROM "+from).Scan(&n))
	return n
}

func TestWaitingIsOver(t *testing.T) { everywhere(t, testWaitingIsOver) }

func testWaitingIsOver(t *testing.T, c composition) {
	c.timed(t, func(t *testing.T, soon time.Duration) {
		s := c.open(t)
		l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
		began := s.Now()
		finish(t, s, l, waiting(soon))
		if n, err := s.Redrive(t.Context(), l.Note.ID, ""); n != 0 || err != nil {
			t.Fatal("a waiting job was driven again", n, err)
		}
		claimNone(t, s)
		for i := range 3 {
			if i < 2 { // then it was released, and is due
				time.Sleep(soon)
			}
			over := claimSoon(t, s)
			if !over.Waited || over.Step != 0 || over.Attempt != 1 || over.Unknown || !c.between(over.First, l.First, began) {
				t.Fatalf("claimed %+v after %+v", over, l)
			}
			claimNone(t, s)
			if err := s.Finish(t.Context(), l, done()); !errors.Is(err, delivery.ErrFenced) {
				t.Errorf("the first lease: %v", err)
			}
			switch i {
			case 0:
				check(t, s.PutOff(t.Context(), over, soon))
				claimNone(t, s)
			case 1:
				check(t, s.Release(t.Context(), over))
			case 2:
				finish(t, s, over, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
			}
		}
		next := claimSoon(t, s)
		if next.Waited || next.Target().Channel != "crm" || next.Attempt != 1 || !next.First.After(l.First) {
			t.Fatalf("the next target: %+v", next)
		}
		// It reports late: the note is not sent again elsewhere, but what is being
		// sent is.
		if up := tell(t, s, "wa", l.Job, delivery.WasDelivered, settles); !up.Settled {
			t.Errorf("%+v", up)
		}
		finish(t, s, next, delivery.Result{Outcome: delivery.Retry})
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
		claimNone(t, s)
		want := "recording, recorded, rendered, sending wa:1, waiting wa:1, dead wa:1, sending crm, delivered wa:1, retry crm"
		if got := names(life(t, s, l.Note.ID)); got != want {
			t.Errorf("events %s\nwant   %s", got, want)
		}
	})
}

// A late report keeps a job from a later target that has not begun, and from
// being dead.
func TestLateReport(t *testing.T) { everywhere(t, testLateReport) }

func testLateReport(t *testing.T, c composition) {
	s := c.open(t)
	for _, chain := range [][]string{{"wa:1", "crm"}, {"wa:1"}} {
		l := keep(t, s, newNote("101", "201"), chainTo(chain...))[0]
		finish(t, s, l, waiting(0))
		finish(t, s, claimSoon(t, s), delivery.Result{Outcome: delivery.Dead})
		tell(t, s, "wa", l.Job, delivery.WasDelivered, settles)
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
		claimNone(t, s)
		if n, err := s.Redrive(t.Context(), l.Note.ID, ""); n != 0 || err != nil {
			t.Errorf("driven again: %d, %v", n, err)
		}
	}
}

func TestReportSettlesTheUnknown(t *testing.T) { everywhere(t, testReportSettlesTheUnknown) }

func testReportSettlesTheUnknown(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
	next := newNote("101", "201")
	keep(t, s, next, chainTo("wa:1", "crm"))
	finish(t, s, l, delivery.Result{Outcome: delivery.Unknown, Wait: time.Hour})
	claimNone(t, s)
	tell(t, s, "wa", l.Job, delivery.WasAccepted, delivery.Meaning{Settles: true})
	becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
	if got := claimSoon(t, s); got.Note.ID != next.ID {
		t.Errorf("claimed %+v", got)
	}
}

func TestRefused(t *testing.T) { everywhere(t, testRefused) }

func testRefused(t *testing.T, c composition) {
	for name, first := range map[string]delivery.Result{
		"waiting": waiting(time.Hour), "delivered": done(), "unknown": {Outcome: delivery.Unknown, Wait: time.Hour},
	} {
		o := c.options(t, t.TempDir())
		o.Operator = []string{delivery.EventDead}
		s := c.openWith(t, o)
		l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
		finish(t, s, l, first)
		tell(t, s, "wa", l.Job, delivery.WasRefused, delivery.Meaning{})
		tell(t, s, "wa", l.Job, delivery.WasAccepted, settles) // late, and no news
		next := claimSoon(t, s)
		if next.Job != l.Job || next.Step != 1 || next.Attempt != 1 || next.Unknown || next.Waited {
			t.Fatalf("%s: %+v", name, next)
		}
		finish(t, s, next, done())
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 1)
		tell(t, s, "wa", l.Job, delivery.WasRefused, delivery.Meaning{}) // twice
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 1)
		claimNone(t, s)

		// The last target's refusal is the note's death.
		tell(t, s, "crm", l.Job, delivery.WasRefused, delivery.Meaning{})
		becomes(t, s, l.Note.ID, delivery.JobDead, 1)
		if told := claimSoon(t, s); told.Target().String() != "operator:note.dead/crm" {
			t.Errorf("%s: %+v", name, told)
		}
		if n, err := s.Redrive(t.Context(), l.Note.ID, ""); n != 1 || err != nil {
			t.Fatal(name, n, err)
		}
		again := claimSoon(t, s)
		finish(t, s, again, waiting(time.Hour))
		tell(t, s, "wa", l.Job, delivery.WasRefused, delivery.Meaning{}) // another message
		if again = claimSoon(t, s); again.Step != 1 {
			t.Errorf("%s: driven again and refused again: %+v", name, again)
		}
		check(t, s.Close())
	}
}

// What reached the recipient cannot be refused, in whatever order it is told.
func TestDeliveredIsNotRefused(t *testing.T) { everywhere(t, testDeliveredIsNotRefused) }

func testDeliveredIsNotRefused(t *testing.T, c composition) {
	s := c.open(t)
	for _, whats := range [][]delivery.What{
		{delivery.WasDelivered, delivery.WasRefused},
		{delivery.WasRefused, delivery.WasDelivered, delivery.WasRefused},
		{delivery.WasPlayed, delivery.WasDelivered, delivery.WasRefused, delivery.WasAccepted, delivery.WasPlayed},
	} {
		l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
		finish(t, s, l, waiting(time.Hour))
		lines := map[string]int{}
		for _, what := range whats {
			m := delivery.Meaning{}
			if what.Includes(delivery.WasDelivered) {
				m = settles
			}
			tell(t, s, "wa", l.Job, what, m)
		}
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
		claimNone(t, s)
		for _, e := range life(t, s, l.Note.ID).Events {
			if lines[e.Name]++; lines[e.Name] > 1 {
				t.Errorf("%v: %s stands there twice", whats, e.Name)
			}
		}
	}
}

// What is reported while the job is being sent follows from its end.
// TestDeliveredIsNotDead: what is told in the last moment, while the attempt or
// the waiting ends without it, counts: nobody is told that the note is dead.
func TestDeliveredIsNotDead(t *testing.T) { everywhere(t, testDeliveredIsNotDead) }

func testDeliveredIsNotDead(t *testing.T, c composition) {
	o := c.options(t, t.TempDir())
	o.Operator = []string{delivery.EventDead, delivery.EventDelivered}
	s := c.openWith(t, o)
	for _, waited := range []bool{true, false} {
		l := keep(t, s, newNote("101", "201"), chainTo("wa:1"))[0]
		if waited {
			finish(t, s, l, waiting(0))
			l = claimSoon(t, s)
		}
		tell(t, s, "wa", l.Job, delivery.WasDelivered, settles)
		told := claimSoon(t, s)
		finish(t, s, l, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
		if told.Target().Address != delivery.EventDelivered+"/wa" {
			t.Errorf("told %v", told.Target())
		}
		finish(t, s, told, done())
		claimNone(t, s)
	}
}

func TestReportWhileSending(t *testing.T) { everywhere(t, testReportWhileSending) }

func testReportWhileSending(t *testing.T, c composition) {
	s := c.open(t)
	for _, tt := range []struct {
		what  delivery.What
		m     delivery.Meaning
		ends  func(delivery.Lease) error
		state delivery.JobState
		step  int
	}{
		{delivery.WasDelivered, settles, func(l delivery.Lease) error { return s.Finish(t.Context(), l, waiting(time.Hour)) }, delivery.JobDelivered, 0},
		{delivery.WasDelivered, settles, func(l delivery.Lease) error { return s.Release(t.Context(), l) }, delivery.JobDelivered, 0},
		{delivery.WasRefused, delivery.Meaning{}, func(l delivery.Lease) error { return s.Finish(t.Context(), l, waiting(time.Hour)) }, delivery.JobQueued, 1},
		{delivery.WasRefused, delivery.Meaning{}, func(l delivery.Lease) error { return s.Finish(t.Context(), l, done()) }, delivery.JobQueued, 1},
	} {
		l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
		tell(t, s, "wa", l.Job, tt.what, tt.m)
		check(t, tt.ends(l))
		becomes(t, s, l.Note.ID, tt.state, tt.step)
		if tt.state == delivery.JobQueued {
			finish(t, s, claimSoon(t, s), done())
		}
		claimNone(t, s)
	}
	twice := keep(t, s, newNote("101", "201"), chainTo("wa:1"))[0]
	for i, what := range []delivery.What{delivery.WasAccepted, delivery.WasDelivered, delivery.WasRead} {
		if up := tell(t, s, "wa", twice.Job, what, settles); up.Settled != (i == 0) {
			t.Errorf("%s while sending: settled %v", what, up.Settled)
		}
	}
	finish(t, s, twice, done())
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	finish(t, s, l, invited(time.Hour))
	if l = claimSoon(t, s); l.Waited || l.Step != 0 || l.Attempt != 2 {
		t.Errorf("asked for: %+v", l)
	}
	finish(t, s, l, invited(0))
	l = claimSoon(t, s)
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
	if l = claimSoon(t, s); l.Waited || l.Step != 0 {
		t.Errorf("asked for in the last moment: %+v", l)
	}
	finish(t, s, l, waiting(0))
	l = claimSoon(t, s)
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
	if l = claimSoon(t, s); l.Step != 1 {
		t.Errorf("asked for what he has: %+v", l)
	}
}

func TestReportsOutliveACrash(t *testing.T) {
	for _, c := range compositions() {
		t.Run(c.name, func(t *testing.T) {
			o := c.options(t, t.TempDir())
			s := openStore(t, o)
			var leases []delivery.Lease
			for range 3 {
				leases = append(leases, keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))...)
				finish(t, s, leases[len(leases)-1], waiting(0))
			}
			over := claim(t, s, 10) // the time is over; the process ends before that is acted on
			if len(over) != 3 {
				t.Fatalf("claimed %+v", over)
			}
			tell(t, s, "wa", over[0].Job, delivery.WasDelivered, settles)
			check(t, s.Close())
			s = openStore(t, o)
			becomes(t, s, over[0].Note.ID, delivery.JobDelivered, 0)
			again := claim(t, s, 10)
			if len(again) != 2 || !again[0].Waited || again[0].Unknown || again[0].Attempt != 1 {
				t.Fatalf("claimed %+v", again)
			}
			if got := names(life(t, s, again[0].Note.ID)); strings.Contains(got, "unknown") {
				t.Errorf("events %s", got)
			}
		})
	}
}

func TestEraseTakesReports(t *testing.T) { everywhere(t, testEraseTakesReports) }

func testEraseTakesReports(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1"))[0]
	finish(t, s, l, waiting(time.Hour))
	tell(t, s, "wa", l.Job, delivery.WasRead, delivery.Meaning{})
	_, err := s.(interface {
		Erase(ctx context.Context, mailbox string) (delivery.Erasure, error)
	}).Erase(t.Context(), "101")
	check(t, err)
	if n := count(t, s, "report"); n != 0 {
		t.Errorf("%d reports are left", n)
	}
	if _, err := s.Report(t.Context(), "wa", delivery.Report{Job: l.Job, What: delivery.WasRead}, settles); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("of an erased note: %v", err)
	}
}

// A waiting job has not ended: retention leaves its note.
func TestWaitingIsRetained(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir()})
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1"))[0]
	finish(t, s, l, waiting(time.Hour))
	if n := count(t, s, "note WHERE ended_at > 0"); n != 0 {
		t.Error("it has ended")
	}
}
