package lamp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

const (
	// refreshEvery is how often lit lamps are told again: a PBX that was started
	// anew knows of none.
	refreshEvery = 30 * time.Minute
	// refreshPause spreads what is told again.
	refreshPause = 20 * time.Millisecond
)

// Lamps tells trunks what waits in the mailboxes.
type Lamps struct {
	tellers []*teller
	log     *slog.Logger
}

// Rooms is what Run needs of the others.
type Rooms struct {
	Inbox delivery.Inbox
	// Recipients are the mailboxes that this machine keeps notes of.
	Recipients func(ctx context.Context) ([]string, error)
	// Memory is that of all machines: which of them tells a lit lamp again.
	Memory delivery.Memory
	// Notify is sip.Server's.
	Notify func(ctx context.Context, address, mailbox string, m sip.Messages) error
}

// New readies the lamps of the trunks that have an address for them.
func New(trunks []sip.Trunk, log *slog.Logger) *Lamps {
	l := &Lamps{log: log}
	for _, t := range trunks {
		if t.MWI != "" {
			l.tellers = append(l.tellers, newTeller(t, log))
		}
	}
	return l
}

// Changed says that something else waits in a mailbox now. It never blocks, and
// what changes before Run runs is told by it.
func (l *Lamps) Changed(mailbox string) {
	for _, t := range l.tellers {
		t.due.add(mailbox, 0)
	}
}

// Run tells what changes until ctx ends. It begins with all mailboxes that have
// notes here: nobody knows what the last run has told.
func (l *Lamps) Run(ctx context.Context, r Rooms) {
	if len(l.tellers) == 0 {
		return
	}
	var running sync.WaitGroup
	for _, t := range l.tellers {
		running.Go(func() { t.run(ctx, r) })
	}
	l.refresh(ctx, r, func(string) bool { return true })
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			l.refresh(ctx, r, func(mailbox string) bool { return l.lit(ctx, r, mailbox) })
		case <-ctx.Done():
		}
	}
	running.Wait()
}

// refresh tells mailboxes again.
func (l *Lamps) refresh(ctx context.Context, r Rooms, wanted func(mailbox string) bool) {
	mailboxes, err := r.Recipients(ctx)
	if err != nil && ctx.Err() == nil {
		l.log.Error("message lamps cannot be told again; trying again", "again_in_s", int64(refreshEvery.Seconds()), "error", err)
	}
	for _, mailbox := range mailboxes {
		select {
		case <-time.After(refreshPause):
		case <-ctx.Done():
			return
		}
		if wanted(mailbox) {
			l.Changed(mailbox)
		}
	}
}

// lit says whether a lamp is to be told again, by this machine: one of them has
// the turn.
func (l *Lamps) lit(ctx context.Context, r Rooms, mailbox string) bool {
	m, err := Count(ctx, r.Inbox, mailbox)
	if err != nil || m.New == 0 {
		return false
	}
	mine, err := r.Memory.Add(ctx, delivery.Entry{Key: "refresh\n" + mailbox, For: refreshEvery * 3 / 4, Mailbox: mailbox})
	return err == nil && mine
}
