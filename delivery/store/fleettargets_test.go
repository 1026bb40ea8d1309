package store

import (
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// TestFleetRefusedBehindADelivery: what an earlier target's service took and
// gives back is not sent again where a later target has delivered it, and as a
// possible repeat where it may have.
func TestFleetRefusedBehindADelivery(t *testing.T) {
	t.Parallel()
	onRoles(t, func(t *testing.T, home, sender, ear *machine) {
		l := sentBy(t, home, sender, delivery.Result{Outcome: delivery.Dead, InDoubt: true})
		next := claimOne(t, sender)
		if next.Job != l.Job || next.Step != 1 {
			t.Fatalf("claimed %+v", next)
		}
		tell(t, ear, "wa", l.Job, delivery.WasAccepted, delivery.Meaning{Settles: true})
		finish(t, sender, next, done())
		eventually(t, "its home knows", func() bool { return strings.Contains(names(life(t, home, l.Note.ID)), "done crm") })
		tell(t, ear, "wa", l.Job, delivery.WasRefused, delivery.Meaning{})
		becomes(t, home, l.Note.ID, delivery.JobDelivered, 1)
		nothingDue(t, home, sender)
		becomes(t, home, l.Note.ID, delivery.JobDelivered, 1)

		l = sentBy(t, home, sender, delivery.Result{Outcome: delivery.Dead})
		next = claimOne(t, sender)
		tell(t, ear, "wa", l.Job, delivery.WasAccepted, delivery.Meaning{Settles: true})
		finish(t, sender, next, delivery.Result{Outcome: delivery.Unknown, Wait: time.Hour})
		eventually(t, "its home knows", func() bool { return strings.Contains(names(life(t, home, l.Note.ID)), "unknown crm") })
		becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
		tell(t, ear, "wa", l.Job, delivery.WasRefused, delivery.Meaning{})
		if again := claimOne(t, sender); again.Job != l.Job || again.Step != 1 || !again.Unknown {
			t.Errorf("claimed %+v", again)
		}
	})
}

// TestFleetReportOfATarget: which target a report is about, all machines know.
func TestFleetReportOfATarget(t *testing.T) {
	t.Parallel()
	onRoles(t, func(t *testing.T, home, sender, ear *machine) {
		l := waitsAtSecond(t, home, sender)
		tellOfTarget(t, ear, l, "1", delivery.WasRefused, delivery.Meaning{})
		eventually(t, "its home knows", func() bool { return strings.Contains(names(life(t, home, l.Note.ID)), "refused wa:1") })
		nothingDue(t, home, sender)
		tellOfTarget(t, ear, l, "2", delivery.WasRefused, delivery.Meaning{})
		next := claimOne(t, sender)
		if next.Job != l.Job || next.Step != 2 {
			t.Fatalf("claimed %+v", next)
		}
		tellOfTarget(t, ear, l, "1", delivery.WasDelivered, settles)
		finish(t, sender, next, delivery.Result{Outcome: delivery.Retry})
		becomes(t, home, l.Note.ID, delivery.JobDelivered, 0)
		nothingDue(t, home, sender)
	})
}

// waitsAtSecond has sender bring a new note of home's to the second target of its
// chain, of the same channel as the first one, where it waits for a report.
func waitsAtSecond(t *testing.T, home, sender *machine) delivery.Lease {
	t.Helper()
	l := keep(t, home, newNote("101", delivery.NewID()), chainTo("wa:1", "wa:2", "crm"))[0]
	if sender != home {
		check(t, home.Release(t.Context(), l))
		l = claimOne(t, sender)
	}
	finish(t, sender, l, delivery.Result{Outcome: delivery.Dead})
	l = claimOne(t, sender)
	finish(t, sender, l, waiting(time.Hour))
	return l
}

// TestFleetReportOfATargetWithoutRedis: nor is it forgotten until Redis can hear
// of it.
func TestFleetReportOfATargetWithoutRedis(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t, "appendonly yes")
	a, b := pair(t, setup, 0)
	l := waitsAtSecond(t, a, a)
	setup.Servers[0].Kill()
	eventually(t, "its absence is noticed", func() bool { return !a.shared.Up() && !b.shared.Up() })
	tellOfTarget(t, b, l, "1", delivery.WasRefused, delivery.Meaning{})
	setup.Servers[0].Start()
	eventually(t, "Redis has it", func() bool { return b.count(t, "relay WHERE told = 0") == 0 })
	eventually(t, "its home knows", func() bool { return strings.Contains(names(life(t, a, l.Note.ID)), "refused wa:1") })
	nothingDue(t, a, b)
	becomes(t, a, l.Note.ID, delivery.JobQueued, 1)
}

// TestFleetReportsOfTargetsWithoutRedis: what is told of one target does not take
// the place of what was told of another.
func TestFleetReportsOfTargetsWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, home := range map[string]bool{"at home": true, "elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t, "appendonly yes")
			a, ear := pair(t, setup, 0)
			l := waitsAtSecond(t, a, a)
			if home {
				ear = a
			}
			setup.Servers[0].Kill()
			eventually(t, "its absence is noticed", func() bool { return !ear.shared.Up() })
			tellOfTarget(t, ear, l, "2", delivery.WasRefused, delivery.Meaning{})
			tellOfTarget(t, ear, l, "1", delivery.WasRefused, delivery.Meaning{})
			setup.Servers[0].Start()
			eventually(t, "Redis has it", func() bool { return ear.count(t, "relay WHERE told = 0") == 0 })
			if next := claimOne(t, a); next.Job != l.Job || next.Step != 2 {
				t.Errorf("claimed %+v", next)
			}
		})
	}
}
