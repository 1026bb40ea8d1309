package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// idsOf are the notes' ids without what differs from call to call.
func idsOf(list []delivery.Summary) (ids []string) {
	for _, s := range list {
		ids = append(ids, s.Note.ID)
	}
	return ids
}

func TestList(t *testing.T) { everywhere(t, testList) }

func testList(t *testing.T, c composition) {
	s := c.openTelling(t)
	ids := map[string]string{}
	add := func(name, mailbox string, outcome delivery.Outcome, to ...string) {
		n := newNote(mailbox, name)
		ids[name] = n.ID
		time.Sleep(2 * time.Millisecond) // ids of one millisecond have no order
		l := keep(t, s, n, chainTo(to...))[0]
		finish(t, s, l, delivery.Result{Outcome: outcome, Wait: time.Hour})
		for _, next := range claim(t, s, 1) { // the chain goes on, or the operator is told
			if next.Target().Channel == delivery.Operator {
				finish(t, s, next, delivery.Result{Outcome: delivery.Done})
			}
		}
	}
	add("delivered", "101", delivery.Done, "crm")
	add("dead", "101", delivery.Dead, "crm")
	add("queued", "102", delivery.Retry, "crm")
	add("sending", "101", delivery.Dead, "crm", "bot")
	recording := newNote("102", "recording")
	ids["recording"] = recording.ID
	begin(t, s, recording)

	tests := []struct {
		name   string
		filter delivery.Filter
		want   []string
	}{
		{"all", delivery.Filter{}, []string{"recording", "sending", "queued", "dead", "delivered"}},
		{"mailbox", delivery.Filter{Mailbox: "101"}, []string{"sending", "dead", "delivered"}},
		{"no such mailbox", delivery.Filter{Mailbox: "1"}, nil},
		{"limit", delivery.Filter{Limit: 2}, []string{"recording", "sending"}},
		{"before", delivery.Filter{Before: ids["queued"]}, []string{"dead", "delivered"}},
		{"recording", delivery.Filter{State: "recording"}, []string{"recording"}},
		{"rendered", delivery.Filter{State: "rendered", Mailbox: "102"}, []string{"queued"}},
		{"queued", delivery.Filter{State: "queued"}, []string{"queued"}},
		{"sending", delivery.Filter{State: "sending"}, []string{"sending"}},
		{"delivered", delivery.Filter{State: "delivered"}, []string{"delivered"}},
		{"dead", delivery.Filter{State: "dead"}, []string{"dead"}},
		{"no such state", delivery.Filter{State: "lost"}, nil},
		{"channel", delivery.Filter{Channel: "crm"}, []string{"queued", "dead", "delivered"}},
		{"the next channel", delivery.Filter{Channel: "bot"}, []string{"sending"}},
		{"dead at a channel", delivery.Filter{Channel: "crm", State: "dead"}, []string{"dead"}},
		{"dead at another", delivery.Filter{Channel: "bot", State: "dead"}, nil},
		{"dead for the operator", delivery.Filter{Channel: "operator", State: "dead"}, nil},
		{"told to the operator", delivery.Filter{Channel: "operator", State: "delivered"}, []string{"dead"}},
		{"since", delivery.Filter{Since: delivery.MintedAt(ids["queued"])}, []string{"recording", "sending", "queued"}},
		{"until", delivery.Filter{Until: delivery.MintedAt(ids["queued"])}, []string{"dead", "delivered"}},
		{"between", delivery.Filter{Since: delivery.MintedAt(ids["dead"]), Until: delivery.MintedAt(ids["sending"])}, []string{"queued", "dead"}},
		{"until and before", delivery.Filter{Until: time.Now(), Before: ids["dead"]}, []string{"delivered"}},
		{"from the oldest", delivery.Filter{After: delivery.FirstID(time.Time{}), Limit: 2}, []string{"delivered", "dead"}},
		{"after", delivery.Filter{After: ids["dead"], Until: delivery.MintedAt(ids["recording"])}, []string{"queued", "sending"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := s.List(t.Context(), tt.filter)
			check(t, err)
			var want []string
			for _, name := range tt.want {
				want = append(want, ids[name])
			}
			if got := idsOf(list); !slices.Equal(got, want) {
				t.Errorf("%v\nwant %v", got, want)
			}
			if n, err := s.Count(t.Context(), tt.filter); err != nil || tt.filter.Limit == 0 && n != len(want) {
				t.Errorf("count %d, %v", n, err)
			}
		})
	}
	list, err := s.List(t.Context(), delivery.Filter{State: "queued"})
	check(t, err)
	if j := list[0].Jobs; len(j) != 1 || j[0].State != delivery.JobQueued || time.Until(j[0].NextAt) < 50*time.Minute {
		t.Errorf("jobs %+v", j)
	}
}

func TestThread(t *testing.T) { everywhere(t, testThread) }

func testThread(t *testing.T, c composition) {
	s := c.open(t)
	var ids []string
	for range 3 {
		n := newNote("101", "201")
		ids = append([]string{n.ID}, ids...)
		keep(t, s, n, chainTo("crm"))
		time.Sleep(2 * time.Millisecond) // ids of one millisecond have no order
	}
	keep(t, s, newNote("102", "201"), chainTo("crm"))
	begin(t, s, newNote("101", "201"))
	page := func(before string, limit int) (got []string) {
		notes, err := s.Thread(t.Context(), "101", before, limit)
		check(t, err)
		for _, n := range notes {
			got = append(got, n.ID)
		}
		return got
	}
	if got := page("", 10); !slices.Equal(got, ids) {
		t.Errorf("%v, want %v", got, ids)
	}
	if got := page("", 2); !slices.Equal(got, ids[:2]) {
		t.Errorf("%v, want %v", got, ids[:2])
	}
	if got := page(ids[0], 1); !slices.Equal(got, ids[1:2]) {
		t.Errorf("%v, want %v", got, ids[1:2])
	}
}

func TestMark(t *testing.T) { everywhere(t, testMark) }

func testMark(t *testing.T, c composition) {
	s := c.open(t)
	ctx, n := t.Context(), newNote("101", "201")
	keep(t, s, n)
	seen := s.Watch(ctx, "101")
	check(t, s.Mark(ctx, "101", n.ID, delivery.MarkRead))
	first := life(t, s, n.ID).Note.ReadAt
	check(t, s.Mark(ctx, "101", n.ID, delivery.MarkRead))
	check(t, s.Mark(ctx, "101", n.ID, delivery.MarkPlayed))
	l := life(t, s, n.ID)
	if first.IsZero() || !l.Note.ReadAt.Equal(first) || l.Note.PlayedAt.IsZero() {
		t.Errorf("read %v, played %v", l.Note.ReadAt, l.Note.PlayedAt)
	}
	if got := names(l); got != "recording, recorded, rendered, read, played" {
		t.Errorf("events %s", got)
	}
	if n := len(seen); n < 2 || (n > 2 && !c.fleet) { // a fleet's own news may come back
		t.Errorf("watchers heard %d times, want 2", n)
	}
	if err := s.Mark(ctx, "102", n.ID, delivery.MarkRead); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("another mailbox: %v", err)
	}
	if err := s.Mark(ctx, "101", delivery.NewID(), delivery.MarkRead); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("no note: %v", err)
	}
	if err := s.Mark(ctx, "101", n.ID, "shredded"); err == nil {
		t.Error("an odd mark was taken")
	}
}

func TestWatch(t *testing.T) { everywhere(t, testWatch) }

func testWatch(t *testing.T, c composition) {
	s := c.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	mine, slow := s.Watch(ctx, "101"), s.Watch(ctx, "101")
	other := s.Watch(t.Context(), "102")
	n := newNote("101", "201")
	keep(t, s, n)
	if got := <-mine; got != n.ID {
		t.Errorf("heard of %s, want %s", got, n.ID)
	}
	if _, err := embedded(s).Erase(t.Context(), "101"); err != nil {
		t.Fatal(err)
	}
	if got := <-mine; got != "" {
		t.Errorf("heard of %s, want of the erasure", got)
	}
	for range 2 * watchBuffer {
		embedded(s).watches.publish(embedded(s).vault.alias("101"), n.ID) // a reader that sleeps blocks nobody
	}
	if len(slow) != watchBuffer || len(other) != 0 {
		t.Errorf("the slow one holds %d, the other mailbox %d", len(slow), len(other))
	}
	cancel()
	for range mine { // ends when the channel is closed
	}
	check(t, s.Close())
	if _, open := <-other; open {
		t.Error("open after Close")
	}
	if _, open := <-s.Watch(t.Context(), "101"); open {
		t.Error("a watch of a closed store is open")
	}
}

func TestLinks(t *testing.T) { everywhere(t, testLinks) }

func testLinks(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	ctx := t.Context()
	tokens := make([]string, 8)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() { tokens[i], _ = s.LinkFor(ctx, "101") })
	}
	wg.Wait()
	if slices.Sort(tokens); tokens[0] != tokens[7] || len(tokens[0]) < 27 {
		t.Fatalf("tokens %q", tokens)
	}
	other, err := s.LinkFor(ctx, "102")
	if err != nil || other == tokens[0] {
		t.Fatal(other, err)
	}
	key, err := s.SigningKey(ctx)
	if err != nil || len(key) != signingKeyBytes {
		t.Fatal(len(key), err)
	}
	check(t, s.Close())
	s = c.openAt(t, path)
	if owner, err := s.LinkOwner(ctx, tokens[0]); err != nil || owner != "101" {
		t.Errorf("owner %q, %v", owner, err)
	}
	if _, err := s.LinkOwner(ctx, "guess"); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("a guess: %v", err)
	}
	if again, err := s.SigningKey(ctx); err != nil || !slices.Equal(again, key) {
		t.Errorf("another key after a restart: %v", err)
	}
}
