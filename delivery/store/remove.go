package store

import (
	"errors"
	"io/fs"
	"os"
)

// removeBatch is how many notes are taken out with one commit: few enough that
// no call waits for it.
const removeBatch = 32

// Notes are taken out in three steps, so that a crash leaves no file that
// nobody knows of: their rows say that they have no files, the files go, and
// then, if nothing is to stay, the rows.

// bare says in a note's row that it has no files.
func (t *txn) bare(id string) error {
	_, err := t.exec("UPDATE note SET files = 0 WHERE id = ?", id)
	return err
}

// unlink removes the tape and the file of a note, and counts them.
func (s *Store) unlink(id string) (files int, bytes int64, err error) {
	for _, path := range []string{s.tapePath(id), s.notePath(id)} {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return files, bytes, err
		}
		files++
		bytes += info.Size()
	}
	return files, bytes, nil
}

// forget deletes the rows of a note. What waited behind its jobs has its turn.
func (t *txn) forget(id string) error {
	rows, err := t.query("SELECT thread FROM job WHERE note = ? AND head = 1", id)
	threads, err := collect(rows, err, func(r scanner) (thread []byte, err error) { return thread, r.Scan(&thread) })
	if err != nil {
		return err
	}
	for _, table := range []string{"job", "event", "report", "relay", "attempt"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE note = ?", id); err != nil {
			return err
		}
	}
	for _, thread := range threads { // not before: two chains of a note may share one
		if _, err := t.lead(thread); err != nil {
			return err
		}
	}
	_, err = t.exec("DELETE FROM note WHERE id = ?", id)
	return err
}
