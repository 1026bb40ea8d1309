package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestLifeOfANote(t *testing.T) { everywhere(t, testLifeOfANote) }

func testLifeOfANote(t *testing.T, c composition) {
	s := c.open(t)
	ctx := t.Context()
	n := newNote("101", "201")
	d := begin(t, s, n)
	if st := life(t, s, n.ID).Note.State; st != delivery.Recording || d.Note().State != st {
		t.Fatalf("after Begin: %s", st)
	}
	for _, r := range []string{"one", "two", "three"} {
		check(t, d.Append([]byte(r)))
	}
	check(t, d.Recorded(ctx, true))
	check(t, d.Recorded(ctx, false)) // again: nothing happens
	if got := d.Note(); got.State != delivery.Recorded || !got.Partial {
		t.Fatalf("after Recorded: %+v", got)
	}
	if err := d.Append([]byte("late")); !errors.Is(err, errEnded) {
		t.Fatalf("Append after the end: %v", err)
	}
	if got, err := read(t, d.Records()); err != nil || !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Fatalf("the tape holds %q, %v", got, err)
	}

	n = d.Note()
	n.Duration, n.Waveform, n.Loudness, n.Media.Type = 3*time.Second, []byte{1, 2, 255}, -21.5, "audio/ogg; codecs=opus"
	leases, err := d.Rendered(ctx, n, []byte("OggS"), []delivery.Chain{chainTo("crm", "inbox"), chainTo("inbox")})
	check(t, err)
	if again, err := d.Rendered(ctx, n, []byte("other"), []delivery.Chain{chainTo("crm")}); err != nil || again != nil {
		t.Fatalf("Rendered again: %v, %v", again, err)
	}
	if len(leases) != 2 || leases[0].Attempt != 1 || leases[0].Target().Channel != "crm" || leases[0].Note.State != delivery.Rendered {
		t.Fatalf("leases %+v", leases)
	}
	sum := sha256.Sum256([]byte("OggS"))
	file, opened, err := s.Open(ctx, n.ID)
	check(t, err)
	content, err := io.ReadAll(file)
	check(t, errors.Join(err, file.Close()))
	if string(content) != "OggS" || opened.Media.Bytes != 4 || opened.Media.SHA256 != hex.EncodeToString(sum[:]) {
		t.Fatalf("the file is %q, %+v", content, opened.Media)
	}
	if !opened.CalledAt.Equal(n.CalledAt) || opened.Loudness != n.Loudness || !slices.Equal(opened.Waveform, n.Waveform) || !opened.Partial {
		t.Fatalf("the note came back as %+v", opened)
	}
	check(t, s.Finish(ctx, leases[0], delivery.Result{Outcome: delivery.Done, Receipt: delivery.Receipt{ID: "m1", Detail: "200 OK"}, Status: 200}))
	l := life(t, s, n.ID)
	if got, want := names(l), "recording, recorded, rendered, sending crm, sending inbox, done crm"; got != want {
		t.Fatalf("events %s\nwant   %s", got, want)
	}
	if got, want := l.Events[1].Detail, fmt.Sprintf("3 records, %d bytes", 47+3*inner(d).box.extra()); got != want {
		t.Errorf("recorded: %q, want %q", got, want)
	}
	if got := l.Events[5].Detail; got != "200 OK; id m1" {
		t.Errorf("done: %q", got)
	}
	if l.Jobs[0].State != delivery.JobDelivered || l.Jobs[1].State != delivery.JobSending || len(l.Jobs[0].Chain) != 2 {
		t.Errorf("jobs %+v", l.Jobs)
	}
}

func TestMissedNote(t *testing.T) { everywhere(t, testMissedNote) }

func testMissedNote(t *testing.T, c composition) {
	s := c.open(t)
	n := newNote("101", "")
	d := begin(t, s, n)
	check(t, d.Recorded(t.Context(), false))
	n.Kind, n.Media.Type = delivery.Missed, "audio/ogg"
	leases, err := d.Rendered(t.Context(), n, nil, []delivery.Chain{chainTo("inbox")})
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	if d.Note().Media != (delivery.Media{}) {
		t.Errorf("a missed note has media: %+v", d.Note().Media)
	}
	if _, _, err := s.Open(t.Context(), n.ID); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("Open: %v", err)
	}
}

func TestStepsOutOfOrder(t *testing.T) { everywhere(t, testStepsOutOfOrder) }

func testStepsOutOfOrder(t *testing.T, c composition) {
	s := c.open(t)
	ctx := t.Context()
	d := begin(t, s, newNote("101", "201"))
	if _, err := d.Rendered(ctx, d.Note(), nil, nil); !errors.Is(err, errState) {
		t.Errorf("Rendered before Recorded: %v", err)
	}
	if _, err := s.Begin(ctx, d.Note(), 0); err == nil || errors.Is(err, delivery.ErrFull) {
		t.Errorf("Begin of the same note: %v", err)
	}
	check(t, d.Append([]byte("still there")))
	check(t, d.Recorded(ctx, false))
	if _, err := d.Rendered(ctx, newNote("101", "201"), nil, nil); err == nil {
		t.Error("Rendered took another note")
	}
	if _, err := d.Rendered(ctx, d.Note(), nil, []delivery.Chain{{}}); err == nil {
		t.Error("Rendered took an empty chain")
	}
	_, err := d.Rendered(ctx, d.Note(), nil, nil)
	check(t, err)
	if err := d.Discard(ctx); !errors.Is(err, errState) {
		t.Errorf("Discard of a rendered note: %v", err)
	}
	if _, err := os.Stat(embedded(s).tapePath(d.Note().ID)); err != nil {
		t.Errorf("its tape is gone: %v", err)
	}
}

func TestDiscard(t *testing.T) { everywhere(t, testDiscard) }

func testDiscard(t *testing.T, c composition) {
	s := c.open(t)
	d := begin(t, s, newNote("101", "201"))
	check(t, d.Append([]byte("answered elsewhere")))
	check(t, d.Discard(t.Context()))
	if d.Note().State != delivery.Discarded {
		t.Errorf("state %s", d.Note().State)
	}
	if _, err := s.Life(t.Context(), d.Note().ID); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("Life: %v", err)
	}
	if _, err := os.Stat(embedded(s).tapePath(d.Note().ID)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the tape: %v", err)
	}
	if err := d.Append([]byte("late")); !errors.Is(err, errEnded) {
		t.Errorf("Append: %v", err)
	}
}

func TestIDsAreChecked(t *testing.T) { everywhere(t, testIDsAreChecked) }

func testIDsAreChecked(t *testing.T, c composition) {
	s := c.open(t)
	for _, id := range []string{"", "../../../../etc/passwd", strings.Repeat("A", 26), "/", strings.Repeat("0", 25) + "/"} {
		if _, err := s.Begin(t.Context(), delivery.Note{ID: id}, 0); err == nil {
			t.Errorf("Begin took %q", id)
		}
		if _, _, err := s.Open(t.Context(), id); !errors.Is(err, delivery.ErrNotFound) {
			t.Errorf("Open of %q: %v", id, err)
		}
		if _, err := s.Life(t.Context(), id); !errors.Is(err, delivery.ErrNotFound) {
			t.Errorf("Life of %q: %v", id, err)
		}
		if _, err := s.Redrive(t.Context(), id, ""); !errors.Is(err, delivery.ErrNotFound) {
			t.Errorf("Redrive of %q: %v", id, err)
		}
		if err := s.Mark(t.Context(), "101", id, delivery.MarkRead); !errors.Is(err, delivery.ErrNotFound) {
			t.Errorf("Mark of %q: %v", id, err)
		}
	}
}

// The reserve holds blocks while the tape is open and gives them back at its end.
func TestReserve(t *testing.T) { everywhere(t, testReserve) }

func testReserve(t *testing.T, c composition) {
	s := c.open(t)
	d := begin(t, s, newNote("101", "201"))
	blocks := func() int64 {
		info, err := os.Stat(embedded(s).tapePath(d.Note().ID))
		check(t, err)
		return info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	if blocks() < 1<<20 {
		t.Skipf("this file system reserved %d bytes", blocks())
	}
	check(t, d.Append([]byte("short")))
	check(t, d.Recorded(t.Context(), false))
	if got := blocks(); got > 64<<10 {
		t.Errorf("%d bytes are still reserved", got)
	}
}

// A failed write leaves the tape whole: the next record follows the last good one.
func TestFailedAppend(t *testing.T) { everywhere(t, testFailedAppend) }

func testFailedAppend(t *testing.T, c composition) {
	s := c.open(t)
	d := inner(begin(t, s, newNote("101", "201")))
	check(t, d.Append([]byte("one")))
	good := d.tape.file
	readOnly, err := os.Open(d.tape.path)
	check(t, err)
	d.tape.file = readOnly
	if err := d.Append([]byte("lost")); err == nil {
		t.Fatal("an append that failed says nothing")
	}
	d.tape.file = good
	check(t, readOnly.Close())
	check(t, d.Append([]byte("two")))
	check(t, d.Recorded(t.Context(), false))
	if got, err := read(t, d.Records()); err != nil || !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("the tape holds %q, %v", got, err)
	}
}

func TestFollow(t *testing.T) { everywhere(t, testFollow) }

func testFollow(t *testing.T, c composition) {
	s := c.open(t)
	d := begin(t, s, newNote("101", "201"))
	const records = 300
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got, err := read(t, d.Records())
			if err != nil || len(got) != records {
				t.Errorf("followed %d records: %v", len(got), err)
			}
			for i, r := range got {
				if !strings.HasPrefix(r, fmt.Sprintf("record %d ", i)) {
					t.Errorf("record %d is %.20q", i, r)
				}
			}
		})
	}
	for i := range records {
		check(t, d.Append(fmt.Appendf(nil, "record %d %s", i, strings.Repeat("x", i*37))))
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // let the readers catch up and wait
		}
	}
	check(t, d.Recorded(t.Context(), false))
	wg.Wait()
	if left := len(inner(d).tape.readers); left != 0 {
		t.Errorf("%d readers are left", left)
	}
}

func TestFollowEndsWithContext(t *testing.T) { everywhere(t, testFollowEndsWithContext) }

func testFollowEndsWithContext(t *testing.T, c composition) {
	s := c.open(t)
	d := begin(t, s, newNote("101", "201"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	r := d.Records()
	defer func() { check(t, r.Close()) }()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next: %v", err)
	}
	check(t, d.Append([]byte("one")))
	if b, err := r.Next(t.Context()); err != nil || string(b) != "one" {
		t.Fatalf("Next: %q, %v", b, err)
	}
}

// A dirty tape is synced within a second, an idle store syncs nothing.
func TestFlush(t *testing.T) { everywhere(t, testFlush) }

func testFlush(t *testing.T, c composition) {
	synctest.Test(t, func(t *testing.T) {
		d := realDisk()
		synced := make(chan time.Time, 100)
		d.syncAll = func(f *os.File) error {
			synced <- time.Now()
			return syncFS(f)
		}
		s, err := open(c.options(t, t.TempDir()), quiet(), d)
		check(t, err)
		defer closeStore(t, s)
		dr := begin(t, s, newNote("101", "201"))
		time.Sleep(2 * flushEvery)
		if len(synced) != 0 {
			t.Error("an idle store synced")
		}
		began := time.Now()
		for range 10 {
			check(t, dr.Append([]byte("record")))
		}
		time.Sleep(2 * flushEvery)
		if len(synced) != 1 {
			t.Fatalf("synced %d times", len(synced))
		}
		if took := (<-synced).Sub(began); took != flushEvery {
			t.Errorf("synced after %v", took)
		}
	})
}

// What was marked before the end is synced by it.
func TestFlusherEnds(t *testing.T) {
	for range 100 {
		synced := 0
		f := newFlusher(func() error { synced++; return nil })
		f.mark()
		f.close()
		if synced != 1 {
			t.Fatalf("synced %d times", synced)
		}
	}
}
