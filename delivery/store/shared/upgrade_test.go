package shared

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// nextScripts are those of a version to come: it keeps one field more of each
// job and note, and has one more in its messages.
func nextScripts(tb testing.TB) scripts {
	tb.Helper()
	files := fstest.MapFS{}
	names, err := sources.ReadDir("lua")
	check(tb, err)
	for _, f := range names {
		text, err := sources.ReadFile("lua/" + f.Name())
		check(tb, err)
		files["lua/"+f.Name()] = &fstest.MapFile{Data: text}
	}
	for _, change := range []struct{ file, from, to string }{
		{"publish", "note = note, thread = thread,", "later = 'kept', note = note, thread = thread,"},
		{"publish", "'body', body,", "'later', 'kept', 'body', body,"},
		{"common", "job = j.id,", "later = { 'kept' }, job = j.id,"},
	} {
		f := files["lua/"+change.file+".lua"]
		changed := strings.Replace(string(f.Data), change.from, change.to, 1)
		if changed == string(f.Data) {
			tb.Fatalf("%s.lua has no %q", change.file, change.from)
		}
		f.Data = []byte(changed)
	}
	s, err := loadScripts(files)
	check(tb, err)
	return s
}

// TestRollingUpgrade: machines of two versions share their work on any kind of
// Redis. What only the next version keeps is still there after the other one
// had the job, until it has ended.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	for name, start := range redistest.Setups() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := start(t)
			older := join(t, setup.URL, "older")
			ledger := &memoryLedger{}
			s := open(t, Options{URL: setup.URL, Machine: "next"}, ledger)
			s.scripts = nextScripts(t)
			next := run(t, s, ledger)
			next.awaitOpen(t)
			later := func(kind, id string) (values []any) {
				for _, server := range setup.Servers {
					if v, err := server.Try(fmt.Sprintf("HGET %s%s:%s later", prefix(ShardOf("m")), kind, id)); err == nil {
						values = append(values, v)
					}
				}
				return values
			}

			j := next.publish(t, "m", "1", false)
			older.finish(t, older.claimOne(t).Job, "retry")
			next.finish(t, next.claimOne(t).Job, "dead")
			older.finish(t, older.claimOne(t).Job, "dead")
			if jobs, err := older.Redrive(t.Context(), "m", j.Note); err != nil || len(jobs) != 1 {
				t.Fatalf("redriven %+v, %v", jobs, err)
			}
			check(t, older.Release(t.Context(), older.claimOne(t).Job))
			if _, err := older.Mark(t.Context(), "m", j.Note, "read"); err != nil {
				t.Error(err)
			}
			for kind, id := range map[string]string{"job": j.ID, "note": j.Note} {
				if v := later(kind, id); !slices.Contains(v, any("kept")) {
					t.Errorf("the next version's field of the %s: %v", kind, v)
				}
			}
			next.finish(t, next.claimOne(t).Job, "done")

			older.publish(t, "m", "2", false)
			next.finish(t, next.claimOne(t).Job, "retry")
			older.finish(t, older.claimOne(t).Job, "done")
			if notes, err := older.Thread(t.Context(), "m", "", 10); err != nil || len(notes) != 2 {
				t.Errorf("the thread: %+v, %v", notes, err)
			}
			if ms := older.drain(t); len(ms) != 2 || ms[0].Name != "sending" || ms[1].Name != "retry" || string(ms[1].Event) != "event\x00\xff" {
				t.Errorf("messages of the next version: %+v", ms)
			}
			older.depth(t, 0, 0, 0)
		})
	}
}

// TestOlderHomeHearsOfABounce: to the home of a job, which may be of a version
// that knows no note that came back, this is called by what it does know.
func TestOlderHomeHearsOfABounce(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	home, ear := join(t, setup.URL, "home"), join(t, setup.URL, "ear")
	j := home.publish(t, "m", "1", true)
	_, _, err := home.Finish(t.Context(), j, Result{Outcome: "waiting", Waits: ForReport, Wait: time.Hour})
	check(t, err)
	said := Said{What: "bounced", Event: []byte("event")}
	if stands, err := ear.Report(t.Context(), j, said); err != nil || stands.Waits != ForReport+1 || stands.Waiting() {
		t.Errorf("%+v, %v", stands, err)
	}
	check(t, ear.Proclaim(t.Context(), "another", said))
	heard := home.drain(t)
	if len(heard) != 2 {
		t.Errorf("heard %+v", heard)
	}
	for _, m := range heard {
		if m.Name != "asked" || string(m.Event) != "event" {
			t.Errorf("heard %+v", m)
		}
	}
	if l := ear.claimOne(t); l.Waiting() || l.Attempt != 2 {
		t.Errorf("claimed %+v", l)
	}
}

// TestNewerFormat: a format that this version does not know ends its part in
// the sharing while it is at work, with a word that says what to run; until
// the format is the old one again.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := join(t, setup.URL, "a")
	a.publish(t, "m", "1", false)
	format := fmt.Sprintf("SET %sformat ", prefix(ShardOf("m")))
	setup.Servers[0].Do(format + "2")
	eventually(t, "the newer format is seen", func() bool { return a.usable(ShardOf("m")) != nil })
	_, err := a.Publish(t.Context(), publication("m", "2", 1), false, true)
	expect(t, err, ErrAway)
	if !strings.Contains(err.Error(), "a newer version of this program keeps its data there; run that version") {
		t.Error(err)
	}
	if ls, _ := a.Claim(t.Context(), 10); len(ls) != 0 {
		t.Errorf("claimed %+v", ls)
	}
	setup.Servers[0].Do(format + "1")
	if l := a.claimOne(t); l.Note != "m-1" || l.Unknown != 0 {
		t.Errorf("claimed %+v", l)
	}
}
