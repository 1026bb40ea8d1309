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

// wrapped is a row's key.
type wrapped struct {
	note string
	key  []byte
}

func scanWrapped(r scanner) (w wrapped, err error) { return w, r.Scan(&w.note, &w.key) }

// rotate wraps the keys of the next notes, and at first those of the store and
// of the attempts under way, whose notes may be another machine's.
func (t *txn) rotate(house *box, after string) (last string, err error) {
	if after == "" {
		if _, err := t.exec("UPDATE setting SET value = ? WHERE name = ?", t.vault.wrap(house), settingKey); err != nil {
			return "", err
		}
		rows, err := t.query("SELECT DISTINCT note, key FROM attempt WHERE settled = 0")
		attempts, err := collect(rows, err, scanWrapped)
		if err != nil {
			return "", err
		}
		if err := t.rewrap(attempts, "UPDATE attempt SET key = ? WHERE note = ? AND settled = 0"); err != nil {
			return "", err
		}
	}
	rows, err := t.query("SELECT id, key FROM note WHERE id > ? ORDER BY id LIMIT ?", after, rotateBatch)
	notes, err := collect(rows, err, scanWrapped)
	if err != nil || len(notes) == 0 {
		return "", err
	}
	return notes[len(notes)-1].note, t.rewrap(notes, "UPDATE note SET key = ? WHERE id = ?")
}

// rewrap wraps with the first key what is wrapped with another, and has update
// keep the key of each note.
func (t *txn) rewrap(all []wrapped, update string) error {
	first := t.vault.ring().first()
	for _, w := range all {
		if bytes.HasPrefix(w.key, first.id) {
			continue
		}
		b, err := t.vault.open(w.note, w.key)
		if err != nil {
			return err
		}
		if _, err := t.exec(update, t.vault.wrap(b), w.note); err != nil {
			return err
		}
	}
	return nil
}
