package web

import (
	"slices"
	"sync"
	"time"
)

// codesMost is how many codes a mailbox is given within codesWithin.
const (
	codesMost   = 10
	codesWithin = time.Minute
)

// quota counts the codes of each mailbox. The zero value is ready.
type quota struct {
	mu    sync.Mutex
	given map[string][]time.Time // within the last codesWithin
}

// take says whether a mailbox may have one more code now.
func (q *quota) take(mailbox string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.given == nil {
		q.given = map[string][]time.Time{}
	}
	for of, times := range q.given { // those of a minute: few
		times = slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= codesWithin })
		if q.given[of] = times; len(times) == 0 {
			delete(q.given, of)
		}
	}
	if len(q.given[mailbox]) >= codesMost {
		return false
	}
	q.given[mailbox] = append(q.given[mailbox], now)
	return true
}
