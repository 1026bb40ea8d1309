package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// A note whose row cannot be opened, since its key is no longer in the key file
// or its bytes are damaged, keeps none of the others back. Its jobs stay queued:
// put right, they go out.

const (
	// unreadWait is how long such a note is not tried again.
	unreadWait = 10 * time.Minute
	// unreadAgain is how long it is not told of again, and maxUnread how many
	// notes that holds for.
	unreadAgain = time.Hour
	maxUnread   = 4096
)

// errDamaged says that what a row keeps is not what was written.
var errDamaged = errors.New("damaged")

// unopened says of an error that a row is there and cannot be opened.
func unopened(err error) bool {
	return errors.Is(err, errForeign) || errors.Is(err, errSealed) || errors.Is(err, errDamaged)
}

// toldUnreadable is what those are told who ask for one note that cannot be opened.
func toldUnreadable(err error) error {
	if unopened(err) {
		return fmt.Errorf("%w: %w", delivery.ErrUnreadable, err)
	}
	return err
}

// scanAny is scanNote for a list, which a note that cannot be opened does not end.
func (s *Store) scanAny(row scanner) (kept, error) {
	n, err := s.vault.scanNote(row)
	if unopened(err) {
		s.unreadable(n.ID, err)
		return n, nil
	}
	return n, err
}

// unread are the notes that were told of since they cannot be read. The zero
// value is ready.
type unread struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// tells says whether a note is to be told of now.
func (u *unread) tells(note string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.told[note]; ok && now.Sub(last) < unreadAgain {
		return false
	}
	if len(u.told) >= maxUnread {
		maps.DeleteFunc(u.told, func(_ string, at time.Time) bool { return now.Sub(at) >= unreadAgain })
		if len(u.told) >= maxUnread {
			return false // enough was said of the others
		}
	}
	if u.told == nil {
		u.told = map[string]time.Time{}
	}
	u.told[note] = now
	return true
}

// unreadable logs that a note of this machine cannot be read.
func (s *Store) unreadable(note string, err error) {
	if s.unread.tells(note, s.Now()) {
		s.log.Error("a note cannot be read and waits; it is tried again every 10 minutes: where its key is missing put that line back into store.key_file, where it is damaged put the store back from a copy",
			"note_id", note, "error", err)
	}
}

// setAside leaves a job for a while whose note cannot be read. What is behind it
// in its thread does not wait for that.
func (t *txn) setAside(job string, now time.Time, why error) error {
	var note string
	var thread []byte
	if err := t.row("SELECT note, thread FROM job WHERE id = ?", job).Scan(&note, &thread); err != nil {
		return err
	}
	t.unreadable(note, why)
	_, err := t.exec("UPDATE job SET next_at = ? WHERE id = ?", micros(now.Add(unreadWait)), job)
	if err != nil || bytes.HasPrefix(thread, []byte(operatorThread)) { // which is its own
		return err
	}
	_, err = t.setApart(job)
	return err
}
