package sip

import (
	"fmt"

	sipmsg "github.com/emiago/sipgo/sip"
)

// reinvited takes the final response to a re-INVITE of ours, which refreshes the
// session (RFC 4028): a 2xx gets its
// ACK (RFC 3261 section 13.2.2.4), and its answer goes to the media side. The
// error says that the answer cannot be used.
func (d *dialog) reinvited(res *sipmsg.Response) error {
	if !res.IsSuccess() { // sipgo sent the ACK
		return nil
	}
	n := d.confirm(res)
	if n == nil { // the call ended meanwhile
		return nil
	}
	if err := n.Answered(res.Body()); err != nil {
		return fmt.Errorf("the answer to our re-INVITE cannot be used: %w", err)
	}
	return nil
}

// confirm sends the ACK of a 2xx to our re-INVITE and returns who takes its
// answer.
func (d *dialog) confirm(res *sipmsg.Response) Negotiator {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peer.refresh(res.Contact())
	network, _ := d.peer.hop()
	d.ack = d.request(network, sipmsg.ACK, nil)
	d.ack.CSeq().SeqNo = res.CSeq().SeqNo
	_ = d.server.stack.transport.WriteMsg(d.ack) // asked for again when it is lost
	return d.negotiator
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ack != nil && d.ack.CSeq().SeqNo == cseq.SeqNo {
		_ = s.stack.transport.WriteMsg(d.ack) // as before
	}
}
