package channel

import (
	"sync"
	"time"
)

// What Telegram takes in one chat ("My bot is hitting limits" of its FAQ).
const (
	telegramApart  = time.Second // from one message to the next
	telegramGroup  = 20          // messages to a group …
	telegramMinute = time.Minute // … in a minute
)

// telegramPace keeps the messages of one machine within what a chat takes; what
// several machines send together, the service answers with 429. The zero value
// is ready.
type telegramPace struct {
	mu    sync.Mutex
	chats map[telegramChat]*telegramTurns
}

type telegramTurns struct {
	taken []time.Time // the last ones, oldest first
	until time.Time   // before that the service takes nothing
}

// take books the chat's next turn and says how long until then. A turn that is
// later than patience is not booked.
func (p *telegramPace) take(chat telegramChat, patience time.Duration) (wait time.Duration, booked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	t := p.turns(chat, now)
	at := now
	if t.until.After(at) {
		at = t.until
	}
	if n := len(t.taken); n > 0 {
		at = later(at, t.taken[n-1].Add(telegramApart))
	}
	if chat.shared() && len(t.taken) == telegramGroup {
		at = later(at, t.taken[0].Add(telegramMinute))
	}
	if wait = at.Sub(now); wait > patience {
		return wait, false
	}
	if t.taken = append(t.taken, at); len(t.taken) > telegramGroup {
		t.taken = t.taken[1:]
	}
	return wait, true
}

// hold keeps a chat's messages back: the service has asked for it.
func (p *telegramPace) hold(chat telegramChat, span time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	t := p.turns(chat, now)
	t.until = later(t.until, now.Add(span))
}

// turns are a chat's. Those of chats that have been quiet are forgotten.
func (p *telegramPace) turns(chat telegramChat, now time.Time) *telegramTurns {
	if p.chats == nil {
		p.chats = map[telegramChat]*telegramTurns{}
	}
	t := p.chats[chat]
	if t == nil {
		for other, old := range p.chats {
			if old.quiet(now) {
				delete(p.chats, other)
			}
		}
		t = &telegramTurns{}
		p.chats[chat] = t
	}
	return t
}

func (t *telegramTurns) quiet(now time.Time) bool {
	return !t.until.After(now) && (len(t.taken) == 0 || now.Sub(t.taken[len(t.taken)-1]) > telegramMinute)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
