package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/afterbeep/afterbeep/delivery"
)

// childEnv makes the test binary run one of children instead of the tests.
const childEnv = "AFTERBEEP_STORE_CHILD"

func TestMain(m *testing.M) {
	if run, ok := children()[os.Getenv(childEnv)]; ok {
		run()
		return
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Lines of a key file.
const (
	testIndex  = "index AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\n"
	otherIndex = "index AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI=\n"
	testKey    = "key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM=\n"
	otherKey   = "key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ=\n"
)

// writeKeys writes a key file.
func writeKeys(tb testing.TB, text string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "keys")
	check(tb, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// closeStore closes s unless the test did.
func closeStore(tb testing.TB, s keeper) {
	tb.Helper()
	select {
	case <-embedded(s).writer.quit:
	default:
		if err := s.Close(); err != nil {
			tb.Error("Close:", err)
		}
	}
}

func newNote(mailbox, caller string) delivery.Note {
	return delivery.Note{
		ID: delivery.NewID(), Kind: delivery.Voice,
		Recipient: delivery.Recipient{Number: mailbox, Name: "Reception"},
		Caller:    delivery.Caller{Number: caller},
		Reason:    "missed", CalledAt: time.Now(), Trunk: "pbx",
	}
}

func begin(tb testing.TB, s keeper, n delivery.Note) delivery.Draft {
	tb.Helper()
	d, err := s.Begin(tb.Context(), n, 1<<20)
	if err != nil {
		tb.Fatal("Begin:", err)
	}
	return d
}

func chainTo(targets ...string) delivery.Chain {
	var c delivery.Chain
	for _, text := range targets {
		var target delivery.Target
		if err := target.UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
		c = append(c, target)
	}
	return c
}

// keep takes a new note through every step and returns its leases.
func keep(tb testing.TB, s keeper, n delivery.Note, chains ...delivery.Chain) []delivery.Lease {
	tb.Helper()
	d := begin(tb, s, n)
	check(tb, d.Append([]byte("hello")))
	check(tb, d.Recorded(tb.Context(), false))
	n = d.Note()
	n.Duration, n.Media.Type = time.Second, "audio/ogg; codecs=opus"
	leases, err := d.Rendered(tb.Context(), n, []byte("OggS "+n.ID), chains)
	check(tb, err)
	return leases
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// names lists a life's events, "name target" each.
func names(l delivery.Life) string {
	var all []string
	for _, e := range l.Events {
		all = append(all, strings.TrimSpace(e.Name+" "+e.Target))
	}
	return strings.Join(all, ", ")
}

func life(tb testing.TB, s keeper, id string) delivery.Life {
	tb.Helper()
	l, err := s.Life(tb.Context(), id)
	check(tb, err)
	return l
}

func TestModes(t *testing.T) { everywhere(t, testModes) }

func testModes(t *testing.T, c composition) {
	path := filepath.Join(t.TempDir(), "new", "store")
	s := c.openAt(t, path)
	keep(t, s, newNote("101", "201"), chainTo("inbox"))
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %s", p, info.Mode())
		}
		return err
	})
	check(t, err)
}

func TestSecondProcessIsRefused(t *testing.T) { everywhere(t, testSecondProcessIsRefused) }

func testSecondProcessIsRefused(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	_, err := Open(c.options(t, path), quiet())
	if !errors.Is(err, delivery.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Fatalf("a second Open: %v", err)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = s.Close()
	}()
	patient := c.options(t, path)
	patient.Wait = 5 * time.Second
	waited, err := Open(patient, quiet())
	if err != nil {
		t.Fatal("an Open that waits:", err)
	}
	check(t, waited.Close())
}

func TestNewerSchemaIsRefused(t *testing.T) { everywhere(t, testNewerSchemaIsRefused) }

func testNewerSchemaIsRefused(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	_, err := write(t.Context(), s, func(tx *txn) (int64, error) { return tx.exec("PRAGMA user_version = 99") })
	check(t, err)
	check(t, s.Close())
	_, err = Open(c.options(t, path), quiet())
	if err == nil || !strings.Contains(err.Error(), "a newer program wrote this store (schema 99") {
		t.Fatalf("Open: %v", err)
	}
	if _, err = Open(c.options(t, path), quiet()); errors.Is(err, delivery.ErrLocked) {
		t.Fatal("a refused Open keeps the lock")
	}
}

func TestOpenNeedsAFolder(t *testing.T) { everywhere(t, testOpenNeedsAFolder) }

func testOpenNeedsAFolder(t *testing.T, c composition) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(c.options(t, file), quiet())
	if err == nil || !strings.Contains(err.Error(), "set store.path") {
		t.Fatalf("Open: %v", err)
	}
}

func TestPathWithOddCharacters(t *testing.T) { everywhere(t, testPathWithOddCharacters) }

func testPathWithOddCharacters(t *testing.T, c composition) {
	path := filepath.Join(t.TempDir(), "100% ?a#b &c")
	s := c.openAt(t, path)
	keep(t, s, newNote("101", "201"), chainTo("inbox"))
	if _, err := os.Stat(filepath.Join(path, "store.db")); err != nil {
		t.Fatal(err)
	}
}

// A closed store is one file that can be copied.
func TestCloseLeavesNoLog(t *testing.T) { everywhere(t, testCloseLeavesNoLog) }

func testCloseLeavesNoLog(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	keep(t, s, newNote("101", "201"), chainTo("inbox"))
	check(t, s.Close())
	if left, err := filepath.Glob(filepath.Join(path, "store.db-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReady(t *testing.T) { everywhere(t, testReady) }

func testReady(t *testing.T, c composition) {
	d := realDisk()
	full := false
	d.free = func(path string) (int64, error) {
		if full {
			return spaceFloor - 1, nil
		}
		return freeSpace(path)
	}
	s, err := open(c.options(t, t.TempDir()), quiet(), d)
	check(t, err)
	check(t, s.Ready(t.Context()))
	full = true
	if err := s.Ready(t.Context()); !errors.Is(err, delivery.ErrFull) {
		t.Fatalf("Ready on a full disk: %v", err)
	}
	full = false
	check(t, s.Close())
	if err := s.Ready(t.Context()); !errors.Is(err, errClosed) {
		t.Fatalf("Ready after Close: %v", err)
	}
}

func TestFullDisk(t *testing.T) { everywhere(t, testFullDisk) }

func testFullDisk(t *testing.T, c composition) {
	tests := map[string]func(d *disk){
		"below the floor": func(d *disk) { d.free = func(string) (int64, error) { return spaceFloor + 1000, nil } },
		"cannot ask":      func(d *disk) { d.free = func(string) (int64, error) { return 0, errors.New("gone") } },
		"cannot reserve":  func(d *disk) { d.reserve = func(*os.File, int64) error { return errors.New("no space left") } },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			d := realDisk()
			spoil(&d)
			s, err := open(c.options(t, t.TempDir()), quiet(), d)
			check(t, err)
			defer closeStore(t, s)
			n := newNote("101", "201")
			if _, err := s.Begin(t.Context(), n, 1<<20); !errors.Is(err, delivery.ErrFull) {
				t.Fatalf("Begin: %v", err)
			}
			if _, err := s.Life(t.Context(), n.ID); !errors.Is(err, delivery.ErrNotFound) {
				t.Errorf("a row is left: %v", err)
			}
			if _, err := os.Stat(s.tapePath(n.ID)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a tape is left: %v", err)
			}
		})
	}
}

// Where the file system cannot reserve, what open drafts were promised counts
// as taken until their tapes end.
func TestPromisesCount(t *testing.T) { everywhere(t, testPromisesCount) }

func testPromisesCount(t *testing.T, c composition) {
	d := realDisk()
	d.reserve = func(*os.File, int64) error { return errors.ErrUnsupported }
	free := int64(spaceFloor + ballastBytes)
	d.free = func(string) (int64, error) { return free, nil }
	s, err := open(c.options(t, t.TempDir()), quiet(), d)
	check(t, err)
	free = spaceFloor + 1500 // with the ballast aboard
	defer closeStore(t, s)
	first, err := s.Begin(t.Context(), newNote("101", "201"), 1000)
	check(t, err)
	if _, err := s.Begin(t.Context(), newNote("101", "201"), 1000); !errors.Is(err, delivery.ErrFull) {
		t.Fatalf("a second draft: %v", err)
	}
	check(t, first.Recorded(t.Context(), false))
	second, err := s.Begin(t.Context(), newNote("101", "201"), 1000)
	check(t, err)
	check(t, second.Discard(t.Context()))
	if owed := s.owed.Load(); owed != 0 {
		t.Errorf("%d bytes are still promised", owed)
	}
}

// After a sync fails nothing is taken and no second sync is tried.
func TestFailedSync(t *testing.T) { everywhere(t, testFailedSync) }

func testFailedSync(t *testing.T, c composition) {
	d := realDisk()
	syncs, failing := 0, false
	d.sync = func(f *os.File) error {
		if syncs++; failing {
			return errors.New("input/output error")
		}
		return f.Sync()
	}
	s, err := open(c.options(t, t.TempDir()), quiet(), d)
	check(t, err)
	defer closeStore(t, s)
	a, b := begin(t, s, newNote("101", "201")), begin(t, s, newNote("101", "202"))
	syncs, failing = 0, true
	if err := a.Recorded(t.Context(), false); err == nil {
		t.Fatal("Recorded says that the tape is kept")
	}
	failing = false
	if err := b.Recorded(t.Context(), false); err == nil {
		t.Fatal("Recorded says that the other tape is kept")
	}
	if syncs != 1 {
		t.Errorf("%d syncs, want one", syncs)
	}
	if _, err := s.Begin(t.Context(), newNote("101", "203"), 0); !errors.Is(err, delivery.ErrFull) {
		t.Errorf("Begin: %v", err)
	}
	if err := s.Ready(t.Context()); err == nil {
		t.Error("Ready")
	}
	if _, err := s.Claim(t.Context(), 1); err == nil {
		t.Error("Claim")
	}
	if a.Note().State != delivery.Recording || life(t, s, a.Note().ID).Note.State != delivery.Recording {
		t.Error("the note is promised")
	}
}

func TestContextEndsWaiting(t *testing.T) { everywhere(t, testContextEndsWaiting) }

func testContextEndsWaiting(t *testing.T, c composition) {
	s := c.openAt(t, t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	cancel(gone)
	release := hold(t, s)
	n := newNote("101", "201")
	if _, err := s.Begin(ctx, n, 0); !errors.Is(err, gone) || errors.Is(err, delivery.ErrFull) {
		t.Errorf("Begin: %v", err)
	}
	release()
	if _, err := s.Life(t.Context(), n.ID); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("the draft is there: %v", err)
	}
}

// read drains a reader and closes it.
func read(tb testing.TB, r delivery.RecordReader) (records []string, err error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute) // a tape that has not ended would be waited for
	defer cancel()
	defer func() { check(tb, r.Close()) }()
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		records = append(records, string(b))
	}
}

// A big change needs no temporary folder: a container has none, and what lies
// sealed in the store would stand there in clear.
func TestNoTemporaryFiles(t *testing.T) {
	const open = "/proc/self/fd"
	if _, err := os.Stat(open); err != nil {
		t.Skip("open files are found on Linux only:", err)
	}
	s := openStore(t, Options{Path: t.TempDir()})
	fill(t, s, 500)
	_, err := write(t.Context(), s, func(tx *txn) (any, error) {
		if _, err := tx.exec("UPDATE note SET body = randomblob(2000)"); err != nil {
			return nil, err
		}
		files, err := os.ReadDir(open)
		for _, f := range files {
			if to, _ := os.Readlink(filepath.Join(open, f.Name())); strings.HasSuffix(to, "(deleted)") {
				t.Errorf("%s is open", to)
			}
		}
		return nil, err
	})
	check(t, err)
}
