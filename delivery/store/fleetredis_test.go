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
