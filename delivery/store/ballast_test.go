package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// setPages bounds the database; 1 is as small as it is now.
func (t *txn) setPages(n int) error {
	return t.row(fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(&n)
}

// A delivery that happened is recorded on a full disk, and no call is taken
// until there is room for the next one.
func TestBallastKeepsADelivery(t *testing.T) { everywhere(t, testBallastKeepsADelivery) }

func testBallastKeepsADelivery(t *testing.T, c composition) {
	path, free, dropped := t.TempDir(), int64(1<<40), 0
	d := realDisk()
	d.free = func(string) (int64, error) { return free, nil }
	var s *Store
	d.remove = func(path string) error {
		dropped++
		return errors.Join(os.Remove(path), s.writer.tx.setPages(1<<20)) // the writer is who calls
	}
	var said bytes.Buffer
	s, err := open(c.options(t, path), slog.New(slog.NewTextHandler(&said, nil)), d)
	check(t, err)
	defer closeStore(t, s)
	ballast := filepath.Join(path, "ballast")
	if info, err := os.Stat(ballast); err != nil || info.Size() != ballastBytes {
		t.Fatal("no ballast:", err)
	}
	fill := func() {
		free = spaceFloor + ballastBytes - 1
		_, err := write(t.Context(), s, func(tx *txn) (any, error) { return nil, tx.setPages(1) })
		check(t, err)
	}
	long := delivery.Result{Outcome: delivery.Done, Detail: strings.Repeat("long ", 20000)}
	first := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
	second := keep(t, s, newNote("101", "202"), chainTo("crm"))[0]

	fill()
	finish(t, s, first, long)
	if j := life(t, s, first.Note.ID).Jobs[0]; j.State != delivery.JobDelivered {
		t.Errorf("the job is %s", j.State)
	}
	if _, err := os.Stat(ballast); !errors.Is(err, fs.ErrNotExist) || dropped != 1 {
		t.Errorf("the ballast: %v, dropped %d times", err, dropped)
	}
	if _, err := s.Begin(t.Context(), newNote("101", "203"), 0); !errors.Is(err, delivery.ErrFull) {
		t.Errorf("Begin: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, delivery.ErrFull) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("Ready: %v", err)
	}

	fill()
	if err := s.Finish(t.Context(), second, long); err == nil || dropped != 1 {
		t.Errorf("without ballast: %v, dropped %d times", err, dropped)
	}
	if s.Failed() {
		t.Error("a full disk is no failed disk")
	}
	if n := strings.Count(said.String(), "level=ERROR"); n != 1 {
		t.Errorf("said it %d times:\n%s", n, said.String())
	}

	free++
	check(t, s.Ready(t.Context()))
	if info, err := os.Stat(ballast); err != nil || info.Size() != ballastBytes {
		t.Error("the ballast was not put back:", err)
	}
	finish(t, s, second, long)
}

// What a crash left of the ballast is none.
func TestHalfABallast(t *testing.T) {
	path := t.TempDir()
	check(t, os.WriteFile(filepath.Join(path, "ballast"), []byte("half"), 0o600))
	openStore(t, Options{Path: path})
	if info, err := os.Stat(filepath.Join(path, "ballast")); err != nil || info.Size() != ballastBytes {
		t.Error("no ballast:", err)
	}
}

// A disk that becomes full while the ballast is put back has it afterwards, or
// knows that it has not.
func TestBallastIsDroppedAndPutBackAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	b := &ballast{path: filepath.Join(t.TempDir(), "ballast"), log: quiet()}
	b.remove = func(path string) error {
		began := make(chan struct{})
		wg.Go(func() { close(began); _ = b.restore(1 << 40) })
		<-began
		time.Sleep(50 * time.Millisecond) // long enough to write it
		return os.Remove(path)
	}
	check(t, b.restore(1<<40))
	if !b.drop(false) {
		t.Fatal("it was not dropped")
	}
	wg.Wait()
	if _, err := os.Stat(b.path); (err == nil) != b.aboard.Load() {
		t.Errorf("aboard is %t, and the file: %v", b.aboard.Load(), err)
	}
}

// The clock is kept by a commit that needed the ballast.
func TestBallastKeepsTheClock(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir()})
	s.ballast.remove = func(string) error { return s.writer.tx.setPages(1 << 20) } // the writer is who calls
	_, err := write(t.Context(), s, func(tx *txn) (any, error) {
		s.writer.clockAt = time.Time{} // the next commit keeps it
		_, err := tx.exec("DELETE FROM setting WHERE name = ?", settingClock)
		return nil, errors.Join(err, tx.setPages(1))
	})
	check(t, err)
	_, err = write(t.Context(), s, func(tx *txn) (any, error) {
		return tx.exec("INSERT INTO setting (name, value) VALUES ('big', zeroblob(100000))")
	})
	check(t, err)
	kept, err := scanTime(s.readers.QueryRowContext(t.Context(), selectSetting, settingClock))
	if err != nil || kept.IsZero() || s.ballast.aboard.Load() {
		t.Errorf("kept %v, %v", kept, err)
	}
}
