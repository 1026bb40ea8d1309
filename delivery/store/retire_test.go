package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

const testDay = 24 * time.Hour

// keepFor is the retention of every mailbox: 30 days of audio and 90 in all.
func keepFor(string) delivery.Retention {
	return delivery.Retention{Audio: 30 * testDay, Metadata: 90 * testDay}
}

func retire(tb testing.TB, s *Store, keep func(string) delivery.Retention) delivery.Retired {
	tb.Helper()
	r, err := s.Retire(tb.Context(), keep)
	check(tb, err)
	return r
}

// has lists what is left of a note: its row, its tape and its file.
func has(tb testing.TB, s *Store, id string) string {
	tb.Helper()
	left := ""
	if _, err := s.Life(tb.Context(), id); err == nil {
		left = "row"
	}
	for name, path := range map[string]string{" tape": s.tapePath(id), " file": s.notePath(id)} {
		if _, err := os.Stat(path); err == nil {
			left += name
		} else if !errors.Is(err, fs.ErrNotExist) {
			tb.Error(err)
		}
	}
	return map[bool]string{true: "row, files", false: left}[len(left) == len("row tape file")]
}

func TestRetention(t *testing.T) { everywhere(t, testRetention) }

func testRetention(t *testing.T, c composition) {
	synctest.Test(t, func(t *testing.T) {
		s := c.openAt(t, t.TempDir())
		ctx := t.Context()
		ids := map[string]string{}
		end := func(name, mailbox string, outcome delivery.Outcome) {
			n := newNote(mailbox, name)
			ids[name] = n.ID
			for _, l := range keep(t, s, n, chainTo("crm")) {
				if outcome != "" {
					finish(t, s, l, delivery.Result{Outcome: outcome, Wait: 400 * testDay})
				}
			}
		}
		end("delivered", "101", delivery.Done)
		end("dead", "101", delivery.Dead)
		end("under way", "101", delivery.Retry)
		end("being sent", "101", "")
		end("for ever", "102", delivery.Done)
		end("audio for ever", "103", delivery.Done)
		end("short", "104", delivery.Done)
		end("redriven", "101", delivery.Dead)
		recording := begin(t, s, newNote("101", "201"))
		ids["recording"] = recording.Note().ID
		check(t, s.Mark(ctx, "101", ids["dead"], delivery.MarkRead))
		keep := func(mailbox string) delivery.Retention {
			if r, ok := map[string]delivery.Retention{
				"102": {}, "103": {Audio: 0, Metadata: 100 * testDay}, "104": {Audio: time.Hour, Metadata: 10 * testDay},
			}[mailbox]; ok {
				return r
			}
			return keepFor(mailbox)
		}

		for _, at := range []struct {
			day  int
			took delivery.Retired
			left map[string]string
		}{
			{0, delivery.Retired{}, map[string]string{"delivered": "row, files", "short": "row, files"}},
			{1, delivery.Retired{Audio: 1}, map[string]string{"delivered": "row, files", "short": "row"}},
			{10, delivery.Retired{Notes: 1}, map[string]string{"short": ""}},
			{29, delivery.Retired{}, map[string]string{"delivered": "row, files", "dead": "row, files"}},
			{30, delivery.Retired{Audio: 2}, map[string]string{"delivered": "row", "dead": "row", "redriven": "row, files"}},
			{91, delivery.Retired{Notes: 2}, map[string]string{"delivered": "", "dead": "", "audio for ever": "row, files"}},
			{101, delivery.Retired{Notes: 1}, map[string]string{"audio for ever": ""}},
		} {
			time.Sleep(time.Duration(at.day)*testDay + time.Minute - time.Since(recording.Note().CalledAt))
			if at.day == 30 {
				n, err := s.Redrive(ctx, ids["redriven"], "")
				if err != nil || n != 1 {
					t.Fatal("Redrive:", n, err)
				}
			}
			if took := retire(t, s, keep); took != at.took {
				t.Errorf("day %d: took %+v, want %+v", at.day, took, at.took)
			}
			for name, want := range at.left {
				if left := has(t, s, ids[name]); left != want {
					t.Errorf("day %d: of the note that is %s, %q is left, want %q", at.day, name, left, want)
				}
			}
			if at.day == 30 {
				_, _, err := s.Open(ctx, ids["delivered"])
				if n := life(t, s, ids["delivered"]).Note; !errors.Is(err, delivery.ErrNotFound) || !n.Media.Gone || n.Media.Bytes == 0 {
					t.Errorf("the note says %+v, Open %v", n.Media, err)
				}
			}
		}
		for name, want := range map[string]string{
			"under way": "row, files", "being sent": "row, files", "for ever": "row, files", "recording": "row tape", "redriven": "row, files",
		} {
			if left := has(t, s, ids[name]); left != want {
				t.Errorf("of the note that is %s, %q is left, want %q", name, left, want)
			}
		}
		var rows int
		check(t, s.readers.QueryRowContext(ctx, "SELECT count(*) FROM job WHERE note NOT IN (SELECT id FROM note)").Scan(&rows))
		if rows != 0 {
			t.Errorf("%d jobs have no note", rows)
		}
		check(t, recording.Discard(ctx))
	})
}

// More notes than are taken at once, of one moment.
func TestRetentionOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := compositions()[0].openAt(t, t.TempDir())
		const notes = retirePage + removeBatch + 1
		_, err := write(t.Context(), s, func(tx *txn) (any, error) {
			for i := range notes {
				n := newNote(fmt.Sprint(100+i%3), "201")
				n.State = delivery.Rendered
				b := &box{owner: n.ID}
				if err := tx.begin(kept{n, b}); err != nil {
					return nil, err
				}
			}
			return tx.exec("UPDATE note SET ended_at = ?", micros(s.Now()))
		})
		check(t, err)
		time.Sleep(90 * testDay)
		if took := retire(t, s, keepFor); took.Notes != notes {
			t.Errorf("took %+v of %d", took, notes)
		}
	})
}

// A crash within retention leaves files whose row says that there are none, and
// one within a call files without a row.
func TestRetentionFindsWhatACrashLeft(t *testing.T) {
	path := t.TempDir()
	c := compositions()[0]
	s := c.openAt(t, path)
	n, calling := newNote("101", "201"), newNote("101", "202")
	finish(t, s, keep(t, s, n, chainTo("crm"))[0], delivery.Result{Outcome: delivery.Done})
	begin(t, s, calling)
	_, err := write(t.Context(), s, func(tx *txn) (any, error) { return nil, tx.bare(n.ID) })
	check(t, err)
	orphans := map[string]time.Duration{s.tapePath(delivery.NewID()): 8 * testDay, s.notePath(delivery.NewID()): 8 * testDay, s.tapePath(delivery.NewID()): testDay}
	for path, age := range orphans {
		f, err := s.create(path, 0)
		check(t, errors.Join(err, f.Close()))
		check(t, os.Chtimes(path, time.Time{}, time.Now().Add(-age)))
	}
	check(t, s.Close())

	s = c.openAt(t, path)
	if took := retire(t, s, keepFor); took != (delivery.Retired{Orphans: 2}) {
		t.Errorf("took %+v", took)
	}
	if left := has(t, s, n.ID); left != "row" {
		t.Errorf("of the note %q is left", left)
	}
	if left := has(t, s, calling.ID); left != "row tape" {
		t.Errorf("of the call %q is left", left)
	}
	for path, age := range orphans {
		if _, err := os.Stat(path); (err == nil) != (age < orphanAge) {
			t.Errorf("an orphan of %v: %v", age, err)
		}
	}
}

// A clock that jumps takes nothing at once: retention waits for a day of
// running, in which somebody may set it right.
func TestRetentionWaitsAfterAJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, wall := t.TempDir(), &wallClock{}
		c := compositions()[0]
		s := c.openBy(t, path, wall)
		n := newNote("101", "201")
		finish(t, s, keep(t, s, n, chainTo("crm"))[0], delivery.Result{Outcome: delivery.Done})
		expect := func(why, left string) {
			t.Helper()
			retire(t, s, keepFor)
			if got := has(t, s, n.ID); got != left {
				t.Fatalf("%s: %q is left, want %q", why, got, left)
			}
		}
		again := func(set time.Duration) {
			check(t, s.Close())
			wall.set(set)
			s = c.openBy(t, path, wall)
		}
		wall.set(year)
		expect("set forth while running", "row, files")
		time.Sleep(2 * testDay)
		expect("by the store's clock it is not over", "row, files")
		wall.set(-year)
		expect("set back again", "row, files")

		again(60 * testDay)
		expect("set forth at a start", "row, files")
		time.Sleep(20 * time.Hour)
		again(time.Hour) // an hour off
		expect("after another start", "row, files")
		time.Sleep(3 * time.Hour)
		expect("off is not running", "row, files")
		again(-60 * testDay)
		time.Sleep(2 * testDay)
		expect("set right in time", "row, files")

		again(60 * testDay)
		expect("set forth for good", "row, files")
		time.Sleep(testDay + time.Hour)
		expect("after a day of running", "row")
	})
}

// A file that cannot be removed keeps its own note, and no other.
func TestRetentionOfAStuckFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := compositions()[0].openAt(t, t.TempDir())
		var ids []string
		for _, caller := range []string{"201", "202"} {
			l := keep(t, s, newNote("101", caller), chainTo("crm"))[0]
			finish(t, s, l, delivery.Result{Outcome: delivery.Done})
			ids = append(ids, l.Note.ID)
		}
		stuck := s.notePath(ids[0])
		check(t, errors.Join(os.Remove(stuck), os.MkdirAll(filepath.Join(stuck, "in the way"), 0o700)))
		time.Sleep(90 * testDay)
		orphan, err := s.create(s.notePath(strings.Repeat("z", 26)), 0)
		check(t, errors.Join(err, orphan.Close(), os.Chtimes(orphan.Name(), time.Time{}, time.Now().Add(-year))))
		took, err := s.Retire(t.Context(), keepFor)
		if took.Notes != 1 || took.Orphans != 1 || err == nil || !strings.Contains(err.Error(), stuck) { // the sweep names it
			t.Errorf("took %+v, %v", took, err)
		}
		if left := has(t, s, ids[1]); left != "" {
			t.Errorf("of the other note %q is left", left)
		}
		check(t, os.RemoveAll(stuck))
		if took := retire(t, s, keepFor); took.Notes != 1 {
			t.Errorf("mended: took %+v", took)
		}
	})
}
