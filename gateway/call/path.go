// Package call is one call's path, top to bottom: whose mailbox it is, the
// answer, the recording, and the hand-over of the note to delivery.
//
// In: a [sip.Call]. Out: a note with its jobs in the store, and the first
// leases in the worker's hands. A start continues what an earlier process left
// unfinished by the same steps.
package call

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// Path is what a call needs on its way.
type Path struct {
	Directory   Directory
	Contacts    *config.Contacts // nil for none
	Engine      *media.Engine
	Renderers   *media.Renderers
	Drafts      delivery.Drafts
	Deliver     func(leases ...delivery.Lease) // the worker
	Records     *Records                       // call records; nil for none
	Metrics     Metrics
	MaxDuration time.Duration
	Log         *slog.Logger

	held   heldUp
	asked  asked
	lamped asked // for message lamps: a PBX that asks for all of them may still call
}

// Directory finds mailboxes, see config.Directory.
type Directory interface {
	// Lookup returns the mailbox of a SIP user part, or else of the same number
	// in E.164. config.ErrNoMailbox; any other error says that it cannot be told
	// now.
	Lookup(ctx context.Context, user, number string) (*config.Mailbox, error)
}

// Metrics is told what becomes of calls.
type Metrics interface {
	CallBegan()
	Received(s media.Stats)
	CallEnded(outcome Outcome)
	Rendered(f media.Facts)
}

// Outcome is how a call ended, as metrics and call records name it.
type Outcome string

// The outcomes of a call.
const (
	Voice          Outcome = "voice"            // a voice note came of it
	Missed         Outcome = "missed"           // nobody spoke
	Cancelled      Outcome = "cancelled"        // CANCEL before the answer: a missed-call line
	Elsewhere      Outcome = "elsewhere"        // somebody answered elsewhere: nothing
	UnknownMailbox Outcome = "unknown_mailbox"  // 480 or 302, as the trunk wants it; so the next three
	Disabled       Outcome = "disabled"         // the mailbox is out of use
	Blocked        Outcome = "blocked"          // the mailbox does not take this caller
	TooManyCallees Outcome = "too_many_callees" // the source has called as many numbers as it may
	Unacknowledged Outcome = "unacknowledged"   // neither an ACK nor a packet came: nothing
	NoCommonCodec  Outcome = "no_common_codec"  // 488
	Unavailable    Outcome = "unavailable"      // 503: no port, no room in the store, or no word from the directory
	Failed         Outcome = "failed"           // the note waits in the store for a later try
)

// retryAfter is what a refused peer is asked to wait.
const retryAfter = 10 * time.Second

// tapeRate is the room reserved for a second of tape, in bytes: G.711 in 20 ms
// packets takes 9 kB with its headers.
const tapeRate = 10_000

// Handle takes one call from the INVITE to its note.
func (p *Path) Handle(ctx context.Context, c *sip.Call) {
	r := record{
		Time: time.Now(), Note: c.ID, CallID: c.CallID, Trunk: c.Trunk.Name, Caller: c.Caller.Number,
		Outcome: Failed, // unless it comes to more: a panic does not
	}
	p.Metrics.CallBegan()
	defer p.over(ctx, &r)
	r.Outcome = p.take(ctx, c, &r)
}

// over tells of a call that has ended.
func (p *Path) over(ctx context.Context, r *record) {
	r.Ended = ended(ctx)
	p.Metrics.CallEnded(r.Outcome)
	if err := p.Records.write(*r); err != nil {
		p.Log.Error("call record lost", "note_id", r.Note, "error", err)
	}
	p.Log.Info("call ended", "note_id", r.Note, "trunk", r.Trunk, "outcome", r.Outcome, "ended", r.Ended, "duration_ms", r.Duration)
}

func (p *Path) take(ctx context.Context, c *sip.Call, r *record) Outcome {
	// What follows must not be cut short by the caller hanging up.
	keep := context.WithoutCancel(ctx)
	mailbox, callee, err := p.find(keep, c.Callees)
	r.Mailbox, r.Reason, r.Header = callee.User, callee.Reason, callee.Header // of an unknown one too: what to add, or to mend in the PBX
	if mailbox != nil {
		r.Mailbox = mailbox.Number
	}
	if err != nil {
		p.Log.Error("call refused: the directory does not say whose it is", "note_id", c.ID, "error", config.Logged(err))
		refuse(c, 503, retryAfter) // another gateway may know
		return Unavailable
	}
	if why := p.unwanted(c, mailbox, callee); why != "" {
		_ = c.RefuseUnknown()
		return why
	}

	leg, err := p.Engine.Open(c.Offer, c.Sources())
	if err != nil {
		return p.refuseOffer(c, err)
	}
	defer func() { _ = leg.Close() }()

	draft, err := p.Drafts.Begin(keep, delivery.Note{
		ID: c.ID, State: delivery.Recording, Kind: delivery.Voice, Trunk: c.Trunk.Name,
		Recipient: mailbox.Recipient(), Caller: p.caller(c, mailbox),
		Reason: callee.Reason, CalledAt: r.Time,
	}, int64(p.MaxDuration.Seconds()*tapeRate))
	if err != nil {
		p.Log.Error("call refused: its recording cannot be kept", "note_id", c.ID, "error", err)
		refuse(c, 503, retryAfter)
		return Unavailable
	}
	d := &deposit{draft: draft, mailbox: mailbox, cutOff: true}
	defer p.holdUnsettled(d) // a panic leaves the rest to Run
	if ctx.Err() == nil {
		err = c.Answer(leg.Description(), leg)
	}
	if err != nil || ctx.Err() != nil {
		return p.cancelled(ctx, d)
	}
	r.Answered = time.Now()
	return p.record(ctx, c, leg, d, r)
}

// findWithin is how long a caller waits for a directory that is asked, however
// many may have been called.
const findWithin = 4 * time.Second

// find is the first callee who has a mailbox; without one the mailbox is nil,
// and the callee the likeliest. One of whom that cannot be told is not passed
// over: the note would go to somebody else.
func (p *Path) find(ctx context.Context, callees []sip.Callee) (*config.Mailbox, sip.Callee, error) {
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	for _, callee := range callees {
		m, err := p.Directory.Lookup(ctx, callee.User, callee.Number)
		if !errors.Is(err, config.ErrNoMailbox) {
			return m, callee, err
		}
	}
	return nil, append(callees, sip.Callee{})[0], nil
}

// caller is who calls, by the name that the mailbox's contacts have: the
// recipient knows it, and the call's own may be anybody's.
func (p *Path) caller(c *sip.Call, m *config.Mailbox) delivery.Caller {
	caller := delivery.Caller(c.Caller)
	if caller.Private {
		return caller
	}
	caller.Name = cmp.Or(p.Contacts.Name(m, caller.Number, c.Trunk.Country), caller.Name)
	return caller
}

func (p *Path) refuseOffer(c *sip.Call, err error) Outcome {
	if errors.Is(err, media.ErrNoCommonCodec) || errors.Is(err, media.ErrBadOffer) {
		p.Log.Info("call refused: its offer cannot be met", "note_id", c.ID, "error", err)
		refuse(c, 488, 0) // RFC 3261 §21.4.26
		return NoCommonCodec
	}
	p.Log.Error("call refused: it gets no RTP port", "note_id", c.ID, "error", err)
	refuse(c, 503, retryAfter) // a failure of ours: another gateway may do better
	return Unavailable
}

// cancelled leaves a missed-call line, unless somebody answered elsewhere, or
// is about to: a gateway that shuts down has the peer try another, and a peer
// that did not confirm the ringing, or cannot be sent the answer, has done so.
func (p *Path) cancelled(ctx context.Context, d *deposit) Outcome {
	keep := context.WithoutCancel(ctx)
	why := context.Cause(ctx)
	if errors.Is(why, sip.ErrNoACK) {
		p.discard(keep, d)
		return Unacknowledged
	}
	if errors.Is(why, sip.ErrElsewhere) || errors.Is(why, sip.ErrShutdown) || errors.Is(why, sip.ErrNoPRACK) {
		p.discard(keep, d)
		return Elsewhere
	}
	d.cutOff = false
	if _, _, err := p.finish(keep, d, nothing()); err != nil {
		return Failed
	}
	return Cancelled
}

// discard forgets a call of which nothing is to be kept. Until that is done, a
// restart would make a missed call of it.
func (p *Path) discard(ctx context.Context, d *deposit) {
	d.settled, d.forget = true, true
	if err := d.draft.Discard(ctx); err != nil {
		p.Log.Error("draft not discarded: will be tried again", "note_id", d.draft.Note().ID, "error", err)
		p.held.add(d)
	}
}

// record tapes the caller until the call ends, rendering along.
func (p *Path) record(ctx context.Context, c *sip.Call, leg *media.Leg, d *deposit, r *record) Outcome {
	keep := context.WithoutCancel(ctx)
	following, stop := context.WithCancel(keep)
	defer stop()
	over := make(chan struct{})
	done := p.follow(following, d, over)

	err := leg.Record(ctx, d.draft)
	close(over)
	_ = leg.Close() // its port is free before our BYE is answered
	hungUp := p.hangUp(keep, ctx, c, err)
	defer hungUp.Wait()

	stats := leg.Stats()
	r.received(stats)
	p.Metrics.Received(stats)
	if stats.Packets == 0 && !acknowledged(c, hungUp) {
		p.Log.Warn("no note: neither an ACK nor audio came; the peer went on to another gateway, or does not reach our Contact, see sip.advertise", "note_id", c.ID)
		stop()
		<-done
		p.discard(keep, d)
		return Unacknowledged
	}
	// The end is missing when the gateway cut the caller off, not when it waited in vain for more.
	d.cutOff = err != nil && !errors.Is(err, media.ErrNoRTP) || errors.Is(context.Cause(ctx), sip.ErrShutdown)
	note, facts, err := p.finish(keep, d, done)
	if err != nil {
		return Failed
	}
	r.finished(note, facts)
	if note.Kind == delivery.Missed {
		return Missed
	}
	return Voice
}

// hangUp ends a dialog that the leg has given up on, while the note goes on.
func (p *Path) hangUp(keep, ctx context.Context, c *sip.Call, err error) *sync.WaitGroup {
	var wg sync.WaitGroup
	if err == nil || ctx.Err() != nil {
		return &wg
	}
	cause := sip.CauseNetwork
	switch {
	case errors.Is(err, media.ErrTooLong):
		cause = sip.CauseNormal
	case errors.Is(err, media.ErrNoRTP):
		cause = sip.CauseTimeout
	default:
		p.Log.Error("recording cut off", "note_id", c.ID, "error", err)
	}
	wg.Go(func() {
		if err := c.Hangup(keep, cause); err != nil {
			p.Log.Warn("no answer to our BYE", "note_id", c.ID, "error", err)
		}
	})
	return &wg
}

// acknowledged says whether a call in which nothing came was one: a peer that
// tried another gateway meanwhile gets its note from there. It waits until the
// ACK has come or will not any more.
func acknowledged(c *sip.Call, hungUp *sync.WaitGroup) bool {
	if !c.Acknowledged() {
		hungUp.Wait()
	}
	return c.Acknowledged()
}

func refuse(c *sip.Call, code int, after time.Duration) { _ = c.Refuse(code, after) }

// ended is why the dialog is over, in a word.
func ended(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	return ""
}
