package store

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// damage overwrites a note's body and returns what puts it right.
func damage(t *testing.T, s *Store, note string) (mend func(*Store)) {
	t.Helper()
	var body []byte
	check(t, s.readers.QueryRowContext(t.Context(), "SELECT body FROM note WHERE id = ?", note).Scan(&body))
	set := func(s *Store, body []byte) {
		_, err := write(t.Context(), s, func(tx *txn) (int64, error) {
			return tx.exec("UPDATE note SET body = ? WHERE id = ?", body, note)
		})
		check(t, err)
	}
	set(s, make([]byte, len(body)))
	return func(s *Store) { set(s, body) }
}

// claimed are the notes of all that can be claimed.
func claimed(t *testing.T, s *Store) (notes []string) {
	t.Helper()
	for {
		got := claim(t, s, 2)
		if len(got) == 0 {
			return notes
		}
		for _, l := range got {
			notes = append(notes, l.Note.ID)
		}
	}
}

// A note that cannot be read keeps none of the others back, not in its thread
// either. It is told of, and put right it goes out.
func TestUnreadableNote(t *testing.T) { everywhere(t, testUnreadableNote) }

func testUnreadableNote(t *testing.T, c composition) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		s, err := Open(c.options(t, t.TempDir()), slog.New(slog.NewTextHandler(&said, nil)))
		check(t, err)
		defer closeStore(t, s)
		var notes []string
		for _, caller := range []string{"201", "202", "203"} {
			l := keep(t, s, newNote("101", caller), chainTo("crm"))[0]
			finish(t, s, l, delivery.Result{Outcome: delivery.Retry})
			notes = append(notes, l.Note.ID)
		}
		behind := newNote("101", "201")
		keep(t, s, behind, chainTo("crm"))
		notes = append(notes, behind.ID)
		mend := damage(t, s, notes[0])

		got, want := slices.Sorted(slices.Values(claimed(t, s))), slices.Sorted(slices.Values(notes[1:]))
		if !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
		time.Sleep(unreadWait)
		if got := claimed(t, s); len(got) != 0 {
			t.Errorf("claimed %v, which cannot be read", got)
		}
		if n := strings.Count(said.String(), "note_id="+notes[0]); n != 1 || !strings.Contains(said.String(), "store.key_file") {
			t.Errorf("told of %d times: %s", n, &said)
		}
		mend(s)
		time.Sleep(unreadWait)
		if l := claim(t, s, 10); len(l) != 1 || l[0].Note.ID != notes[0] || l[0].Attempt != 2 {
			t.Errorf("put right: %+v", l)
		}
	})
}

// A key that was taken out of the key file too early is found again once its
// line is back.
func TestUnreadableKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := writeKeys(t, testIndex+testKey)
		o := Options{Path: t.TempDir(), KeyFile: file}
		s := openStore(t, o)
		l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
		finish(t, s, l, delivery.Result{Outcome: delivery.Retry})
		var key []byte
		check(t, s.readers.QueryRowContext(t.Context(), "SELECT key FROM note").Scan(&key))
		rotateAll(t, s, testIndex+otherKey+testKey)
		_, err := write(t.Context(), s, func(tx *txn) (int64, error) { return tx.exec("UPDATE note SET key = ?", key) })
		check(t, err)
		check(t, s.Close())
		check(t, os.WriteFile(file, []byte(testIndex+otherKey), 0o600))
		s = openStore(t, o)
		if got := claimed(t, s); len(got) != 0 {
			t.Errorf("claimed %v without its key", got)
		}
		check(t, os.WriteFile(file, []byte(testIndex+otherKey+testKey), 0o600))
		time.Sleep(unreadWait)
		if got := claim(t, s, 10); len(got) != 1 || got[0].Note.ID != l.Note.ID {
			t.Errorf("with its key: %+v", got)
		}
	})
}

// TestUnreadTellsOnce: however many notes cannot be read, of none it is told twice
// within the hour.
func TestUnreadTellsOnce(t *testing.T) {
	var u unread
	now := time.Now()
	said := func() (n int) {
		for i := range maxUnread + 900 {
			if u.tells(strconv.Itoa(i), now) {
				n++
			}
		}
		return n
	}
	if first, second := said(), said(); first != maxUnread || second != 0 {
		t.Errorf("told of %d, then of %d; want %d, then none", first, second, maxUnread)
	}
	now = now.Add(unreadAgain)
	if n := said(); n != maxUnread {
		t.Errorf("told of %d an hour later, want %d", n, maxUnread)
	}
}

// A start goes on without what it cannot read, and a later one takes that up.
func TestUnreadableAtAStart(t *testing.T) { everywhere(t, testUnreadableAtAStart) }

func testUnreadableAtAStart(t *testing.T, c composition) {
	for _, state := range []string{"recording", "recorded", "sending", "waited"} {
		t.Run(state, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, n := c.options(t, t.TempDir()), newNote("101", "201")
				s := openStore(t, o)
				switch state {
				case "recording", "recorded":
					d := begin(t, s, n)
					if state == "recorded" {
						check(t, d.Recorded(t.Context(), false))
					}
				default:
					l := keep(t, s, n, chainTo("wa", "crm"))[0]
					if state == "waited" {
						finish(t, s, l, waiting(0))
						claimSoon(t, s)
					}
					tell(t, s, "wa", l.Job, delivery.WasRead, delivery.Meaning{})
				}
				mend := damage(t, s, n.ID)
				check(t, s.Close())
				var said bytes.Buffer
				s, err := Open(o, slog.New(slog.NewTextHandler(&said, nil)))
				check(t, err)
				defer func() { closeStore(t, s) }()
				drafts, err := s.Unfinished(t.Context())
				check(t, err)
				if got := claimed(t, s); len(got)+len(drafts) != 0 {
					t.Errorf("claimed %v, %d drafts", got, len(drafts))
				}
				if !strings.Contains(said.String(), "note_id="+n.ID) {
					t.Errorf("not told of: %s", &said)
				}
				mend(s)
				if again, err := s.Unfinished(t.Context()); err != nil || (len(again) == 1) != strings.HasPrefix(state, "record") {
					t.Errorf("put right: %d drafts, %v", len(again), err)
				}
				check(t, s.Close())
				s = openStore(t, o)
				time.Sleep(unreadWait) // open: no wait ends while it is not
				drafts, err = s.Unfinished(t.Context())
				check(t, err)
				leases := claim(t, s, 10)
				if len(leases)+len(drafts) != 1 {
					t.Fatalf("put right: %+v, %d drafts", leases, len(drafts))
				}
				if len(leases) == 1 && (leases[0].Unknown != (state == "sending") || leases[0].Waited != (state == "waited")) {
					t.Errorf("put right: %+v", leases[0])
				}
			})
		})
	}
}

// TestFleetUnreadable: what other machines did is taken in, though one of the
// notes cannot be read here, and the job of that one is not sent again.
func TestFleetUnreadable(t *testing.T) {
	t.Parallel()
	f := alone(t, Options{Path: t.TempDir(), Operator: []string{delivery.EventDead}})
	bad, badJob := f.shares(t, chainTo("crm"))
	good, goodJob := f.shares(t, chainTo("crm"))
	mend := damage(t, f.Store, bad)
	done := func(note, job string) shared.Message {
		return shared.Message{Job: job, Note: note, Epoch: 1, Attempt: 1, Name: "done", State: shared.Delivered, At: time.Now(), Next: time.Now()}
	}
	check(t, f.hear(t.Context(), []shared.Message{done(bad, badJob), {Note: bad, Name: "read", At: time.Now()}, done(good, goodJob)}))
	mend(f.Store)
	becomes(t, f, bad, delivery.JobDelivered, 0)
	becomes(t, f, good, delivery.JobDelivered, 0)
	if n := f.count(t, "note WHERE ended_at > 0"); n != 2 {
		t.Errorf("%d notes have ended", n)
	}
}

// TestFleetUnreadableAttempt: a start takes what it was sending for unknown,
// though it cannot read it, and the job's home writes the line.
func TestFleetUnreadableAttempt(t *testing.T) {
	t.Parallel()
	o := Options{Path: t.TempDir(), KeyFile: writeKeys(t, testIndex+testKey)}
	f := alone(t, o)
	note, _ := f.shares(t, chainTo("crm"))
	if l, err := f.take(t.Context(), []shared.Lease{f.granted(t, note)}); err != nil || len(l) != 1 {
		t.Fatalf("leases %+v, %v", l, err)
	}
	f.change(t, "UPDATE attempt SET key = zeroblob(length(key))")
	check(t, f.Close())
	f = alone(t, o)
	left, err := f.unsettled(t.Context(), 10)
	if err != nil || len(left) != 1 || left[0].Outcome != string(delivery.Unknown) || left[0].Event != nil {
		t.Errorf("attempts %+v, %v", left, err)
	}
	if n := f.count(t, "job WHERE state = 'queued' AND unknown = 1"); n != 1 {
		t.Error("it does not count as a possible repeat")
	}
	if got := names(life(t, f, note)); strings.Contains(got, "unknown") {
		t.Errorf("events %s", got)
	}
}
