package store

import (
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestAskedFor(t *testing.T) { everywhere(t, testAskedFor) }

func testAskedFor(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
	finish(t, s, l, invited(time.Hour))
	asked := s.Now()
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	l = claimSoon(t, s)
	if l.Waited || l.Step != 0 || l.Attempt != 2 || l.Unknown || l.First.Before(asked.Add(-c.late())) {
		t.Fatalf("asked for: %+v", l)
	}
	finish(t, s, l, invited(time.Hour)) // once more an invitation
	claimNone(t, s)
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	l = claimSoon(t, s)
	finish(t, s, l, waiting(time.Hour)) // the note itself
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	claimNone(t, s)
	tell(t, s, "wa", l.Job, delivery.WasRead, settles)
	tell(t, s, "wa", l.Job, delivery.WasAsked, delivery.Meaning{})
	becomes(t, s, l.Note.ID, delivery.JobDelivered, 0)
	claimNone(t, s)
}

// A note that its service gives back after it took it goes out once more at
// once, however the job waits; one that reached the recipient does not.
func TestBounced(t *testing.T) { everywhere(t, testBounced) }

func testBounced(t *testing.T, c composition) {
	s := c.open(t)
	bounces := func(l delivery.Lease) { tell(t, s, "wa", l.Job, delivery.WasBounced, delivery.Meaning{}) }
	again := func(attempt int) delivery.Lease {
		t.Helper()
		l := claimSoon(t, s)
		if l.Waited || l.Step != 0 || l.Attempt != attempt || l.Unknown {
			t.Fatalf("it came back: %+v, want attempt %d", l, attempt)
		}
		claimNone(t, s)
		return l
	}
	l := keep(t, s, newNote("101", "201"), chainTo("wa:1", "crm"))[0]
	for i, r := range []delivery.Result{waiting(time.Hour), invited(time.Hour)} {
		finish(t, s, l, r)
		bounced := s.Now()
		bounces(l)
		bounces(l)
		if l = again(2 + i); l.First.Before(bounced.Add(-c.late())) {
			t.Errorf("its time did not begin anew: %+v", l)
		}
	}
	bounces(l) // before the service's answer
	finish(t, s, l, waiting(0))
	l = again(4)
	finish(t, s, l, waiting(0))
	l = claimSoon(t, s)
	if !l.Waited {
		t.Fatalf("claimed %+v", l)
	}
	bounces(l) // in the last moment
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead, Detail: "no word"})
	l = again(5)
	bounces(l)
	check(t, s.PutOff(t.Context(), l, 0))
	l = again(5)
	finish(t, s, l, waiting(time.Hour))
	claimNone(t, s)
	tell(t, s, "wa", l.Job, delivery.WasDelivered, delivery.Meaning{Arrived: true})
	bounces(l)
	claimNone(t, s)
	if got := names(life(t, s, l.Note.ID)); strings.Contains(got, "asked") || !strings.Contains(got, "bounced wa:1") {
		t.Errorf("events %s", got)
	}
}
