package store

import (
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// tellOfTarget reports what the service of a channel says of a job at one of its
// targets.
func tellOfTarget(tb testing.TB, s keeper, l delivery.Lease, address string, what delivery.What, m delivery.Meaning) {
	tb.Helper()
	_, err := s.Report(tb.Context(), "wa", delivery.Report{Job: l.Job, Address: &address, What: what}, m)
	check(tb, err)
}

// atSecond is a lease of a new note at the second target of its chain, of the
// same channel as the first one.
func atSecond(tb testing.TB, s keeper) delivery.Lease {
	tb.Helper()
	l := keep(tb, s, newNote("101", delivery.NewID()), chainTo("wa:1", "wa:2", "crm"))[0]
	finish(tb, s, l, delivery.Result{Outcome: delivery.Dead, InDoubt: true})
	l = claimSoon(tb, s)
	if l.Target().Address != "2" {
		tb.Fatalf("claimed %+v", l)
	}
	return l
}

// What is told of a target ends no other of the same channel, but a delivery by
// any of them settles the chain.
func TestReportOfATarget(t *testing.T) { everywhere(t, testReportOfATarget) }

func testReportOfATarget(t *testing.T, c composition) {
	s := c.open(t)
	accepted := delivery.Meaning{Settles: true}
	for _, r := range []delivery.Result{waiting(time.Hour), {Outcome: delivery.Unknown, Wait: time.Hour}, done()} {
		l := atSecond(t, s)
		finish(t, s, l, r)
		tellOfTarget(t, s, l, "1", delivery.WasRefused, delivery.Meaning{})
		tellOfTarget(t, s, l, "1", delivery.WasAsked, delivery.Meaning{})
		tellOfTarget(t, s, l, "1", delivery.WasBounced, delivery.Meaning{})
		claimNone(t, s)
		tellOfTarget(t, s, l, "2", delivery.WasRefused, delivery.Meaning{})
		next := claimSoon(t, s)
		if next.Job != l.Job || next.Step != 2 {
			t.Fatalf("after %s: %+v", r.Outcome, next)
		}
		tellOfTarget(t, s, l, "1", delivery.WasDelivered, settles)
		finish(t, s, next, delivery.Result{Outcome: delivery.Retry})
		becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
		claimNone(t, s)
	}

	// Where the first one settles the chain and refuses then, the second has its
	// turn; but not once more.
	back := atSecond(t, s)
	finish(t, s, back, delivery.Result{Outcome: delivery.Retry, Wait: time.Hour})
	tellOfTarget(t, s, back, "1", delivery.WasAccepted, accepted)
	becomes(t, s, back.Note.ID, delivery.JobDelivered, 0)
	tellOfTarget(t, s, back, "1", delivery.WasRefused, delivery.Meaning{})
	next := claimSoon(t, s)
	if next.Job != back.Job || next.Target().Address != "2" {
		t.Fatalf("claimed %+v", next)
	}
	finish(t, s, next, done())
	becomes(t, s, back.Note.ID, delivery.JobDelivered, 1)

	both := atSecond(t, s)
	tellOfTarget(t, s, both, "1", delivery.WasAccepted, accepted)
	finish(t, s, both, done())
	tellOfTarget(t, s, both, "1", delivery.WasRefused, delivery.Meaning{})
	becomes(t, s, both.Note.ID, delivery.JobDelivered, 1)
	claimNone(t, s)
}
