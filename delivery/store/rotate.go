package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// rotateBatch is how many keys RotateKeys wraps anew in one commit.
const rotateBatch = 1000

// RotateKeys takes the text of the key file as it is now and wraps the keys of
// the next notes after an id anew, with the file's first key. It returns the
// last of these notes to go on with, "" when none is left: then no row needs
// any other key of the file. Keys that are not in the text go on opening until
// the store is closed.
func (s *Store) RotateKeys(ctx context.Context, keys []byte, after string) (last string, err error) {
	if !s.vault.seals() {
		return "", errors.New("the store is in clear: set store.key_file and start the gateway anew first")
	}
	ring, err := parseKeys(keys)
	if err != nil {
		return "", fmt.Errorf("the key file: %w", err)
	}
	if !bytes.Equal(ring.index, s.vault.ring().index) {
		return "", errIndex
	}
	last, err = write(ctx, s, func(tx *txn) (string, error) {
		tx.vault.adopt(ring)
		return tx.rotate(s.box, after)
	})
	if err != nil {
		return "", fmt.Errorf("wrap the keys anew: %w", err)
	}
	return last, nil
}

// adopt takes the keys of a ring in front of those it has.
func (v *vault) adopt(ring keyring) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, old := range v.keys.keys {
		if !ring.holds(old) {
			ring.keys = append(ring.keys, old)
		}
	}
	v.keys = ring
}

func (k keyring) holds(key fileKey) bool {
	for _, own := range k.keys {
		if bytes.Equal(own.key, key.key) {
			return true
		}
	}
	return false
}

// rotate wraps the keys of the next notes, and at first that of the store.
func (t *txn) rotate(house *box, after string) (last string, err error) {
	if after == "" {
		if _, err := t.exec("UPDATE setting SET value = ? WHERE name = ?", t.vault.wrap(house), settingKey); err != nil {
			return "", err
		}
	}
	type row struct {
		id  string
		key []byte
	}
	rows, err := t.query("SELECT id, key FROM note WHERE id > ? ORDER BY id LIMIT ?", after, rotateBatch)
	notes, err := collect(rows, err, func(r scanner) (n row, err error) { return n, r.Scan(&n.id, &n.key) })
	if err != nil || len(notes) == 0 {
		return "", err
	}
	first := t.vault.ring().first()
	for _, n := range notes {
		if bytes.HasPrefix(n.key, first.id) {
			continue
		}
		b, err := t.vault.open(n.id, n.key)
		if err != nil {
			return "", err
		}
		if _, err := t.exec("UPDATE note SET key = ? WHERE id = ?", t.vault.wrap(b), n.id); err != nil {
			return "", err
		}
	}
	return notes[len(notes)-1].id, nil
}
