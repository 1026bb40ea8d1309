package lamp

import (
	"context"
	"slices"
	"sync"
	"time"
)

// queue is the mailboxes that are due, now or later, each once.
type queue struct {
	mu   sync.Mutex
	all  []entry
	some chan struct{} // holds a value when the list is to be looked at
}

type entry struct {
	mailbox string
	at      time.Time
}

func newQueue() *queue { return &queue{some: make(chan struct{}, 1)} }

// add makes a mailbox due after a while. One that is due already stays where it
// is, unless it is due sooner now.
func (q *queue) add(mailbox string, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := time.Now().Add(after)
	i := slices.IndexFunc(q.all, func(e entry) bool { return e.mailbox == mailbox })
	switch {
	case i < 0:
		q.all = append(q.all, entry{mailbox, at})
	case at.Before(q.all[i].at):
		q.all[i].at = at
	}
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

// take waits for a mailbox that is due, the first first; false when ctx ends.
func (q *queue) take(ctx context.Context) (mailbox string, ok bool) {
	for {
		mailbox, wait := q.first()
		if wait == 0 {
			return mailbox, true
		}
		select {
		case <-q.some:
		case <-time.After(wait):
		case <-ctx.Done():
			return "", false
		}
	}
}

// first takes the first mailbox that is due, or says how long none will be.
func (q *queue) first() (mailbox string, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait = time.Hour
	for i, e := range q.all {
		left := time.Until(e.at)
		if left > 0 {
			wait = min(wait, left)
			continue
		}
		if q.all = slices.Delete(q.all, i, i+1); len(q.all) > 0 {
			q.wake() // another taker
		}
		return e.mailbox, 0
	}
	return "", wait
}
