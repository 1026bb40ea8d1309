package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// openTelling opens a store whose operator is to be told.
func (c composition) openTelling(tb testing.TB) keeper {
	tb.Helper()
	o := c.options(tb, tb.TempDir())
	o.Operator = []string{delivery.EventDead}
	return c.openWith(tb, o)
}

func TestOperatorIsToldOfADeadNote(t *testing.T) { everywhere(t, testOperatorIsToldOfADeadNote) }

func testOperatorIsToldOfADeadNote(t *testing.T, c composition) {
	s := c.openTelling(t)
	l := keep(t, s, newNote("101", "201"), chainTo("bot:7", "crm"))[0]
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	l = claim(t, s, 10)[0]
	if woken(s); l.Target().Channel != "crm" {
		t.Fatalf("while the chain goes on: %+v", l)
	}
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	if !woken(s) {
		t.Error("the operator's job is due and nobody was woken")
	}
	told := claim(t, s, 10)
	if len(told) != 1 || told[0].Target().String() != "operator:note.dead/crm" || told[0].Note.ID != l.Note.ID {
		t.Fatalf("claimed %+v", told)
	}
	if minted := delivery.MintedAt(told[0].Job); time.Since(minted) > time.Minute {
		t.Errorf("its id says %v", minted)
	}
	depth, err := s.Depth(t.Context())
	if err != nil || depth["sending"] != 0 || depth["dead"] != 1 {
		t.Errorf("%v, %v: the operator's job counts as a note's", depth, err)
	}
	finish(t, s, told[0], delivery.Result{Outcome: delivery.Dead})
	if again := claim(t, s, 10); len(again) != 0 {
		t.Fatalf("the operator is told that he was not told: %+v", again)
	}

	// The note is sent again, the notice only when it is asked for.
	for _, redrive := range []struct {
		channel, target string
		jobs            int
	}{{"", "bot:7", 1}, {"", "", 0}, {"crm", "", 0}, {"operator", "operator:note.dead/crm", 1}, {"operator", "", 0}} {
		n, err := s.Redrive(t.Context(), l.Note.ID, redrive.channel)
		if err != nil || n != redrive.jobs {
			t.Fatalf("%+v: %d, %v", redrive, n, err)
		}
		if due := claim(t, s, 10); len(due) != n || n == 1 && due[0].Target().String() != redrive.target {
			t.Errorf("%+v: %+v", redrive, due)
		}
	}
}

// Who tells the operator waits for no thread, and no thread waits for it.
func TestOperatorJobsBlockNothing(t *testing.T) { everywhere(t, testOperatorJobsBlockNothing) }

func testOperatorJobsBlockNothing(t *testing.T, c composition) {
	s := c.openTelling(t)
	for range 3 {
		l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
		finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	}
	if leases := keep(t, s, newNote("101", "201"), chainTo("crm")); len(leases) != 1 {
		t.Error("a note waits for the operator")
	}
	if told := claim(t, s, 10); len(told) != 3 {
		t.Errorf("%d notices are due at once, want 3", len(told))
	}
}

func TestNoOperator(t *testing.T) { everywhere(t, testNoOperator) }

func testNoOperator(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
	finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	if got := claim(t, s, 10); len(got) != 0 {
		t.Errorf("claimed %+v", got)
	}
}

func TestStart(t *testing.T) { everywhere(t, testStart) }

func testStart(t *testing.T, c composition) {
	s := c.open(t)
	l := keep(t, s, newNote("101", "201"), chainTo("crm", "bot"))[0]
	check(t, s.Start(t.Context(), l))
	check(t, s.Start(t.Context(), l))
	fenced := func(what string) {
		t.Helper()
		if err := s.Start(t.Context(), l); !errors.Is(err, delivery.ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, s.Release(t.Context(), l))
	fenced("given back")
	l = claim(t, s, 1)[0]
	check(t, s.Start(t.Context(), l))
	finish(t, s, l, delivery.Result{Outcome: delivery.Retry})
	again := claim(t, s, 1)[0]
	fenced("attempted")
	finish(t, s, again, delivery.Result{Outcome: delivery.Dead})
	claim(t, s, 1)
	l = again
	fenced("at the next target")
	l.Job = delivery.NewID()
	fenced("no job")
}

// A store in clear that is sealed keeps who waits to be told, each on its own.
func TestOperatorJobsAreSealed(t *testing.T) {
	o := Options{Path: t.TempDir(), Operator: []string{delivery.EventDead}}
	s := openStore(t, o)
	for range 2 {
		l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
		finish(t, s, l, delivery.Result{Outcome: delivery.Dead})
	}
	check(t, s.Close())
	o.KeyFile = writeKeys(t, testIndex+testKey)
	if told := claim(t, openStore(t, o), 10); len(told) != 2 || told[0].Target().String() != "operator:note.dead/crm" {
		t.Errorf("claimed %+v", told)
	}
}

// notices are the targets of what is due, which is only the operator's, and
// sends it.
func notices(t *testing.T, s keeper) (all []string) {
	t.Helper()
	for {
		due := claim(t, s, 10)
		if len(due) == 0 {
			slices.Sort(all)
			return all
		}
		for _, l := range due {
			all = append(all, l.Target().String())
			finish(t, s, l, done())
		}
	}
}

func TestOperatorEvents(t *testing.T) { everywhere(t, testOperatorEvents) }

func testOperatorEvents(t *testing.T, c composition) {
	events := []string{delivery.EventDead, delivery.EventDelivered, delivery.EventRead, delivery.EventPlayed}
	arrived := done()
	arrived.Arrived = true
	for name, tt := range map[string]struct {
		result  delivery.Result
		reports map[delivery.What]delivery.Meaning
		marks   []delivery.Mark
		want    []string
	}{
		"accepted, and the service tells no more": {arrived, nil, nil, []string{"operator:note.delivered/wa"}},
		"accepted, and it does":                   {done(), nil, nil, nil},
		"delivered":                               {done(), map[delivery.What]delivery.Meaning{delivery.WasDelivered: settles}, nil, []string{"operator:note.delivered/wa"}},
		"delivered and read by one report": {
			waiting(time.Hour),
			map[delivery.What]delivery.Meaning{delivery.WasRead: settles, delivery.WasDelivered: settles},
			nil,
			[]string{"operator:note.delivered/wa", "operator:note.read/wa"},
		},
		"in the inbox": {
			arrived, nil,
			[]delivery.Mark{delivery.MarkPlayed, delivery.MarkRead, delivery.MarkRead},
			[]string{"operator:note.delivered/wa", "operator:note.played/inbox", "operator:note.read/inbox"},
		},
		"played there and here": {
			arrived,
			map[delivery.What]delivery.Meaning{delivery.WasPlayed: settles},
			[]delivery.Mark{delivery.MarkPlayed},
			[]string{"operator:note.delivered/wa", "operator:note.played/wa"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, wanted := range [][]string{events, nil} {
				o := c.options(t, t.TempDir())
				o.Operator = wanted
				s := c.openWith(t, o)
				l := keep(t, s, newNote("101", "201"), chainTo("wa:1"))[0]
				finish(t, s, l, tt.result)
				for range 2 {
					for what, m := range tt.reports {
						tell(t, s, "wa", l.Job, what, m)
					}
					for _, mark := range tt.marks {
						check(t, s.Mark(t.Context(), "101", l.Note.ID, mark))
					}
				}
				want := tt.want
				if wanted == nil {
					want = nil
				}
				if got := notices(t, s); !slices.Equal(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
				check(t, s.Close())
			}
		})
	}
}
