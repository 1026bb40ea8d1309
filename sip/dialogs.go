package sip

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Why an INVITE that was heard does not start a call.
var (
	errResent = errors.New("the INVITE was heard before")
	errMerged = errors.New("another branch of the same INVITE was heard before") // RFC 3261 section 8.2.2.2
)

// dialogs knows every INVITE by its tag: from its arrival to the end of its
// handler as a dialog, then for 64*T1 as a memory by which late copies of its
// requests are recognised.
type dialogs struct {
	keep time.Duration // how long the memory of a call lasts

	mu    sync.Mutex
	known map[uint64]entry // by tag.request
	queue []expiry         // what to look at again, in order of time
	early map[tag]orphan   // CANCELs that overtook their INVITE
}

// orphan is a CANCEL that came before its INVITE.
type orphan struct {
	cause error // why the call ends
	until time.Time
}

const (
	orphanKeep = time.Second // how long an INVITE may be behind
	maxOrphans = 1024
)

// entry is one INVITE.
type entry struct {
	tag     tag
	live    *dialog   // nil once it is over
	claimed bool      // the INVITE was served
	refused bool      // it got a final response other than 2xx
	until   time.Time // when to forget it, unless it is live and claimed
}

// expiry says when an entry may be forgotten.
type expiry struct {
	at  time.Time
	tag tag
}

func newDialogs(keep time.Duration) *dialogs {
	return &dialogs{keep: keep, known: make(map[uint64]entry), early: make(map[tag]orphan)}
}

// arrive notes an INVITE when it is read: a CANCEL right behind it finds it,
// however the goroutines that serve the two are scheduled.
func (t *dialogs) arrive(tg tag, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	if e, known := t.known[tg.request]; !known || e.tag != tg && e.refused {
		t.begin(tg, now)
	}
}

// begin remembers an INVITE, and the CANCEL that overtook it.
func (t *dialogs) begin(tg tag, now time.Time) {
	e := entry{tag: tg, live: &dialog{tag: tg}, until: now.Add(t.keep)}
	if o, overtaken := t.early[tg]; overtaken {
		delete(t.early, tg)
		e.refused = now.Before(o.until) && e.live.cancelled(o.cause)
	}
	t.remember(e)
}

// cancel returns the dialog that a CANCEL is about. A CANCEL of an INVITE that
// was not heard yet is remembered for it.
func (t *dialogs) cancel(tg tag, cause error, now time.Time) *dialog {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, known := t.known[tg.request]; known && e.tag == tg {
		return e.live
	}
	if len(t.early) >= maxOrphans {
		maps.DeleteFunc(t.early, func(_ tag, o orphan) bool { return !now.Before(o.until) })
	}
	if len(t.early) < maxOrphans {
		t.early[tg] = orphan{cause, now.Add(orphanKeep)}
	}
	return nil
}

// claim hands out the dialog of an INVITE, once. With errResent the dialog is
// nil when the call is over.
func (t *dialogs) claim(tg tag, now time.Time) (*dialog, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.known[tg.request]; !known { // it arrived beside a copy or another branch that was erased since
		t.begin(tg, now)
	}
	e := t.known[tg.request]
	switch {
	case e.tag != tg:
		return nil, errMerged
	case e.claimed:
		return e.live, errResent
	}
	e.claimed = true
	t.known[tg.request] = e
	return e.live, nil
}

// find returns the dialog with a tag. Of one that is over, known is true and
// the dialog nil.
func (t *dialogs) find(tg tag) (d *dialog, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.known[tg.request]
	if !known || e.tag != tg {
		return nil, false
	}
	return e.live, true
}

// refuse notes that an INVITE gets a final response other than 2xx. It comes
// before the response: the peer may try another branch as soon as it has it.
func (t *dialogs) refuse(tg tag) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.known[tg.request]; e.tag == tg {
		e.refused = true
		t.known[tg.request] = e
	}
}

// erase forgets an INVITE at once, as if it had not arrived: one that the caller
// has claimed, or one that nobody did. It arrived a moment ago: its expiry is
// among the last.
func (t *dialogs) erase(tg tag, claimed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, known := t.known[tg.request]; !known || e.tag != tg || e.claimed != claimed {
		return
	}
	delete(t.known, tg.request)
	for i, e := range slices.Backward(t.queue) {
		if e.tag == tg {
			t.queue = slices.Delete(t.queue, i, i+1)
			return
		}
	}
}

// end keeps the memory of a dialog alone.
func (t *dialogs) end(tg tag, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.known[tg.request]; e.tag == tg {
		t.remember(entry{tag: tg, claimed: true, refused: e.refused, until: now.Add(t.keep)})
	}
}

// remember stores an entry until its time.
func (t *dialogs) remember(e entry) {
	t.known[e.tag.request] = e
	t.queue = append(t.queue, expiry{e.until, e.tag})
}

// live lists the dialogs that are not over.
func (t *dialogs) live() []*dialog {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*dialog
	for _, e := range t.known {
		if e.live != nil && e.claimed {
			list = append(list, e.live)
		}
	}
	return list
}

// forget drops what is over since t.keep, and INVITEs that sipgo never handed
// over because their connection was gone.
func (t *dialogs) forget(now time.Time) {
	n := 0
	for ; n < len(t.queue) && !t.queue[n].at.After(now); n++ {
		e, known := t.known[t.queue[n].tag.request]
		if known && e.tag == t.queue[n].tag && (e.live == nil || !e.claimed) && !e.until.After(now) {
			delete(t.known, e.tag.request)
		}
	}
	t.queue = t.queue[n:]
}
