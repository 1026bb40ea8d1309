package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// hold keeps the writer busy until the returned function is called, so that
// what is written meanwhile goes into one batch.
func hold(tb testing.TB, s *Store) (release func()) {
	tb.Helper()
	running, wait, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = write(context.Background(), s, func(*txn) (any, error) {
			close(running)
			<-wait
			return nil, nil
		})
	}()
	select {
	case <-running:
	case <-done:
		tb.Fatal("the writer takes nothing")
	}
	return func() { close(wait); <-done }
}

// An operation that fails takes nothing from its neighbours in the batch.
func TestNeighbours(t *testing.T) { everywhere(t, testNeighbours) }

func testNeighbours(t *testing.T, c composition) {
	s := c.openAt(t, t.TempDir())
	odd := errors.New("odd")
	release := hold(t, s)
	var wg sync.WaitGroup
	errs := make([]error, maxBatch+10)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = write(t.Context(), s, func(tx *txn) (any, error) {
				if _, err := tx.addLink(s.box, linkBody{fmt.Sprint(i), fmt.Sprint(i)}); err != nil {
					return nil, err
				}
				if i%2 == 1 {
					return nil, odd
				}
				return nil, nil
			})
		})
	}
	time.Sleep(20 * time.Millisecond) // all of them wait now
	release()
	wg.Wait()
	for i, err := range errs {
		if want := map[bool]error{true: odd}[i%2 == 1]; !errors.Is(err, want) {
			t.Errorf("operation %d: %v", i, err)
		}
		_, err = s.LinkOwner(t.Context(), fmt.Sprint(i))
		if kept := err == nil; kept != (i%2 == 0) {
			t.Errorf("operation %d is kept: %v", i, kept)
		}
	}
}

// When the database is full, whatever shared the transaction hears of it, and
// the writer goes on when there is room again.
func TestFullDatabase(t *testing.T) { everywhere(t, testFullDatabase) }

func testFullDatabase(t *testing.T, c composition) {
	s := c.openAt(t, t.TempDir())
	limit := func(pages int) {
		_, err := write(t.Context(), s, func(tx *txn) (n int64, err error) {
			return n, tx.row(fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(&n)
		})
		check(t, err)
	}
	insert := func(name string, bytes int) error {
		_, err := write(t.Context(), s, func(tx *txn) (int64, error) {
			return tx.exec("INSERT INTO setting (name, value) VALUES (?, zeroblob(?))", name, bytes)
		})
		return err
	}
	limit(1) // as small as it is now
	release := hold(t, s)
	var wg sync.WaitGroup
	errs := map[string]*error{"small": new(error), "large": new(error)}
	wg.Go(func() { *errs["large"] = insert("large", 1<<20) })
	time.Sleep(10 * time.Millisecond)
	wg.Go(func() { *errs["small"] = insert("small", 1) })
	time.Sleep(10 * time.Millisecond)
	release()
	wg.Wait()
	if *errs["large"] == nil {
		t.Fatal("a full database took a megabyte")
	}
	var kept int
	check(t, s.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM setting WHERE name = 'small'").Scan(&kept))
	if told := *errs["small"] == nil; told != (kept == 1) {
		t.Errorf("its neighbour was told %v, and %d rows are there", *errs["small"], kept)
	}
	if s.failure.get() != nil {
		t.Error("a full disk is no failing disk")
	}
	limit(1 << 20)
	check(t, insert("large", 1<<20))
}

// A database that is damaged on disk ends the store's work.
func TestDamagedDatabase(t *testing.T) { everywhere(t, testDamagedDatabase) }

func testDamagedDatabase(t *testing.T, c composition) {
	path := t.TempDir()
	s := c.openAt(t, path)
	var page, size int64
	check(t, s.readers.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = 'event'").Scan(&page))
	check(t, s.readers.QueryRowContext(t.Context(), "PRAGMA page_size").Scan(&size))
	check(t, s.Close())
	f, err := os.OpenFile(filepath.Join(path, "store.db"), os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size)), (page-1)*size)
	check(t, errors.Join(err, f.Close()))

	s = c.openAt(t, path)
	if _, err := s.Begin(t.Context(), newNote("101", "201"), 0); !errors.Is(err, delivery.ErrFull) {
		t.Fatalf("Begin: %v", err)
	}
	if err := s.Ready(t.Context()); err == nil {
		t.Fatal("ready with a damaged database")
	}
}
