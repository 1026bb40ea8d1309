package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Thread implements delivery.Inbox.
func (s *Store) Thread(ctx context.Context, mailbox, before string, limit int) ([]delivery.Note, error) {
	rows, err := s.readers.QueryContext(ctx, "SELECT "+noteColumns+` FROM note
		WHERE mailbox = ?1 AND (?2 = '' OR id < ?2) AND state = 'rendered' ORDER BY id DESC LIMIT ?3`, mailbox, before, limit)
	return collect(rows, err, func(r scanner) (delivery.Note, error) { return scanNote(r) })
}

// Mark implements delivery.Inbox. delivery.ErrNotFound when the mailbox has no
// such note.
func (s *Store) Mark(ctx context.Context, mailbox, id string, what delivery.Mark) error {
	set, ok := map[delivery.Mark]string{
		delivery.MarkRead:   "UPDATE note SET read_at = ? WHERE id = ? AND read_at = 0",
		delivery.MarkPlayed: "UPDATE note SET played_at = ? WHERE id = ? AND played_at = 0",
	}[what]
	if !ok {
		return fmt.Errorf("no such mark %q", what)
	}
	n, err := s.note(ctx, id)
	if err == nil && (n.Recipient.Number != mailbox || n.State != delivery.Rendered) {
		err = delivery.ErrNotFound
	}
	if err != nil {
		return err
	}
	first, err := write(ctx, s, func(tx *txn) (bool, error) {
		now := time.Now()
		changed, err := tx.exec(set, micros(now), id)
		if err != nil || changed == 0 {
			return false, err
		}
		return true, tx.event(id, delivery.Event{At: now, Name: string(what)})
	})
	if err != nil {
		return fmt.Errorf("mark note %s: %w", id, err)
	}
	if first {
		s.watches.publish(mailbox, id)
	}
	return nil
}

// watchBuffer is how many ids a slow watcher may be behind before it loses some.
const watchBuffer = 64

// watches fans out what happens in a mailbox. The zero value is ready.
type watches struct {
	mu        sync.Mutex
	closed    bool
	byMailbox map[string][]*watch
}

type watch struct {
	ids  chan string
	stop func() bool // of waiting for its context
}

// Watch implements delivery.Inbox. The channel is closed when ctx or the store
// ends.
func (s *Store) Watch(ctx context.Context, mailbox string) <-chan string {
	return s.watches.add(ctx, mailbox)
}

func (ws *watches) add(ctx context.Context, mailbox string) <-chan string {
	w := &watch{ids: make(chan string, watchBuffer)}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		close(w.ids)
		return w.ids
	}
	if ws.byMailbox == nil {
		ws.byMailbox = map[string][]*watch{}
	}
	ws.byMailbox[mailbox] = append(ws.byMailbox[mailbox], w)
	w.stop = context.AfterFunc(ctx, func() { ws.remove(mailbox, w) })
	return w.ids
}

func (ws *watches) remove(mailbox string, w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return // close has closed the channel
	}
	rest := slices.DeleteFunc(ws.byMailbox[mailbox], func(o *watch) bool { return o == w })
	if ws.byMailbox[mailbox] = rest; len(rest) == 0 {
		delete(ws.byMailbox, mailbox)
	}
	close(w.ids)
}

// publish tells the mailbox's watchers of a note, without waiting for any.
func (ws *watches) publish(mailbox, id string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byMailbox[mailbox] {
		select {
		case w.ids <- id:
		default:
		}
	}
}

func (ws *watches) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for _, of := range ws.byMailbox {
		for _, w := range of {
			w.stop()
			close(w.ids)
		}
	}
	ws.byMailbox = nil
}
