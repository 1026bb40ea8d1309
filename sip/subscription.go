package sip

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

const (
	// quarantine is the least time between two NOTIFYs that nobody asked for: what
	// changes meanwhile is told in one (RFC 3842 section 3.9).
	quarantine = time.Second
	// lampPause is the time after which a mailbox that cannot be counted is
	// counted again.
	lampPause = 5 * time.Second
	// farewell is the time that a subscriber has to answer the last NOTIFY of a
	// gateway that stops.
	farewell = time.Second
)

// subscription is a peer that is told of a mailbox whenever that changes, and
// the dialog for it (RFC 6665 section 4.2).
type subscription struct {
	tag     tag
	mailbox string
	event   string
	account string
	asked   chan struct{} // holds a value when a NOTIFY is due whatever there is to tell
	heard   func()        // says that the first NOTIFY was answered, or never will be

	mu sync.Mutex
	line
	remoteSeq uint32
	until     time.Time
}

// refresh takes a SUBSCRIBE within the dialog: another end, another way there,
// the same routes (RFC 6665 section 4.2.1.4).
func (b *subscription) refresh(in *incoming, expires time.Duration) (contact sipmsg.Header, r *rejection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.peer.is(in) {
		return nil, &rejection{code: 481}
	}
	if in.CSeq().SeqNo < b.remoteSeq {
		return nil, &rejection{code: 500}
	}
	b.remoteSeq, b.until = in.CSeq().SeqNo, time.Now().Add(expires)
	now := b.server.lineOf(in)
	now.peer.seq, now.peer.routes = b.peer.seq, b.peer.routes
	b.line = now
	return b.from.contact(), nil
}

// left is the time until the subscription ends.
func (b *subscription) left() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.until)
}

// run tells the peer what there is, and each change, until the subscription
// ends or a NOTIFY fails (RFC 6665 section 4.2.2).
func (b *subscription) run(ctx context.Context) {
	defer b.server.subscriptions.drop(b)
	defer b.heard()
	defer func() { b.server.caught(recover(), slog.String("method", sipmsg.NOTIFY.String())) }()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes := b.server.lamps.Watch(watching, b.mailbox) // before the first count: what comes after it is told
	told, last := Messages{}, time.Time{}
	for asked := true; ; {
		now, err := b.server.lamps.Messages(ctx, b.mailbox)
		left := b.left()
		pause := left
		switch {
		case ctx.Err() != nil:
		case err != nil:
			b.server.log.Warn("a mailbox cannot be counted for its message lamp; trying again", "error", err)
			pause = min(left, lampPause)
		case asked || now != told || left <= 0:
			err := b.notify(ctx, stateAt(left), now)
			b.heard()
			if err != nil && ctx.Err() == nil {
				return
			}
			told, last, asked = now, time.Now(), false
		}
		if left <= 0 {
			return
		}
		select {
		case <-time.After(pause):
		case <-b.asked:
			asked = true
		case _, watches := <-changes:
			if !watches {
				changes = nil
			}
			asked = b.hold(ctx, time.Until(last.Add(quarantine))) || asked
		case <-ctx.Done():
			b.leave(ctx, told)
			return
		}
	}
}

// hold waits, unless a NOTIFY is asked for.
func (b *subscription) hold(ctx context.Context, pause time.Duration) (asked bool) {
	select {
	case <-time.After(pause):
	case <-b.asked:
		return true
	case <-ctx.Done():
	}
	return false
}

// leave tells a subscriber to come back later, as the gateway stops. One that
// does not hear it finds out when it refreshes.
func (b *subscription) leave(ctx context.Context, told Messages) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = b.notify(last, fmt.Sprintf("terminated;reason=probation;retry-after=%s", seconds(verdicts[draining].pause)), told)
}

// stateAt is the Subscription-State with so much time left (RFC 6665 section
// 4.1.3).
func stateAt(left time.Duration) string {
	if left <= 0 {
		return "terminated;reason=timeout"
	}
	return fmt.Sprintf("active;expires=%d", int((left+time.Second-1)/time.Second))
}

// notify sends a NOTIFY within the dialog.
func (b *subscription) notify(ctx context.Context, state string, m Messages) error {
	b.mu.Lock()
	ways := b.ways(sipmsg.NOTIFY, notice{b.from, b.event, state, b.account, m}.complete)
	b.mu.Unlock()
	return b.server.notify(ctx, ways)
}
