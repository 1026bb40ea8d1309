package lamp

import (
	"context"
	"log/slog"
	"slices"
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
	log      *slog.Logger
	reloaded chan struct{} // holds a value when there may be tellers to begin

	mu      sync.Mutex
	tellers []*teller
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
	l := &Lamps{log: log, reloaded: make(chan struct{}, 1)}
	l.Reload(trunks)
	return l
}

// Reload takes other trunks in the place of those there are. One that has the
// address it had is told on, another address is told of all mailboxes.
func (l *Lamps) Reload(trunks []sip.Trunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := slices.Clone(l.tellers) // somebody may be going through them
	l.tellers = nil
	for _, trunk := range trunks {
		i := slices.IndexFunc(before, func(t *teller) bool { return t.trunk == trunk.Name && t.address == trunk.MWI })
		switch {
		case trunk.MWI == "":
		case i < 0:
			l.tellers = append(l.tellers, newTeller(trunk, l.log))
		default:
			l.tellers = append(l.tellers, before[i])
			before = slices.Delete(before, i, i+1)
		}
	}
	for _, t := range before {
		close(t.gone)
	}
	select {
	case l.reloaded <- struct{}{}:
	default: // they will be looked at
	}
}

// all are the tellers there are now.
func (l *Lamps) all() []*teller {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tellers
}

// Changed says that something else waits in a mailbox now. It never blocks, and
// what changes before Run runs is told by it.
func (l *Lamps) Changed(mailbox string) {
	for _, t := range l.all() {
		t.due.add(mailbox, 0)
	}
}

// Run tells what changes until ctx ends. A trunk is first told of all mailboxes
// that have notes here: nobody knows what the last run has told.
func (l *Lamps) Run(ctx context.Context, r Rooms) {
	var running sync.WaitGroup
	defer running.Wait()
	begun := map[*teller]bool{}
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.reloaded:
			tellers := l.all()
			fresh := slices.DeleteFunc(slices.Clone(tellers), func(t *teller) bool { return begun[t] })
			clear(begun)
			for _, t := range tellers {
				begun[t] = true
			}
			for _, t := range fresh {
				running.Go(func() { t.run(ctx, r) })
			}
			l.refresh(ctx, r, fresh, func(string) bool { return true })
		case <-tick.C:
			l.refresh(ctx, r, l.all(), func(mailbox string) bool { return l.lit(ctx, r, mailbox) })
		case <-ctx.Done():
			return
		}
	}
}

// refresh has tellers tell mailboxes again.
func (l *Lamps) refresh(ctx context.Context, r Rooms, tellers []*teller, wanted func(mailbox string) bool) {
	if len(tellers) == 0 {
		return
	}
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
		if !wanted(mailbox) {
			continue
		}
		for _, t := range tellers {
			t.due.add(mailbox, 0)
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
