package store

import (
	"errors"
	"os"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

// rotateAll wraps every key with the first one of a key file's text.
func rotateAll(t *testing.T, s *Store, keys string) {
	t.Helper()
	last, err := s.RotateKeys(t.Context(), []byte(keys), "")
	for ; err == nil && last != ""; last, err = s.RotateKeys(t.Context(), []byte(keys), last) {
	}
	check(t, err)
}

// After a rotation the old key is needed by nothing, and what was opened or
// begun before goes on.
func TestRotate(t *testing.T) {
	path := t.TempDir()
	s := openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+testKey)})
	n := newNote("101", "201")
	leases := keep(t, s, n, chainTo("crm"))
	recording := begin(t, s, newNote("101", "202"))
	check(t, recording.Append([]byte("one")))
	token, err := s.LinkFor(t.Context(), "101")
	check(t, err)

	rotateAll(t, s, testIndex+otherKey+testKey)
	finish(t, s, leases[0], delivery.Result{Outcome: delivery.Done})
	check(t, recording.Append([]byte("two")))
	check(t, recording.Recorded(t.Context(), false))
	check(t, s.Close())

	s = openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+otherKey)})
	if got := names(life(t, s, n.ID)); got != "recording, recorded, rendered, sending crm, done crm" {
		t.Errorf("events %s", got)
	}
	if owner, err := s.LinkOwner(t.Context(), token); owner != "101" || err != nil {
		t.Errorf("owner %q, %v", owner, err)
	}
	drafts, err := s.Unfinished(t.Context())
	check(t, err)
	if records, err := read(t, drafts[0].Records()); err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// An attempt under way at another machine's note is opened after a rotation.
func TestRotateAttempts(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir(), KeyFile: writeKeys(t, testIndex+testKey)})
	id := delivery.NewID()
	b := s.vault.mint(id)
	_, err := write(t.Context(), s, func(tx *txn) (any, error) {
		return tx.exec("INSERT INTO attempt (job, epoch, note, mailbox, home, key, body, began_at) VALUES ('j', 1, ?, 'm', 'other', ?, x'', 1)", id, tx.vault.wrap(b))
	})
	check(t, err)
	rotateAll(t, s, testIndex+otherKey+testKey)
	var key []byte
	check(t, s.readers.QueryRowContext(t.Context(), "SELECT key FROM attempt").Scan(&key))
	keys, err := parseKeys([]byte(testIndex + otherKey))
	check(t, err)
	if _, err := keys.unwrap(id, key); err != nil {
		t.Errorf("with the new key alone: %v", err)
	}
}

// A rotation that ended in the middle leaves a store that opens with the file
// as it was then, and the next one ends it.
func TestRotationIsInterrupted(t *testing.T) {
	path := t.TempDir()
	file := writeKeys(t, testIndex+testKey)
	s := openStore(t, Options{Path: path, KeyFile: file})
	for range 3 {
		keep(t, s, newNote("101", "201"))
	}
	text, err := AddKey(file)
	check(t, err)
	_, err = write(t.Context(), s, func(tx *txn) (any, error) { // one note has its turn, then all ends
		ring, err := parseKeys(text)
		tx.vault.adopt(ring)
		return nil, errors.Join(err, rotateOne(tx))
	})
	check(t, err)
	check(t, s.Close())

	s = openStore(t, Options{Path: path, KeyFile: file})
	text, err = AddKey(file)
	check(t, err)
	rotateAll(t, s, string(text))
	check(t, s.Close())
	check(t, DropKeys(file))
	s = openStore(t, Options{Path: path, KeyFile: file})
	if list, err := s.List(t.Context(), delivery.Filter{Mailbox: "101"}); err != nil || len(list) != 3 {
		t.Errorf("%d notes, %v", len(list), err)
	}
}

func rotateOne(tx *txn) error {
	n, err := tx.vault.scanNote(tx.row("SELECT " + noteColumns + " FROM note LIMIT 1"))
	if err != nil {
		return err
	}
	_, err = tx.exec("UPDATE note SET key = ? WHERE id = ?", tx.vault.wrap(n.box), n.ID)
	return err
}

func TestRotateIsRefused(t *testing.T) {
	keys, err := os.ReadFile(writeKeys(t, testIndex+testKey))
	check(t, err)
	inClear := openStore(t, Options{Path: t.TempDir()})
	if _, err := inClear.RotateKeys(t.Context(), keys, ""); err == nil {
		t.Error("a store in clear took keys")
	}
	s := openStore(t, Options{Path: t.TempDir(), KeyFile: writeKeys(t, testIndex+testKey)})
	if _, err := s.RotateKeys(t.Context(), []byte(otherIndex+testKey), ""); !errors.Is(err, errIndex) {
		t.Errorf("another index: %v", err)
	}
	if _, err := s.RotateKeys(t.Context(), []byte("key"), ""); err == nil {
		t.Error("a broken file was taken")
	}
}
