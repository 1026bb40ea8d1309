package sip

import (
	"fmt"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// reply is a 2xx to an INVITE, resent until its ACK comes.
type reply struct {
	response *sipmsg.Response
	conn     sipmsg.Connection
	seq      uint32 // CSeq of the INVITE and of the ACK
	offer    bool   // it carries our offer, the ACK brings the answer
	acked    bool

	sent  time.Time
	pause time.Duration // before it is sent again
	timer *time.Timer
}

// Answer sends the 200 OK with a session description: the answer to c.Offer,
// or an offer of ours where the INVITE had none (RFC 3264 section 5), which
// n.Answered then hears the answer to. It returns when the response is on its way; it is resent
// until the ACK comes. An INVITE that requires 100rel gets a 180 first, whose
// PRACK is waited for. n takes part in the call until it ends, on other
// goroutines, but never two at a time. The error says why the call is over:
// after a CANCEL there is nothing left to answer.
func (c *Call) Answer(body []byte, n Negotiator) error {
	d, offer := c.dialog, len(c.Offer) == 0
	offered, err := d.ring(body, offer, n)
	if err != nil {
		return err
	}
	if offered {
		body, offer = nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase != proceeding || d.cause != nil {
		return d.notProceeding()
	}
	in := d.invite
	res := d.ok(in.Request, body)
	// The transaction ends with the 2xx (RFC 3261 section 13.3.1.4). Ending it
	// first leaves no moment in which a CANCEL could still get a 487 out of it.
	in.tx.Terminate()
	d.phase, d.negotiator, d.invite = accepted, n, nil
	if err := d.accept(res, d.conn, in.CSeq().SeqNo, offer); err != nil {
		d.end(ErrNoACK)
		d.close()
		return fmt.Errorf("send the 200 OK: %w", err)
	}
	d.server.stats.answered.Add(1)
	return nil
}

// Refuse sends a final response instead of an answer: 480, 486, 488, 503 and
// the like. retryAfter, when not 0, tells the peer when to try again, to the
// second. All refusals with one code are alike to the byte, apart from what
// they repeat of the request.
func (c *Call) Refuse(code int, retry time.Duration) error {
	if code < 300 || code > 699 {
		return fmt.Errorf("a call cannot be refused with %d: say 300 to 699", code)
	}
	if retry > 0 {
		return c.refuse(code, retryAfter(retry))
	}
	return c.refuse(code)
}

func (c *Call) refuse(code int, headers ...sipmsg.Header) error {
	d := c.dialog
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase != proceeding || d.cause != nil {
		return d.notProceeding()
	}
	d.server.stats.refused.Add(1)
	d.refuse(errRefused, code, headers...)
	return nil
}

// notProceeding says why a final response cannot be sent. The lock is held.
func (d *dialog) notProceeding() error {
	if err := d.gone(); err != nil {
		return err
	}
	return errAnswered
}

// contact is where the peer's requests shall come, and that a machine answers
// there, which takes messages (RFC 3840 sections 10.7 and 10.17).
func (d *dialog) contact() *sipmsg.ContactHeader {
	h := d.from.contact()
	h.Params = sipmsg.HeaderParams{{K: "automata"}, {K: "actor", V: `"msg-taker"`}}
	return h
}

// ok builds a 2xx that sets up or refreshes the dialog (RFC 3261 sections
// 12.1.1 and 13.3.1.4). The lock is held.
func (d *dialog) ok(req *sipmsg.Request, body []byte) *sipmsg.Response {
	res := response(req, 200, append(d.startSession(req), d.contact(), d.server.allow, supported)...)
	describe(res, body)
	return res
}

// accept sends a 2xx to an INVITE and keeps sending it. The lock is held.
func (d *dialog) accept(res *sipmsg.Response, conn sipmsg.Connection, seq uint32, offer bool) error {
	if d.reply != nil {
		d.reply.timer.Stop()
	}
	r := &reply{response: res, conn: conn, seq: seq, offer: offer, sent: time.Now(), pause: d.server.t1}
	d.reply = r
	r.timer = time.AfterFunc(r.pause, func() { d.resend(r) })
	return conn.WriteMsg(res)
}

// resend sends a 2xx again, on every transport: after T1, then twice as long
// each time up to T2, until 64*T1 (RFC 3261 section 13.3.1.4).
func (d *dialog) resend(r *reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reply != r || r.acked || d.phase == over {
		return
	}
	left := 64*d.server.t1 - time.Since(r.sent)
	if left <= 0 {
		d.noACK()
		return
	}
	_ = r.conn.WriteMsg(r.response) // the next one may pass; if none does, noACK ends the call
	r.pause = min(2*r.pause, 8*d.server.t1)
	r.timer.Reset(min(r.pause, left))
}

// noACK gives up waiting: the session is ended with a BYE (RFC 3261 section
// 13.3.1.4). The lock is held.
func (d *dialog) noACK() {
	d.server.stats.noACK.Add(1)
	d.end(ErrNoACK)
	d.bye(CauseTimeout)
}

// repeat answers a copy of the last INVITE that was accepted; false when the
// CSeq is another's.
func (d *dialog) repeat(seq uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reply == nil || d.reply.seq != seq {
		return false
	}
	_ = d.reply.conn.WriteMsg(d.reply.response) // the peer asks again
	return true
}

// acknowledge takes an ACK. Its answer to our offer goes to the media side; an
// answer that cannot be used ends the call (RFC 3261 section 13.2.1).
func (d *dialog) acknowledge(in *incoming) {
	d.mu.Lock()
	r, n := d.reply, d.negotiator
	if r == nil || r.acked || r.seq != in.CSeq().SeqNo || d.phase == over {
		d.mu.Unlock()
		return
	}
	r.acked = true
	r.timer.Stop()
	d.phase, d.heardOK = confirmed, true
	if d.goodbye != 0 {
		d.bye(d.goodbye)
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	if !r.offer {
		return
	}
	answer, err := sdpOf(in.Request)
	if err == nil {
		err = n.Answered(answer)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.offer = false
	if err != nil {
		d.server.log.Warn("the answer in the ACK cannot be used", "note_id", d.id, "error", err)
		if d.cause == nil {
			d.hangUp(ErrHungUp, CauseUnspecified)
		}
	}
}
