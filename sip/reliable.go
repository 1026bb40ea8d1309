package sip

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// provisional is a 180 that is resent until its PRACK comes (RFC 3262 section 3).
// Only an INVITE that requires 100rel gets one: any other call is answered at
// once.
type provisional struct {
	response *sipmsg.Response
	rack     string // what the PRACK must repeat: RSeq, CSeq number and method
	offer    bool   // it carries our offer, the PRACK brings the answer
	pracked  chan []byte

	done  bool // the PRACK has come
	pause time.Duration
	timer *time.Timer
}

// ring lets the phone ring where the INVITE requires 100rel, and returns when
// the peer has confirmed it. Where the INVITE had no offer, the 180 carries
// ours (RFC 3262 section 5), and true says that the 200 OK shall not.
func (d *dialog) ring(body []byte, offer bool, n Negotiator) (offered bool, err error) {
	r, err := d.startRinging(body, offer)
	if r == nil {
		return false, err
	}
	patience := time.NewTimer(64 * d.server.t1)
	defer patience.Stop()
	select {
	case answer := <-r.pracked:
		if !offer {
			return false, nil
		}
		if err := n.Answered(answer); err != nil {
			return false, d.giveUp(488, fmt.Errorf("the answer in the PRACK cannot be used: %w", err))
		}
		return true, nil
	case <-d.ended:
		d.mu.Lock()
		defer d.mu.Unlock()
		return false, d.notProceeding()
	case <-patience.C:
		return false, d.giveUp(504, ErrNoPRACK)
	}
}

// giveUp refuses a call that rang.
func (d *dialog) giveUp(code int, why error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase != proceeding || d.cause != nil {
		return d.notProceeding()
	}
	d.refuse(why, code)
	return why
}

// startRinging sends the 180; nil where none is due.
func (d *dialog) startRinging(body []byte, offer bool) (*provisional, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.phase != proceeding || d.cause != nil:
		return nil, d.notProceeding()
	case d.ringing != nil || !contains(headerValues(d.invite.Request, "Require"), "100rel"):
		return nil, nil
	}
	rseq := uint32(d.tag.branch)>>1 | 1 // 1 to 2^31-1
	res := response(d.invite.Request, 180, d.contact(), d.server.allow, supported,
		sipmsg.NewHeader("Require", "100rel"), sipmsg.NewHeader("RSeq", strconv.FormatUint(uint64(rseq), 10)))
	if offer {
		describe(res, body)
	}
	r := &provisional{
		response: res, offer: offer, pracked: make(chan []byte, 1), pause: d.server.t1,
		rack: fmt.Sprintf("%d %d %s", rseq, d.invite.CSeq().SeqNo, sipmsg.INVITE),
	}
	r.timer = time.AfterFunc(r.pause, func() { d.ringAgain(r) })
	d.ringing = r
	_ = d.invite.tx.Respond(res) // it is resent
	return r, nil
}

// ringAgain sends the 180 again, twice as long after each time.
func (d *dialog) ringAgain(r *provisional) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.done || d.phase != proceeding || d.cause != nil {
		return
	}
	_ = d.invite.tx.Respond(r.response)
	r.pause *= 2
	r.timer.Reset(r.pause)
}

// prack serves the PRACK of a 180.
func (s *Server) prack(in *incoming) {
	d, _ := s.find(in)
	if d == nil {
		in.respondOnce(481)
		return
	}
	r, answer, code := d.pracked(in)
	in.respond(code)
	if r != nil {
		r.pracked <- answer
	}
}

// pracked matches a PRACK with the 180 that waits for it (RFC 3262 section 3).
// An offer in it comes too early, for the one before has no answer yet.
func (d *dialog) pracked(in *incoming) (r *provisional, answer []byte, code int) {
	answer, err := sdpOf(in.Request)
	d.mu.Lock()
	defer d.mu.Unlock()
	r = d.ringing
	switch {
	case r == nil || r.done || d.phase != proceeding || rack(in.Request) != r.rack:
		return nil, nil, 481
	case !d.inOrder(in):
		return nil, nil, 500
	case err != nil:
		return nil, nil, 415
	case len(answer) > 0 && !r.offer:
		return nil, nil, 488
	}
	r.done = true
	r.timer.Stop()
	return r, answer, 200
}

// rack is the RAck of a PRACK, with single spaces.
func rack(req *sipmsg.Request) string {
	for h := range headersOf(req, "RAck") {
		return strings.Join(strings.Fields(h.Value()), " ")
	}
	return ""
}
