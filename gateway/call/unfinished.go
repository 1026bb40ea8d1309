package call

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
)

// A deposit that could not be finished waits, longer after every try.
const (
	again      = 5 * time.Second
	againAtEnd = 5 * time.Minute
)

// It is looked again whether more of what an earlier process left can be read, and
// sooner where nothing could be taken up.
const (
	lookAgain = 10 * time.Minute
	lookSoon  = time.Minute
)

// Run finishes the drafts that an earlier process left, as soon as they can be
// read, and those that a full disk or a panic held up, until ctx ends.
func (p *Path) Run(ctx context.Context) {
	due, next := p.unfinished(ctx)
	tick, look := time.NewTicker(again), time.NewTimer(next)
	defer tick.Stop()
	defer look.Stop()
	for {
		var wg sync.WaitGroup
		for _, d := range due {
			wg.Go(func() { p.resume(ctx, d) })
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			due = p.held.due(time.Now())
		case <-look.C:
			due, next = p.unfinished(ctx)
			look.Reset(next)
		}
	}
}

// unfinished are the drafts of an earlier process that can be read now. More may be
// after next.
func (p *Path) unfinished(ctx context.Context) (due []*deposit, next time.Duration) {
	drafts, err := p.Drafts.Unfinished(ctx)
	if err != nil {
		p.Log.Error("what the last run left unfinished cannot be taken up; trying again", "error", err)
		return nil, lookSoon
	}
	if len(drafts) > 0 {
		p.Log.Info("finishing what the last run left", "drafts", len(drafts))
	}
	for _, draft := range drafts {
		due = append(due, &deposit{draft: draft, left: true, cutOff: draft.Note().Partial})
	}
	return due, lookAgain
}

// mailbox is the one a note is for; one that was taken out of the directory
// since keeps its inbox.
func (p *Path) mailbox(ctx context.Context, n delivery.Note) (*config.Mailbox, error) {
	m, err := p.Directory.Lookup(ctx, n.Recipient.Number, "")
	if errors.Is(err, config.ErrNoMailbox) {
		return &config.Mailbox{Number: n.Recipient.Number, Deliver: delivery.Chain{{Channel: config.Inbox}}}, nil
	}
	return m, err
}

// resume takes a deposit through the steps that are left.
func (p *Path) resume(ctx context.Context, d *deposit) {
	if d.forget {
		p.discard(ctx, d)
		return
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	close(over)
	_, _, _ = p.finish(ctx, d, p.follow(following, d, over)) // what fails is held again
}

// HeldUp is how many notes wait for what failed to be mended.
func (p *Path) HeldUp() int { return p.held.count() }

// holdUnsettled holds a deposit that the call's goroutine has left unsettled, because
// it panicked.
func (p *Path) holdUnsettled(d *deposit) {
	if !d.settled {
		p.held.add(d)
	}
}

// heldUp are deposits that could not be finished.
type heldUp struct {
	mu       sync.Mutex
	deposits []*deposit
}

func (h *heldUp) add(d *deposit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.due = time.Now().Add(min(again<<min(d.tries, 10), againAtEnd))
	d.tries++
	h.deposits = append(h.deposits, d)
}

// due takes out those whose next try has come.
func (h *heldUp) due(now time.Time) (due []*deposit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.deposits[:0]
	for _, d := range h.deposits {
		if d.due.After(now) {
			kept = append(kept, d)
		} else {
			due = append(due, d)
		}
	}
	clear(h.deposits[len(kept):])
	h.deposits = kept
	return due
}

func (h *heldUp) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.deposits)
}
