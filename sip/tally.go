package sip

import (
	"sync/atomic"
	"time"
)

// tellPause is how long what a tally counts is only counted after a line in the
// log about it.
const tellPause = time.Minute

// tally counts what strangers can bring about as often as they like, and says
// when a line in the log about it is due. The zero value is ready.
type tally struct {
	count atomic.Uint64
	said  atomic.Uint64 // count at the last line
	next  atomic.Int64  // when another may be written, in Unix nanoseconds
}

// add counts one. When a line is due it returns how many came since the last.
// It costs no allocation.
func (t *tally) add(now time.Time) (since uint64, due bool) {
	t.count.Add(1)
	return t.due(now)
}

// due is add without the counting.
func (t *tally) due(now time.Time) (since uint64, due bool) {
	next := t.next.Load()
	if now.UnixNano() < next || !t.next.CompareAndSwap(next, now.Add(tellPause).UnixNano()) {
		return 0, false
	}
	count := t.count.Load()
	return count - t.said.Swap(count), true
}
