package sip

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// refresh sends an UPDATE, which says nothing of the session, or where the
// peer takes none a re-INVITE that offers what there is (RFC 4028 section
// 7.4). The lock is held.
func (d *dialog) refresh(t *session) {
	s := d.server
	method, offer := sipmsg.UPDATE, []byte(nil)
	if !t.update {
		method, offer = sipmsg.INVITE, d.negotiator.Description()
		d.asking = true
	}
	ways := d.requests(method, offer, d.contact(), s.allow, supported,
		sipmsg.NewHeader("Session-Expires", seconds(t.interval)+";refresher=uac"))
	s.background.run(64*s.t1, func(ctx context.Context) {
		defer func() { s.caught(recover(), slog.String("note_id", d.id)) }()
		res, err := s.stack.ask(ctx, ways, 8*s.t1)
		if err == nil && !t.update {
			err = d.reinvited(ctx, res)
		}
		d.refreshed(t, res, err)
	})
}

// refreshed takes the answer to a refresh (RFC 4028 section 10). Silence, and a
// peer that knows of no call, end it. Any other refusal may pass, and one that
// knows no UPDATE gets a re-INVITE next.
func (d *dialog) refreshed(t *session, res *sipmsg.Response, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asking = false
	if d.session != t || d.cause != nil {
		return
	}
	switch {
	case err != nil:
		d.server.log.Warn("the session cannot be refreshed", "note_id", d.id, "error", err)
		d.hangUp(ErrExpired, CauseTimeout)
	case res.StatusCode == 408, res.StatusCode == 481:
		d.hangUp(ErrExpired, CauseTimeout)
	case !res.IsSuccess():
		t.update = t.update && res.StatusCode != 405 && res.StatusCode != 501
		t.timer.Reset(min(retrySoon, max(0, time.Until(t.end))))
	default:
		d.peer.refresh(res.Contact())
		interval, refresher := sessionExpires(res)
		if interval < d.server.minSession { // it has no timers: this side goes on by itself
			interval, refresher = t.interval, "uac"
		}
		d.renew(interval, refresher != "uas", t.update)
	}
}

// reinvited takes the final response to a re-INVITE of ours: a 2xx gets its ACK
// (RFC 3261 section 13.2.2.4), and its answer goes to the media side. The error
// says that the answer cannot be used.
func (d *dialog) reinvited(ctx context.Context, res *sipmsg.Response) error {
	if !res.IsSuccess() { // sipgo sent the ACK
		return nil
	}
	ack, n := d.confirm(res)
	_ = d.server.stack.tell(ctx, ack) // asked for again when it is lost
	if n == nil {                     // the call ended meanwhile
		return nil
	}
	if err := n.Answered(res.Body()); err != nil {
		return fmt.Errorf("the answer to our re-INVITE cannot be used: %w", err)
	}
	return nil
}

// confirm builds the ACK of a 2xx to our re-INVITE and returns who takes its
// answer.
func (d *dialog) confirm(res *sipmsg.Response) (*sipmsg.Request, Negotiator) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peer.refresh(res.Contact())
	network, _ := d.peer.hop()
	d.ack = d.request(sipmsg.ACK, network)
	d.ack.CSeq().SeqNo = res.CSeq().SeqNo
	return d.ack.Clone(), d.negotiator // sending changes it, and a copy may be asked for meanwhile
}

// stray answers a 2xx to a re-INVITE of ours that came again with the same ACK.
func (s *Server) stray(res *sipmsg.Response) {
	from, cseq := res.From(), res.CSeq()
	if from == nil || cseq == nil || cseq.MethodName != sipmsg.INVITE || !res.IsSuccess() {
		return
	}
	tg, ours := parseTag(tagParam(from.Params))
	d, _ := s.dialogs.find(tg)
	if !ours || d == nil {
		return
	}
	if ack := d.acked(cseq.SeqNo); ack != nil {
		s.background.run(64*s.t1, func(ctx context.Context) { _ = s.stack.tell(ctx, ack) }) // as before
	}
}

// acked is the ACK of our re-INVITE with this CSeq, nil where there was none.
func (d *dialog) acked(seq uint32) *sipmsg.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ack == nil || d.ack.CSeq().SeqNo != seq {
		return nil
	}
	return d.ack.Clone()
}
