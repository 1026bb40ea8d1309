package store

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// TestFleetHearsBeforeItTells: a machine that was away for longer than Redis
// remembers takes in what became of its notes before it tells what it believes.
func TestFleetHearsBeforeItTells(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
	check(t, a.Release(t.Context(), l))
	a.crash(t)
	again := claimOne(t, b)
	finish(t, b, again, done())
	for i := range shared.Count {
		setup.Servers[0].Do(fmt.Sprintf("DEL afterbeep:{%02d}:job:%s", i, l.Job)) // as ten days do
	}
	f, err := OpenFleet(Options{Path: a.path, Redis: setup.URL}, quiet())
	check(t, err)
	defer func() { check(t, f.Close()) }()
	check(t, f.shared.Reach(t.Context()))
	err = ledger{f}.Recall(t.Context(), ^shared.Shards(0), func(fact shared.Fact) error {
		if fact.Kind == shared.IsPending {
			t.Errorf("what was delivered is told as pending: %+v", fact)
		}
		return nil
	})
	check(t, err)
}

// TestFleetFullRedis: what a full Redis has no room for goes out from here,
// its later attempts too.
func TestFleetFullRedis(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, _ := pair(t, setup, 0)
	setup.Servers[0].Do("CONFIG SET maxmemory 1")
	eventually(t, "a beat sees it", a.shared.Full)
	l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
	if l.Epoch != 0 {
		t.Fatalf("lease %+v", l)
	}
	finish(t, a, l, delivery.Result{Outcome: delivery.Retry, Wait: 3 * settleEvery})
	if l = claimOne(t, a); l.Epoch != 0 || l.Attempt != 2 {
		t.Errorf("lease %+v", l)
	}
	finish(t, a, l, delivery.Result{Outcome: delivery.Retry})
	setup.Servers[0].Do("CONFIG SET maxmemory 0")
	eventually(t, "it is shared", func() bool { return a.count(t, "job WHERE shared = 2") == 1 })
}

// TestStrayIsNotBegun: a lease that is given back as a stray is not begun
// meanwhile by whoever was just writing it down.
func TestStrayIsNotBegun(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := startFleet(t, Options{Path: t.TempDir(), Redis: setup.URL}, shared.Options{Answer: time.Second})
	a.awaitReady(t)
	check(t, a.Release(t.Context(), keep(t, a, newNote("101", "201"), chainTo("crm"))[0]))
	granted, err := a.shared.Claim(t.Context(), 1)
	check(t, err)
	setup.Servers[0].Pause()
	var dropping sync.WaitGroup
	dropping.Go(func() { check(t, a.dropStray(t.Context(), granted[0].Job)) })
	time.Sleep(300 * time.Millisecond) // the answer is being waited for
	leases, err := a.take(t.Context(), granted)
	check(t, err)
	if err := a.Start(t.Context(), leases[0]); err == nil {
		t.Error("it was begun")
	}
	setup.Servers[0].Resume()
	dropping.Wait()
	finish(t, a, claimOne(t, a), done())
}

// TestRedisIsGone: Redis is taken out of the configuration. Notes that ended
// before go on from here alone: a dead one that is driven again, and a delivered
// one that its service refuses after all. Redis does not undo it when it is back.
func TestRedisIsGone(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	path := t.TempDir()
	f := joinFleet(t, Options{Path: path, Redis: setup.URL})
	died := keep(t, f, newNote("101", "201"), chainTo("crm"))[0]
	finish(t, f, died, delivery.Result{Outcome: delivery.Dead})
	refused := keep(t, f, newNote("101", "202"), chainTo("wa:1", "crm"))[0]
	finish(t, f, refused, done())
	last := keep(t, f, newNote("101", "203"), chainTo("wa:1"))[0]
	finish(t, f, last, done())
	f.settledUp(t)
	check(t, f.Close())

	s := openStore(t, Options{Path: path})
	if n, err := s.Redrive(t.Context(), died.Note.ID, ""); n != 1 || err != nil {
		t.Errorf("redriven %d, %v", n, err)
	}
	if got := claim(t, s, 10); len(got) != 1 || got[0].Job != died.Job || got[0].Unknown {
		t.Errorf("redriven, claimed %+v", got)
	} else {
		finish(t, s, got[0], done())
	}
	tell(t, s, "wa", refused.Job, delivery.WasRefused, delivery.Meaning{})
	if got := claim(t, s, 10); len(got) != 1 || got[0].Job != refused.Job || got[0].Step != 1 || got[0].Unknown {
		t.Errorf("refused, claimed %+v", got)
	} else {
		finish(t, s, got[0], delivery.Result{Outcome: delivery.Retry})
	}
	if up := tell(t, s, "wa", last.Job, delivery.WasRefused, delivery.Meaning{}); !up.Dead {
		t.Errorf("refused by the last target: %+v", up)
	}
	check(t, s.Close())

	f = joinFleet(t, Options{Path: path, Redis: setup.URL})
	if got := claimOne(t, f); got.Job != refused.Job || got.Step != 1 {
		t.Errorf("Redis is back, claimed %+v", got)
	} else {
		finish(t, f, got, done())
	}
	f.settledUp(t)
	becomes(t, f, refused.Note.ID, delivery.JobDelivered, 1)
	becomes(t, f, last.Note.ID, delivery.JobDead, 0)
	becomes(t, f, died.Note.ID, delivery.JobDelivered, 0)
}
