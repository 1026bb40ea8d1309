package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// TestFleetWaitedInDeath: a machine that dies as the time of waiting is over has
// sent nothing: the next one's lease is no possible repeat.
func TestFleetWaitedInDeath(t *testing.T) {
	t.Parallel()
	for name, restarts := range map[string]bool{"for good": false, "restarts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t)
			a, b := pair(t, setup, 3*time.Second)
			l := sentBy(t, a, b, waiting(0))
			if over := claimOne(t, b); !over.Waited {
				t.Fatalf("claimed %+v", over)
			}
			path := b.path
			b.crash(t)
			if restarts {
				startFleet(t, Options{Path: path, Redis: setup.URL}, shared.Options{Lease: 3 * time.Second})
			}
			over := claimOne(t, a)
			if !over.Waited || over.Unknown || over.Attempt != 1 {
				t.Fatalf("claimed %+v", over)
			}
			finish(t, a, over, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
			next := claimOne(t, a)
			finish(t, a, next, done())
			want := "recording, recorded, rendered, sending wa:1, waiting wa:1, dead wa:1, sending crm, done crm"
			a.hears(t, l.Note.ID, want)
		})
	}
}

// TestFleetKnowsNoJob: what no machine has is said to be none.
func TestFleetKnowsNoJob(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	r := delivery.Report{Job: delivery.NewID(), What: delivery.WasRead}
	if _, err := b.Report(t.Context(), "wa", r, settles); err != nil { // it may be a's
		t.Errorf("no job that Redis knows: %v", err)
	}
	eventually(t, "the others hear", func() bool { return b.count(t, "relay WHERE told = 0") == 0 })
	l := sentBy(t, a, b, waiting(time.Hour))
	_, err := a.Erase(t.Context(), "101")
	check(t, err)
	eventually(t, "it is erased elsewhere", func() bool { return b.count(t, "attempt") == 0 })
	r.Job = l.Job
	for _, m := range []*machine{a, b} {
		if _, err := m.Report(t.Context(), "wa", r, settles); !errors.Is(err, delivery.ErrNotFound) {
			t.Errorf("an erased note's: %v", err)
		}
	}
	if n := b.count(t, "relay WHERE told = 0") + a.count(t, "relay") + a.count(t, "report"); n != 0 {
		t.Errorf("%d reports are left", n)
	}
}

// TestFleetTellsTheOperator: what another machine hears or does is told by the
// note's home, once.
func TestFleetTellsTheOperator(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	o := Options{Path: t.TempDir(), Redis: setup.URL, Operator: []string{delivery.EventDelivered, delivery.EventRead}}
	a := startFleet(t, o, shared.Options{})
	o.Path = t.TempDir()
	b := startFleet(t, o, shared.Options{})
	a.awaitReady(t)
	b.awaitReady(t)
	arrived := done()
	arrived.Arrived = true
	l, unread := sentBy(t, a, b, arrived), sentBy(t, a, b, done())
	for range 2 {
		tell(t, b, "wa", l.Job, delivery.WasRead, settles)
		check(t, b.Mark(t.Context(), "101", unread.Note.ID, delivery.MarkRead))
		tell(t, b, "wa", unread.Job, delivery.WasDelivered, settles)
	}
	told := map[string]int{}
	for range 4 {
		l := claimOne(t, a)
		told[fmt.Sprint(l.Note.ID, l.Target())]++
		finish(t, a, l, done())
	}
	for _, want := range []string{
		l.Note.ID + "{operator note.delivered/wa}", l.Note.ID + "{operator note.read/wa}",
		unread.Note.ID + "{operator note.delivered/wa}", unread.Note.ID + "{operator note.read/inbox}",
	} {
		want = strings.NewReplacer("{operator ", "operator:", "}", "").Replace(want)
		if told[want] != 1 {
			t.Errorf("told %v, want %s once", told, want)
		}
	}
	time.Sleep(2 * a.every)
	nothingDue(t, a, b)
}
