package sip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// phase is how far the exchange of an INVITE has come.
type phase int

const (
	proceeding phase = iota // no final response yet
	accepted                // our 200 OK is out, its ACK has not come
	confirmed               // ACK
	over                    // refused, cancelled or ended by a BYE
)

// errRefused is why the context of a call that the handler refused ends.
var errRefused = errors.New("refused by the gateway")

// dialog is this side of one INVITE and of the dialog that came of it
// (RFC 3261 section 12). It begins when the INVITE is read, and is opened when
// it is served.
type dialog struct {
	tag tag

	mu       sync.Mutex
	phase    phase
	cause    error // why the handler's context ended; nil while it goes on
	returned bool  // so did the handler
	goodbye  Cause // the BYE that waits for the ACK; 0 when none does
	byeDone  chan error

	ringing *provisional    // a 180 that needs a PRACK; nil where none was sent
	session *session        // nil where none is asked for
	asking  bool            // a new offer of ours has no answer yet
	ack     *sipmsg.Request // of our last re-INVITE
	ended   <-chan struct{} // of the handler's context, from open

	// What follows is set by open.
	line
	id         string // Call.ID
	cancel     context.CancelCauseFunc
	invite     *incoming // until a final response
	negotiator Negotiator
	reply      *reply // the last 2xx to an INVITE
	remoteSeq  uint32 // of the peer's last request
	offering   bool   // a new offer is being answered
	heardOK    bool   // the peer has our 200 OK: an ACK or a BYE came
}

// open starts the dialog of an INVITE that passed all checks. A CANCEL may
// have come first: then 487 is sent and ctx is done at once.
func (d *dialog) open(s *Server, in *incoming) (ctx context.Context, id string) {
	ctx, cancel := context.WithCancelCause(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id, d.cancel, d.invite = s.newID(), cancel, in
	d.line = s.lineOf(in)
	d.remoteSeq = in.CSeq().SeqNo
	d.ended = ctx.Done()
	if d.cause != nil {
		d.cancel(d.cause)
		in.respond(487) // RFC 3261 section 9.2; where sipgo sent it already, this one is dropped
	}
	return ctx, d.id
}

// end ends the handler's context. The lock is held.
func (d *dialog) end(cause error) {
	if d.cause != nil {
		return
	}
	d.cause = cause
	if d.cancel != nil {
		d.cancel(cause)
	}
}

// close ends the protocol's part and lets go of what it held. The lock is held.
func (d *dialog) close() {
	d.phase = over
	if d.goodbye != 0 { // put off, and now needless
		d.goodbye = 0
		d.byeDone <- nil
		d.server.byes.leave()
	}
	if d.reply != nil {
		d.reply.timer.Stop()
	}
	d.session.stop()
	d.invite, d.reply, d.negotiator, d.session = nil, nil, nil, nil
	d.settle()
}

// settle leaves only the memory of a dialog whose handler returned. The lock
// is held.
func (d *dialog) settle() {
	if d.phase == over && d.returned {
		d.server.dialogs.end(d.tag, time.Now())
	}
}

// gone is why nothing can be done any more, nil while the call goes on. The
// lock is held.
func (d *dialog) gone() error {
	if d.cause == nil {
		return nil
	}
	return fmt.Errorf("the call is over: %w", d.cause)
}

// refuse sends a final response other than 2xx. The lock is held.
func (d *dialog) refuse(cause error, code int, headers ...sipmsg.Header) {
	d.server.dialogs.refuse(d.tag)
	d.invite.respond(code, headers...)
	d.end(cause)
	d.close()
}

// cancelled ends a call that was not answered yet (RFC 3261 section 9.2).
// sipgo sends the 487 when it knows the INVITE, else open does.
func (d *dialog) cancelled(cause error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase != proceeding || d.cause != nil {
		return false
	}
	d.phase = over
	d.end(cause)
	return true
}

// handled closes what the handler left open: no answer means 500, a dialog
// that is still up gets a BYE.
func (d *dialog) handled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returned = true
	switch {
	case d.phase == proceeding:
		d.refuse(errRefused, 500)
	case d.phase == over:
		d.settle()
	case d.cause == nil:
		d.hangUp(ErrHungUp, CauseNormal)
	}
}

// shutDown ends a call because the gateway stops.
func (d *dialog) shutDown() {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.cause != nil || d.server == nil: // over, or about to find the gateway closed
	case d.phase == proceeding:
		d.refuse(ErrShutdown, 503, retryAfter(verdicts[draining].pause))
	default:
		d.hangUp(ErrShutdown, CauseNormal)
	}
}

// inOrder checks the CSeq of a request within the dialog and remembers it
// (RFC 3261 section 12.2.2). The lock is held.
func (d *dialog) inOrder(in *incoming) bool {
	seq := in.CSeq().SeqNo
	if seq < d.remoteSeq {
		return false
	}
	d.remoteSeq = seq
	return true
}

// abandon ends the wait for an ACK: the sockets are about to close.
func (d *dialog) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == accepted {
		d.close()
	}
}

// objection says why a request cannot be served within the dialog, or nil. The
// lock is held.
func (d *dialog) objection(in *incoming) *rejection {
	switch {
	case d.cause != nil || d.phase == proceeding && d.ringing == nil:
		return &rejection{code: 481}
	case d.phase == proceeding: // the first offer is being answered (RFC 3311 section 5.2)
		return &rejection{500, []sipmsg.Header{retryAfter(retrySoon)}}
	case !d.inOrder(in):
		return &rejection{code: 500}
	}
	return nil
}

// belongs says whether a request is part of this dialog (RFC 3261 section 12).
func (d *dialog) belongs(in *incoming) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server != nil && d.peer.is(in)
}
