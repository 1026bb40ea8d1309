package store

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

// images copies a store's folder as it stands, as a crash would leave it.
type images struct {
	t    *testing.T
	from string
	list map[string]string // name to folder
}

func (i *images) take(name string) {
	to := filepath.Join(i.t.TempDir(), "image")
	check(i.t, os.CopyFS(to, os.DirFS(i.from)))
	i.list[name] = to
}

// A crash between each pair of steps: the store is opened again as it stood
// there, and from every place the note ends delivered, by one job.
func TestCrashBetweenSteps(t *testing.T) { everywhere(t, testCrashBetweenSteps) }

func testCrashBetweenSteps(t *testing.T, c composition) {
	img := &images{t: t, from: t.TempDir(), list: map[string]string{}}
	atSync := ""
	d := realDisk()
	d.sync = func(f *os.File) error {
		if atSync != "" {
			img.take(atSync)
		}
		return f.Sync()
	}
	s, err := open(c.options(t, img.from), quiet(), d)
	check(t, err)
	defer closeStore(t, s)
	ctx, n := t.Context(), newNote("101", "201")
	dr := begin(t, s, n)
	img.take("begun")
	check(t, dr.Append([]byte("one")))
	check(t, dr.Append([]byte("two")))
	img.take("appended")
	atSync = "tape ended"
	check(t, dr.Recorded(ctx, false))
	img.take("recorded")
	atSync = "file written"
	leases, err := dr.Rendered(ctx, dr.Note(), []byte("OggS"), []delivery.Chain{chainTo("crm")})
	check(t, err)
	atSync = ""
	img.take("rendered")
	finish(t, s, leases[0], delivery.Result{Outcome: delivery.Retry})
	img.take("queued")
	again := claim(t, s, 1)
	img.take("claimed")
	finish(t, s, again[0], delivery.Result{Outcome: delivery.Done})
	img.take("delivered")

	tests := []struct {
		at      string
		records string // on the tape of the draft that is handed out; "-" for none
		partial bool
		attempt int // of the lease that is given out then, 0 for none
		unknown bool
	}{
		{"begun", "", true, 1, false},
		{"appended", "one two", true, 1, false},
		{"tape ended", "one two", true, 1, false},
		{"recorded", "one two", false, 1, false},
		{"file written", "one two", false, 1, false},
		{"rendered", "-", false, 2, true},
		{"queued", "-", false, 2, false},
		{"claimed", "-", false, 3, true},
		{"delivered", "-", false, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.at, func(t *testing.T) {
			path, ok := img.list[tt.at]
			if !ok {
				t.Fatal("no image was taken there")
			}
			s := c.openAt(t, path)
			drafts, err := s.Unfinished(t.Context())
			check(t, err)
			var leases []delivery.Lease
			if (len(drafts) == 1) != (tt.records != "-") {
				t.Fatalf("%d drafts", len(drafts))
			}
			for _, d := range drafts {
				records, err := read(t, d.Records())
				if got := strings.Join(records, " "); err != nil || got != tt.records {
					t.Errorf("the tape holds %q, %v", got, err)
				}
				if n := d.Note(); n.Partial != tt.partial || n.State != delivery.Recorded {
					t.Errorf("the draft is %s, partial %v", n.State, n.Partial)
				}
				check(t, d.Recorded(t.Context(), false)) // nothing to do
				leases, err = d.Rendered(t.Context(), d.Note(), []byte("OggS"), []delivery.Chain{chainTo("crm")})
				check(t, err)
			}
			leases = append(leases, claim(t, s, 10)...)
			if (len(leases) == 1) != (tt.attempt > 0) {
				t.Fatalf("leases %+v", leases)
			}
			for _, l := range leases {
				if l.Attempt != tt.attempt || l.Unknown != tt.unknown || l.Note.Partial != tt.partial {
					t.Errorf("lease %+v", l)
				}
				finish(t, s, l, delivery.Result{Outcome: delivery.Done})
			}
			l := life(t, s, n.ID)
			if len(l.Jobs) != 1 || l.Jobs[0].State != delivery.JobDelivered {
				t.Errorf("ended with %+v", l.Jobs)
			}
			if more, err := s.Unfinished(t.Context()); err != nil || len(more) != 0 {
				t.Errorf("handed out again: %d, %v", len(more), err)
			}
		})
	}
}

// A tape that was torn or flipped is read to the first bad record, and the
// rest of the file is left as it is.
func TestDamagedTape(t *testing.T) { everywhere(t, testDamagedTape) }

func testDamagedTape(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	whole, torn, flipped := newNote("101", "1"), newNote("101", "2"), newNote("101", "3")
	for _, n := range []delivery.Note{whole, torn, flipped} {
		d := begin(t, s, n)
		for _, r := range []string{"one", "two", "three"} {
			check(t, d.Append([]byte(r)))
		}
		check(t, d.Recorded(t.Context(), false))
	}
	check(t, s.Close())
	b, err := os.ReadFile(s.tapePath(torn.ID))
	check(t, err)
	check(t, os.Truncate(s.tapePath(torn.ID), int64(len(b)-1)))
	b, err = os.ReadFile(s.tapePath(flipped.ID))
	check(t, err)
	b[len(b)/2] ^= 1 // within the second record
	check(t, os.WriteFile(s.tapePath(flipped.ID), b, 0o600))

	s = c.openAt(t, path)
	drafts, err := s.Unfinished(t.Context())
	check(t, err)
	want := map[string]string{whole.ID: "one two three", torn.ID: "one two", flipped.ID: "one"}
	for _, d := range drafts {
		records, err := read(t, d.Records())
		if got := strings.Join(records, " "); err != nil || got != want[d.Note().ID] {
			t.Errorf("read %q, %v, want %q", got, err, want[d.Note().ID])
		}
		if cut := d.Note().ID != whole.ID; d.Note().Partial != cut {
			t.Errorf("partial: %v", d.Note().Partial)
		}
		delete(want, d.Note().ID)
	}
	if len(want) != 0 {
		t.Errorf("not handed out: %v", want)
	}
	if left, err := os.ReadFile(s.tapePath(flipped.ID)); err != nil || !slices.Equal(left, b) {
		t.Errorf("the damaged tape was changed: %v", err)
	}
}

// A damaged byte that turns up while a tape is followed is an error, not an end.
func TestDamageWhileFollowing(t *testing.T) { everywhere(t, testDamageWhileFollowing) }

func testDamageWhileFollowing(t *testing.T, c composition) {
	s := c.openAt(t, t.TempDir())
	n := newNote("101", "201")
	d := begin(t, s, n)
	check(t, d.Append([]byte("one")))
	check(t, d.Append([]byte("two")))
	f, err := os.OpenFile(s.tapePath(n.ID), os.O_RDWR, 0)
	check(t, err)
	st, err := f.Stat()
	check(t, err)
	b := make([]byte, 1) // of a sealed record, where it may have any value
	_, err = f.ReadAt(b, st.Size()*3/4)
	check(t, err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, st.Size()*3/4)
	check(t, errors.Join(err, f.Close()))
	if got, err := read(t, d.Records()); !errors.Is(err, errTorn) || len(got) != 1 {
		t.Fatalf("read %q, %v", got, err)
	}
}

// A tape that cannot be read holds up nothing else, and its note waits until it
// can.
func TestUnreadableTape(t *testing.T) { everywhere(t, testUnreadableTape) }

func testUnreadableTape(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	bad, good := newNote("101", "1"), newNote("101", "2")
	begin(t, s, bad)
	begin(t, s, good)
	check(t, s.Close())
	check(t, os.Rename(s.tapePath(bad.ID), s.tapePath(bad.ID)+".aside"))
	check(t, os.Mkdir(s.tapePath(bad.ID), 0o700))
	s = c.openAt(t, path)
	drafts, err := s.Unfinished(t.Context())
	if err != nil || len(drafts) != 1 || drafts[0].Note().ID != good.ID {
		t.Fatalf("%d drafts, %v", len(drafts), err)
	}
	if st := life(t, s, bad.ID).Note.State; st != delivery.Recording {
		t.Errorf("its note is %s", st)
	}
	look := func(want ...string) {
		t.Helper()
		drafts, err := s.Unfinished(t.Context())
		check(t, err)
		var got []string
		for _, d := range drafts {
			got = append(got, d.Note().ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("handed out %v, want %v", got, want)
		}
	}
	look()
	if s.Stuck() != 1 {
		t.Errorf("%d are stuck, want 1", s.Stuck())
	}
	check(t, os.Remove(s.tapePath(bad.ID)))
	look() // who mends it has it away for a moment
	check(t, os.Rename(s.tapePath(bad.ID)+".aside", s.tapePath(bad.ID)))
	look(bad.ID)
	look()
	if s.Stuck() != 0 {
		t.Errorf("%d are stuck, want none", s.Stuck())
	}
}

func TestOrphansAreReported(t *testing.T) { everywhere(t, testOrphansAreReported) }

func testOrphansAreReported(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	kept := newNote("101", "201")
	begin(t, s, kept)
	orphan := s.tapePath(delivery.NewID())
	f, err := s.create(orphan, 0)
	check(t, errors.Join(err, f.Close()))
	check(t, s.Close())
	var said bytes.Buffer
	s, err = Open(c.options(t, path), slog.New(slog.NewTextHandler(&said, nil)))
	check(t, err)
	defer closeStore(t, s)
	begin(t, s, newNote("101", "202"))
	drafts, err := s.Unfinished(t.Context())
	if err != nil || len(drafts) != 1 {
		t.Errorf("%d drafts, %v", len(drafts), err)
	}
	if !strings.Contains(said.String(), "tapes=1") {
		t.Errorf("said %q", said.String())
	}
	if _, err := os.Stat(orphan); err != nil {
		t.Error("the orphan is gone:", err)
	}
}
