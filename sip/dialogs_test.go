package sip

import (
	"errors"
	"testing"
	"time"
)

func TestDialogsForget(t *testing.T) {
	const keep = 32 * time.Second
	start := time.Unix(1e9, 0)
	table := newDialogs(keep)
	known := func(tg tag) bool { _, ok := table.find(tg); return ok }
	unclaimed, long, short, refused := tag{1, 1}, tag{2, 1}, tag{3, 1}, tag{4, 1}
	for _, tg := range []tag{unclaimed, long, short, refused} {
		table.arrive(tg, start)
	}
	for _, tg := range []tag{long, short, refused} {
		if d, err := table.claim(tg, start); d == nil || err != nil {
			t.Fatalf("claim: %v, %v", d, err)
		}
	}
	if _, err := table.claim(long, start); !errors.Is(err, errResent) {
		t.Errorf("a second claim: %v", err)
	}
	table.end(short, start.Add(keep-time.Second))
	table.refuse(refused)
	table.end(refused, start)

	fork := tag{3, 2}
	table.arrive(fork, start)
	if _, err := table.claim(fork, start); !errors.Is(err, errMerged) {
		t.Errorf("another branch of an answered INVITE: %v", err)
	}
	retry := tag{4, 2}
	table.arrive(retry, start)
	if d, err := table.claim(retry, start); d == nil || err != nil {
		t.Errorf("another branch of a refused INVITE: %v, %v", d, err)
	}

	table.arrive(tag{9, 9}, start.Add(keep))
	for tg, want := range map[tag]bool{unclaimed: false, long: true, short: true, retry: true} {
		if known(tg) != want {
			t.Errorf("after 64*T1: tag %v known %v, want %v", tg, !want, want)
		}
	}
	table.arrive(tag{9, 8}, start.Add(2*keep))
	if known(short) || !known(long) {
		t.Error("64*T1 after its end a call is remembered, or one in progress forgotten")
	}
	if live := table.live(); len(live) != 2 {
		t.Errorf("%d live", len(live))
	}
}

// An INVITE that was erased may come again; a copy of it that had arrived before
// is no other branch.
func TestDialogsErase(t *testing.T) {
	start := time.Unix(1e9, 0)
	table := newDialogs(time.Minute)
	one, other := tag{1, 1}, tag{2, 1}
	table.arrive(one, start)
	table.arrive(other, start)
	table.erase(one, true) // not claimed
	table.erase(one, false)
	if _, known := table.find(one); known {
		t.Error("it is not erased")
	}
	table.erase(tag{2, 2}, false) // a fork
	table.arrive(one, start)
	for _, tg := range []tag{one, other} {
		if d, err := table.claim(tg, start); d == nil || err != nil {
			t.Errorf("%v: %v, %v", tg, d, err)
		}
	}
	if len(table.queue) != 2 {
		t.Errorf("%d to look at again", len(table.queue))
	}
}

// A copy of an INVITE that was erased, and another branch of it, are served like
// the first where they had arrived before: over TCP nobody sends them again.
func TestDialogsEraseBesideOthers(t *testing.T) {
	start := time.Unix(1e9, 0)
	first := tag{1, 1}
	for name, late := range map[string]tag{"a copy": first, "another branch": {1, 2}} {
		table := newDialogs(time.Minute)
		table.arrive(first, start)
		table.arrive(late, start)
		table.erase(first, false)
		if d, err := table.claim(late, start); d == nil || err != nil {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}
