package store

import (
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
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
