package sip

import (
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// retrySoon is what a peer waits whose offers overtake each other (RFC 3261
// section 14.2: up to 10 s).
const retrySoon = 2 * time.Second

// reoffer serves what may change the session: an INVITE within the dialog
// (RFC 3261 section 14.2) or an UPDATE (RFC 3311 section 5.2).
func (s *Server) reoffer(in *incoming) {
	d, _ := s.find(in)
	if d == nil {
		s.refuseOnce(in, &rejection{code: 481})
		return
	}
	if in.IsInvite() && d.repeat(in.CSeq().SeqNo) {
		in.tx.Terminate()
		return
	}
	offer, err := sdpOf(in.Request)
	if err != nil {
		in.respond(415, acceptHeaders...)
		return
	}
	n, refused := d.startOffer(in)
	if refused != nil {
		in.reject(refused)
		return
	}
	finished := false
	defer func() {
		if !finished { // the media side panicked
			d.offered()
		}
	}()
	var answer []byte
	switch {
	case len(offer) > 0:
		answer, err = n.Negotiate(offer)
	case in.IsInvite():
		answer = n.Description()
	}
	d.finishOffer(in, answer, len(offer) == 0, err)
	finished = true
}

// startOffer makes the dialog wait for the media side, or says why the request
// cannot be served now.
func (d *dialog) startOffer(in *incoming) (Negotiator, *rejection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.objection(in); r != nil {
		return nil, r
	}
	switch {
	case d.offering: // its last one has no final response yet
		return nil, &rejection{500, []sipmsg.Header{retryAfter(retrySoon)}}
	case d.asking, d.reply != nil && d.reply.offer: // ours has no answer yet
		return nil, &rejection{code: 491}
	}
	d.offering = true
	return d.negotiator, nil
}

// finishOffer sends the final response. Where err is not nil the session stays
// as it was.
func (d *dialog) finishOffer(in *incoming, answer []byte, ours bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offering = false // before the response: the next offer may be as quick
	switch {
	case d.cause != nil: // RFC 3261 section 15.1.2
		in.respond(487)
		return
	case err != nil:
		in.respond(488)
		return
	}
	d.peer.refresh(in.Contact())
	res := d.ok(in.Request, answer)
	if !in.IsInvite() {
		_ = in.tx.Respond(res) // the peer asks again
		return
	}
	in.tx.Terminate() // see Answer
	d.phase = accepted
	_ = d.accept(res, in.tx.Connection(), in.CSeq().SeqNo, ours) // it is resent
}

// offered ends what startOffer began, without a response.
func (d *dialog) offered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offering = false
}
