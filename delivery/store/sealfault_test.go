package store

import (
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A commit that needed the ballast leaves no note in clear.
func TestSealingOnAFullDisk(t *testing.T) {
	o := Options{Path: t.TempDir()}
	s := openStore(t, o)
	fill(t, s, sealBatch)
	check(t, s.Close())
	o.KeyFile, o.AsIs = writeKeys(t, testIndex+testKey), true
	s = openStore(t, o)
	vault, err := openVault(o.KeyFile)
	check(t, err)
	s.vault, s.writer.tx.vault = vault, vault
	s.ballast.remove = func(string) error { return s.writer.tx.setPages(1 << 20) } // the writer is who calls
	var wg sync.WaitGroup
	do := func(do func(tx *txn) error) {
		wg.Go(func() {
			_, err := write(t.Context(), s, func(tx *txn) (any, error) { return nil, do(tx) })
			check(t, err)
		})
		time.Sleep(50 * time.Millisecond) // it stands in line
	}
	next := make(chan struct{})
	do(func(*txn) error { <-next; return nil })
	wg.Go(func() { check(t, s.sealNotes(t.Context())) })
	time.Sleep(50 * time.Millisecond)
	do(func(tx *txn) error { // in one commit with it, which fails
		if s.ballast.aboard.Load() {
			if err := tx.setPages(1); err != nil {
				return err
			}
		}
		_, err := tx.exec("INSERT INTO setting (name, value) VALUES ('big', zeroblob(100000))")
		return err
	})
	close(next)
	wg.Wait()
	var left int
	check(t, s.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM note WHERE key = x''").Scan(&left))
	if left > 0 || s.ballast.aboard.Load() {
		t.Errorf("%d notes are in clear", left)
	}
}

// Where another program reads the database while it is rewritten, the start is
// refused, and the next one goes on: its log is not taken for the new one's.
func TestSealingBesideAReader(t *testing.T) {
	path := oldStore(t)
	o := Options{Path: path}
	check(t, openStore(t, o).Close())
	reader, err := sql.Open("sqlite", "file:"+filepath.Join(path, databaseName))
	check(t, err)
	defer func() { check(t, reader.Close()) }()
	conn, err := reader.Conn(t.Context())
	check(t, err)
	_, err = conn.ExecContext(t.Context(), "BEGIN; SELECT count(*) FROM note")
	check(t, err)
	o.KeyFile = writeKeys(t, testIndex+testKey)
	if s, err := Open(o, quiet()); !errors.Is(err, errInUse) {
		t.Errorf("beside a reader: %v", err)
		if err == nil {
			check(t, s.Close())
		}
	}
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	check(t, errors.Join(err, conn.Close(), reader.Close()))
	s := openStore(t, o)
	checkOldStore(t, s)
	check(t, s.Close())
	if left := inClear(t, path, personal()); len(left) > 0 {
		t.Errorf("still in clear: %q", left)
	}
}
