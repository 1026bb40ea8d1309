package store

import (
	"context"
	"slices"
	"sync"
)

// watchBuffer is how many ids a slow watcher may be behind before it loses some.
const watchBuffer = 64

// watches fans out what happens in a mailbox, by its alias. The zero value is
// ready.
type watches struct {
	mu        sync.Mutex
	closed    bool
	byMailbox map[string][]*watch
}

type watch struct {
	ids  chan string
	stop func() bool // of waiting for its context
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
