package lamp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/sip"
)

const (
	sideBySide = 16               // NOTIFYs under way at one trunk
	patience   = 10 * time.Second // for the answer to one
	firstPause = 4 * time.Second  // after a failure, then twice as long each time:
	lastPause  = 2 * time.Minute  // one phone that is off must not hold the others up

	// mostRefusals is how often a mailbox is refused before it is let be, until
	// something changes there: ten minutes in which a phone may register.
	mostRefusals = 10

	sayEvery = 10 * time.Minute // of a trunk that something is wrong
)

// teller tells one trunk. What it cannot tell waits, as the number of a mailbox
// whose messages are counted when its turn comes.
type teller struct {
	trunk, address string
	log            *slog.Logger
	due            *queue
	gone           chan struct{} // closed when the trunk is not told any more

	mu    sync.Mutex
	tries map[string]int    // that have failed, by mailbox
	said  map[int]time.Time // when it was logged, by status; 0 for no answer
}

func newTeller(t sip.Trunk, log *slog.Logger) *teller {
	return &teller{trunk: t.Name, address: t.MWI, log: log, due: newQueue(), gone: make(chan struct{}), tries: map[string]int{}, said: map[int]time.Time{}}
}

// run tells what is due until ctx ends, or the trunk is gone.
func (t *teller) run(ctx context.Context, r Rooms) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var takers sync.WaitGroup
	for range sideBySide {
		takers.Go(func() {
			for {
				mailbox, ok := t.due.take(ctx)
				if !ok {
					return
				}
				t.settle(ctx, mailbox, t.tell(ctx, r, mailbox))
			}
		})
	}
	select {
	case <-t.gone:
		stop()
	case <-ctx.Done():
	}
	takers.Wait()
}

// tell tells a mailbox. When something else waits there by now, perhaps told by
// another machine in between, it is due again: what is told last is right.
func (t *teller) tell(ctx context.Context, r Rooms, mailbox string) error {
	told, err := Count(ctx, r.Inbox, mailbox)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.Notify(within, t.address, mailbox, told); err != nil {
		return err
	}
	if now, err := Count(ctx, r.Inbox, mailbox); err != nil || now != told {
		t.due.add(mailbox, 0)
	}
	return nil
}

// settle has a mailbox told again that was not heard of, unless the answer has
// been the same for long.
func (t *teller) settle(ctx context.Context, mailbox string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.tries, mailbox)
		return
	}
	if ctx.Err() != nil {
		return
	}
	code := 0
	if status, ok := errors.AsType[*sip.StatusError](err); ok {
		code = status.Code
	}
	if refused(code) && t.tries[mailbox] >= mostRefusals-1 {
		delete(t.tries, mailbox)
	} else {
		pause := min(firstPause<<min(t.tries[mailbox], 10), lastPause)
		t.tries[mailbox]++
		t.due.add(mailbox, pause/2+rand.N(pause/2)) //nolint:gosec // so that many do not ask at once
	}
	if now := time.Now(); now.Sub(t.said[code]) >= sayEvery {
		t.said[code] = now
		t.log.Warn("a message lamp was not switched", "trunk", t.trunk, "mend", mend[code], "error", err)
	}
}

// refused says whether a status is about the mailbox or what is asked, not about
// a PBX that is away or busy.
func refused(code int) bool { return code >= 300 && code < 500 && code != 408 && code != 429 }

// mend says what to do about an answer; 0 is none.
var mend = map[int]string{
	0:   "is the address in mwi the PBX's, and does it run?",
	401: "have the PBX take NOTIFY from this gateway without a password",
	403: "have the PBX take NOTIFY from this gateway",
	404: "the PBX has no such mailbox, or its phone is not there: is the address in mwi right?",
	405: "the PBX takes no NOTIFY unasked: have it subscribe, and leave mwi away",
	407: "have the PBX take NOTIFY from this gateway without a password",
	481: "the PBX takes no NOTIFY unasked: have it subscribe, and leave mwi away",
	489: "the PBX takes no NOTIFY of message-summary: load there what message lamps need",
}
