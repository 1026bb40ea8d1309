package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// sentBy has a machine make the first attempt at a new note of home's.
func sentBy(t *testing.T, home, sender *machine, r delivery.Result) delivery.Lease {
	t.Helper()
	leases := keep(t, home, newNote("101", delivery.NewID()), chainTo("wa:1", "crm"))
	if len(leases) != 1 {
		t.Fatalf("leases %+v", leases)
	}
	l := leases[0]
	if sender != home {
		check(t, home.Release(t.Context(), l))
		l = claimOne(t, sender)
	}
	check(t, sender.Start(t.Context(), l))
	finish(t, sender, l, r)
	return l
}

// nothingDue fails when either machine gets a job.
func nothingDue(t *testing.T, machines ...*machine) {
	t.Helper()
	for _, m := range machines {
		claimNone(t, m)
	}
}

// onRoles runs a test for each way to share a note's work: a is its home, sender
// makes the attempt, ear is told of it.
func onRoles(t *testing.T, test func(t *testing.T, home, sender, ear *machine)) {
	t.Helper()
	for name, roles := range map[string][2]int{
		"all at home": {0, 0}, "heard elsewhere": {0, 1}, "sent elsewhere": {1, 0}, "sent and heard elsewhere": {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, redistest.Single(t), 0)
			both := [...]*machine{a, b}
			test(t, a, both[roles[0]], both[roles[1]])
		})
	}
}

// TestFleetDoubtOutlivesDeath: whoever drives a note again whose last answer was
// lost sends it as a possible repeat. The attempt keeps the doubt, for a Redis
// that forgets it.
func TestFleetDoubtOutlivesDeath(t *testing.T) {
	t.Parallel()
	home, sender := pair(t, redistest.Single(t), 0)
	l := sentBy(t, home, sender, delivery.Result{Outcome: delivery.Dead, InDoubt: true})
	a, err := scanAttempt(sender.readers.QueryRowContext(t.Context(), "SELECT "+attemptColumns+" FROM attempt WHERE job = ?", l.Job))
	if err != nil || a.Unknown != 1 {
		t.Errorf("kept %+v, %v", a, err)
	}
	finish(t, sender, claimOne(t, sender), delivery.Result{Outcome: delivery.Dead})
	home.hears(t, l.Note.ID, "recording, recorded, rendered, sending wa:1, dead wa:1, sending crm, dead crm")
	jobs, err := sender.Redrive(t.Context(), l.Note.ID, "")
	check(t, err)
	if again := claimOne(t, sender); jobs != 1 || !again.Unknown {
		t.Errorf("redriven %+v", again)
	}
}

// TestFleetReportSettles: a report settles a job whoever hears it, once.
func TestFleetReportSettles(t *testing.T) {
	t.Parallel()
	onRoles(t, func(t *testing.T, home, sender, ear *machine) {
		for _, first := range []delivery.Result{waiting(time.Hour), {Outcome: delivery.Unknown, Wait: time.Hour}} {
			l := sentBy(t, home, sender, first)
			for range 2 {
				tell(t, ear, "wa", l.Job, delivery.WasAccepted, delivery.Meaning{})
				tell(t, ear, "wa", l.Job, delivery.WasRead, settles)
			}
			becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
			nothingDue(t, home, sender)
			for _, line := range []string{"sending", string(first.Outcome), "accepted", "read"} { // another machine's come later
				eventually(t, line, func() bool { return strings.Count(names(life(t, home, l.Note.ID)), line+" wa:1") == 1 })
			}
			if life(t, home, l.Note.ID).Note.ReadAt.IsZero() {
				t.Error("it is not marked")
			}
			thread, err := ear.Thread(t.Context(), "101", "", 1)
			check(t, err)
			if len(thread) != 1 || thread[0].ReadAt.IsZero() {
				t.Errorf("the thread elsewhere: %+v", thread)
			}
		}
		eventually(t, "Redis has it all", func() bool { return ear.count(t, "relay WHERE told = 0") == 0 })
	})
}

// TestFleetRefused: what a service refuses goes on to the next target, though it
// was delivered; what comes late of the first attempt changes nothing.
func TestFleetRefused(t *testing.T) {
	t.Parallel()
	onRoles(t, func(t *testing.T, home, sender, ear *machine) {
		for _, first := range []delivery.Result{waiting(time.Hour), done(), {Outcome: delivery.Unknown, Wait: time.Hour}} {
			l := sentBy(t, home, sender, first)
			if first.Outcome == delivery.Unknown {
				tell(t, ear, "wa", l.Job, delivery.WasAccepted, settles)
				becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
			}
			tell(t, ear, "wa", l.Job, delivery.WasRefused, delivery.Meaning{})
			next := claimOne(t, ear)
			if next.Job != l.Job || next.Step != 1 || next.Attempt != 1 || next.Unknown {
				t.Fatalf("after %s: %+v", first.Outcome, next)
			}
			tell(t, ear, "wa", l.Job, delivery.WasAccepted, settles)
			tell(t, ear, "wa", l.Job, delivery.WasRefused, delivery.Meaning{})
			finish(t, ear, next, done())
			becomes(t, home, l.Note.ID, delivery.JobDelivered, 1)
			tell(t, ear, "crm", l.Job, delivery.WasRefused, delivery.Meaning{})
			becomes(t, home, l.Note.ID, delivery.JobDead, 1)
			told := claimOne(t, home)
			if told.Target().String() != "operator:note.dead/crm" {
				t.Errorf("told %+v", told)
			}
			finish(t, home, told, done())
			nothingDue(t, home, ear)

			n, err := home.Redrive(t.Context(), l.Note.ID, "")
			if err != nil || n != 1 {
				t.Fatal(n, err)
			}
			again := claimOne(t, ear)
			if again.Job != l.Job || again.Step != 0 {
				t.Fatalf("driven again: %+v", again)
			}
			finish(t, ear, again, done())
			becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
			nothingDue(t, home, ear)
		}
	})
}

// TestFleetAsked: who asks for a note gets it at once.
func TestFleetAsked(t *testing.T) {
	t.Parallel()
	onRoles(t, func(t *testing.T, home, sender, ear *machine) {
		l := sentBy(t, home, sender, invited(time.Hour))
		tell(t, ear, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
		again := claimOne(t, sender)
		if again.Waited || again.Step != 0 || again.Attempt != 2 || again.Unknown {
			t.Fatalf("claimed %+v", again)
		}
		finish(t, sender, again, done())
		becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
		nothingDue(t, home, sender)
	})
}

// TestFleetBounced: a note that came back goes out once more at once, and its
// home says why.
func TestFleetBounced(t *testing.T) {
	t.Parallel()
	onRoles(t, func(t *testing.T, home, sender, ear *machine) {
		l := sentBy(t, home, sender, waiting(time.Hour))
		tell(t, ear, "wa", l.Job, delivery.WasBounced, delivery.Meaning{})
		eventually(t, "its home knows that it is due", func() bool { return home.count(t, "job WHERE waits = 4") == 1 })
		eventually(t, "its home says why", func() bool { return strings.Contains(names(life(t, home, l.Note.ID)), "bounced wa:1") })
		again := claimOne(t, sender)
		if again.Waited || again.Step != 0 || again.Attempt != 2 || again.Unknown {
			t.Fatalf("claimed %+v", again)
		}
		finish(t, sender, again, waiting(time.Hour))
		tell(t, ear, "wa", l.Job, delivery.WasDelivered, settles)
		becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
		nothingDue(t, home, sender)
	})
}

// TestFleetForgetsThatItBounced: a Redis that forgets does not have a note wait
// again that came back.
func TestFleetForgetsThatItBounced(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	l := sentBy(t, a, b, waiting(time.Hour))
	tell(t, b, "wa", l.Job, delivery.WasBounced, delivery.Meaning{})
	eventually(t, "its home knows that it is due", func() bool { return a.count(t, "job WHERE waits = 4") == 1 })
	setup.Flush()
	a.awaitReady(t)
	b.awaitReady(t)
	again := claimOne(t, a)
	if again.Waited || again.Step != 0 || again.Attempt != 2 {
		t.Fatalf("claimed %+v", again)
	}
	finish(t, a, again, done())
	becomes(t, a, l.Note.ID, delivery.JobDelivered, 0)
	nothingDue(t, a, b)
}

// TestFleetReportWhileSending: what another machine hears of a note that is just
// being sent is what comes of the attempt.
func TestFleetReportWhileSending(t *testing.T) {
	t.Parallel()
	a, b := pair(t, redistest.Single(t), 0)
	for _, sender := range []*machine{a, b} {
		for _, outcome := range []delivery.Result{waiting(time.Hour), done()} {
			l := keep(t, a, newNote("101", delivery.NewID()), chainTo("wa:1", "crm"))[0]
			if sender == b {
				check(t, a.Release(t.Context(), l))
				l = claimOne(t, b)
			}
			tell(t, a, "wa", l.Job, delivery.WasAccepted, settles)
			tell(t, b, "wa", l.Job, delivery.WasRefused, delivery.Meaning{})
			finish(t, sender, l, outcome)
			next := claimOne(t, b)
			if next.Job != l.Job || next.Step != 1 {
				t.Fatalf("claimed %+v", next)
			}
			tell(t, a, "wa", l.Job, delivery.WasDelivered, settles) // after all
			finish(t, b, next, delivery.Result{Outcome: delivery.Retry})
			becomes(t, a, l.Note.ID, delivery.JobDelivered, 0)
			nothingDue(t, a, b)
		}
	}
}

// TestFleetReportWithoutRedis: a report is kept while Redis is away, over a
// crash of the machine that heard it, and counts before anything is sent again.
func TestFleetReportWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]bool{"running": false, "crashed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t, "appendonly yes")
			a, b := pair(t, setup, 0)
			settled, refused := sentBy(t, a, b, waiting(time.Hour)), sentBy(t, a, b, waiting(time.Hour))
			back, own := sentBy(t, a, b, done()), sentBy(t, a, a, waiting(time.Hour))
			becomes(t, a, back.Note.ID, delivery.JobDelivered, 0)
			setup.Servers[0].Kill()
			eventually(t, "its absence is noticed", func() bool { return !a.shared.Up() && !b.shared.Up() })
			tell(t, b, "wa", settled.Job, delivery.WasDelivered, settles)
			tell(t, b, "wa", refused.Job, delivery.WasRefused, delivery.Meaning{})
			tell(t, b, "wa", back.Job, delivery.WasRefused, delivery.Meaning{})
			tell(t, b, "wa", delivery.NewID(), delivery.WasDelivered, settles) // another installation's, it turns out
			tell(t, a, "wa", own.Job, delivery.WasDelivered, settles)
			becomes(t, a, own.Note.ID, delivery.JobDelivered, 0)
			if crash {
				o := Options{Path: b.path, Redis: setup.URL}
				b.crash(t)
				b = startFleet(t, o, shared.Options{})
			}
			setup.Servers[0].Start()
			becomes(t, a, settled.Note.ID, delivery.JobDelivered, 0)
			for range 2 {
				next := claimOne(t, a)
				if next.Step != 1 || (next.Job != refused.Job && next.Job != back.Job) {
					t.Fatalf("claimed %+v", next)
				}
				finish(t, a, next, done())
			}
			eventually(t, "Redis has it all", func() bool { return b.count(t, "relay WHERE told = 0") == 0 })
			nothingDue(t, a, b)
		})
	}
}

// TestFleetReportOfASoloNote: what another machine hears of a note that its home
// sent while Redis was away reaches the home, and does as much as if it had
// heard it itself.
func TestFleetReportOfASoloNote(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"heard meanwhile", "heard later", "forgotten before the home heard"} {
		t.Run(name, func(t *testing.T) {
			early := name == "heard meanwhile"
			t.Parallel()
			setup := redistest.Single(t, "appendonly yes")
			a, b := pair(t, setup, 0)
			setup.Servers[0].Kill()
			eventually(t, "its absence is noticed", func() bool { return !a.shared.Up() && !b.shared.Up() })
			refused, read := sentBy(t, a, a, done()), sentBy(t, a, a, done())
			if refused.Epoch != 0 {
				t.Fatalf("lease %+v", refused)
			}
			path := a.path
			back := func() {
				setup.Servers[0].Start()
				a.awaitReady(t)
				b.awaitReady(t)
			}
			if !early { // and while the home is not there
				back()
				check(t, a.Close())
			}
			for range 2 {
				tell(t, b, "wa", refused.Job, delivery.WasRefused, delivery.Meaning{})
				tell(t, b, "wa", read.Job, delivery.WasRead, settles)
			}
			if name == "forgotten before the home heard" {
				eventually(t, "it is proclaimed", func() bool { return b.count(t, "relay WHERE told = 0") == 0 })
				setup.Flush()
				b.change(t, "UPDATE relay SET heard_at = heard_at - ?", (8 * time.Second).Microseconds())
			}
			if early {
				back()
			} else {
				a = startFleet(t, Options{Path: path, Redis: setup.URL}, shared.Options{})
			}
			next := claimOne(t, a)
			if next.Job != refused.Job || next.Step != 1 || next.Unknown {
				t.Fatalf("claimed %+v", next)
			}
			finish(t, a, next, done())
			becomes(t, a, refused.Note.ID, delivery.JobDelivered, 1)
			eventually(t, "it is marked", func() bool { return !life(t, a, read.Note.ID).Note.ReadAt.IsZero() })
			nothingDue(t, a, b)
			a.settledUp(t)
		})
	}
}

// TestFleetForgetsReports: a Redis that forgets is told what waits, and what was
// reported: nothing is sent twice, and nothing is lost.
func TestFleetForgetsReports(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	waits := sentBy(t, a, b, waiting(time.Hour))
	settled, back := sentBy(t, a, b, waiting(time.Hour)), sentBy(t, a, b, done())
	tell(t, a, "wa", settled.Job, delivery.WasDelivered, settles)
	becomes(t, a, back.Note.ID, delivery.JobDelivered, 0)
	tell(t, b, "wa", back.Job, delivery.WasRefused, delivery.Meaning{})
	next := claimOne(t, b)
	if next.Job != back.Job || next.Step != 1 {
		t.Fatalf("claimed %+v", next)
	}
	finish(t, b, next, waiting(time.Hour))
	sentBy(t, a, b, delivery.Result{Outcome: delivery.Retry})
	sending := claimOne(t, b)
	tell(t, a, "wa", sending.Job, delivery.WasDelivered, settles)
	const wait = 5 * time.Second
	over := sentBy(t, a, b, waiting(wait))
	due := time.Now().Add(wait)
	setup.Flush()
	a.awaitReady(t)
	b.awaitReady(t)
	time.Sleep(2 * a.every)
	if err := b.Finish(t.Context(), sending, delivery.Result{Outcome: delivery.Retry}); err != nil && !errors.Is(err, delivery.ErrFenced) {
		t.Error(err)
	}
	becomes(t, a, sending.Note.ID, delivery.JobDelivered, 0)
	if time.Until(due) > time.Second {
		nothingDue(t, a, b)
	}
	tell(t, b, "wa", waits.Job, delivery.WasDelivered, settles)
	becomes(t, a, waits.Note.ID, delivery.JobDelivered, 0)
	tell(t, b, "crm", back.Job, delivery.WasDelivered, settles)
	becomes(t, a, back.Note.ID, delivery.JobDelivered, 1)
	becomes(t, a, settled.Note.ID, delivery.JobDelivered, 0)
	last := claimOne(t, a)
	if last.Job != over.Job || !last.Waited {
		t.Errorf("claimed %+v", last)
	}
	finish(t, a, last, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
	if last = claimOne(t, b); last.Step != 1 || last.Unknown {
		t.Errorf("claimed %+v", last)
	}
	finish(t, b, last, done())
	a.settledUp(t)
}
