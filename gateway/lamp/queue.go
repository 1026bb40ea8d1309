package lamp

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// queue is the mailboxes that are due, now or later, each once.
type queue struct {
	mu   sync.Mutex
	at   map[string]time.Time // when each is due
	next schedule             // the same in order, and entries that at has overtaken
	some chan struct{}        // holds a value when the schedule is to be looked at
}

func newQueue() *queue { return &queue{at: map[string]time.Time{}, some: make(chan struct{}, 1)} }

// add makes a mailbox due after a while. One that is due sooner stays so.
func (q *queue) add(mailbox string, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := time.Now().Add(after)
	if known, due := q.at[mailbox]; due && !at.Before(known) {
		return
	}
	q.at[mailbox] = at
	heap.Push(&q.next, entry{mailbox, at})
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
	for ctx.Err() == nil {
		mailbox, wait := q.first()
		if wait <= 0 {
			return mailbox, true
		}
		select {
		case <-q.some:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return "", false
}

// first takes the first mailbox that is due, or says how long none will be.
func (q *queue) first() (mailbox string, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.next) > 0 {
		e := q.next[0]
		current := q.at[e.mailbox].Equal(e.at)
		if wait = time.Until(e.at); current && wait > 0 {
			return "", wait
		}
		heap.Pop(&q.next)
		if current {
			delete(q.at, e.mailbox)
			q.wake() // another taker, for the next
			return e.mailbox, 0
		}
	}
	return "", time.Hour
}

// entry says when a mailbox is due.
type entry struct {
	mailbox string
	at      time.Time
}

// schedule is a heap of entries, the first due at its top.
type schedule []entry

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements heap.Interface.
func (s *schedule) Push(x any) { *s = append(*s, x.(entry)) }

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}
