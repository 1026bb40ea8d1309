package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// invite serves an INVITE: one outside any dialog becomes a call.
func (s *Server) invite(in *incoming) {
	if !in.fresh {
		s.reoffer(in)
		return
	}
	d, err := s.dialogs.claim(in.tag, in.began)
	switch {
	case errors.Is(err, errMerged):
		in.respond(482)
		return
	case err != nil: // a copy: sipgo forgot its transaction at the 200 OK
		if d != nil {
			d.repeat(in.CSeq().SeqNo)
		}
		in.tx.Terminate()
		return
	}
	if r := s.authenticate(in); r != nil { // not before: a copy of an INVITE that was let in is none too many
		s.dialogs.erase(in.tag, true)
		s.refuseOnce(in, r)
		return
	}
	if r := s.startCall(d, in); r != nil {
		s.forget(in.tag)
		in.reject(r)
	}
}

// startCall hands the call to the handler, or says why not.
func (s *Server) startCall(d *dialog, in *incoming) *rejection {
	if v := s.admission.admit(in); v != admitted {
		return v.rejection()
	}
	started := false
	defer func() {
		if !started { // refused, or it panicked
			s.admission.leave(in.trunk)
		}
	}()
	offer, err := sdpOf(in.Request)
	who := caller(in.Request, in.trunk)
	switch {
	case err != nil:
		return &rejection{415, acceptHeaders}
	case who.Private && in.trunk.Anonymous == refuseAnonymous: // RFC 5079
		return &rejection{code: 433}
	}
	s.stats.calls.Add(1)
	ctx, id := d.open(s, in)
	c := &Call{
		ID: id, CallID: in.CallID().Value(), Trunk: in.trunk, Source: in.source,
		Callees: callees(in.Request, in.trunk), Caller: who, Offer: offer,
		dialog: d,
	}
	if s.closing.Load() { // Close did not see the call yet
		d.shutDown()
	}
	started = true
	go s.run(ctx, c)
	return nil
}

// run is the goroutine of one call.
func (s *Server) run(ctx context.Context, c *Call) {
	defer s.admission.leave(c.Trunk)
	defer c.dialog.handled()
	defer func() { s.caught(recover(), slog.String("note_id", c.ID)) }()
	s.handler(ctx, c)
}

// caught counts and logs a panic that was recovered: it cost one call or one
// request and no more. The stack holds addresses but no payload; what the
// panic says may hold anything.
func (s *Server) caught(panicked any, what slog.Attr) bool {
	if panicked == nil {
		return false
	}
	s.stats.panics.Add(1)
	s.log.Error("panic in a call", what,
		slog.String("type", fmt.Sprintf("%T", panicked)), slog.String("stack", string(debug.Stack())))
	return true
}

// cancel serves a CANCEL that sipgo found no INVITE for. What it does to the
// call was done when it arrived (RFC 3261 section 9.2).
func (s *Server) cancel(in *incoming) {
	if _, known := s.dialogs.find(in.tag); known {
		in.respond(200)
		return
	}
	in.respondOnce(481)
}

// ack takes the ACK of a 2xx. That of any other response changes nothing.
func (s *Server) ack(in *incoming) {
	if d, _ := s.find(in); d != nil {
		d.acknowledge(in)
	}
}

// objection says why a request cannot be served within its dialog, or nil.
func (s *Server) objection(in *incoming) *rejection {
	d, _ := s.find(in)
	if d == nil {
		return &rejection{code: 481}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.objection(in)
}

// info takes what is sent within a call, DTMF mostly (RFC 6086).
func (s *Server) info(in *incoming) {
	if r := s.objection(in); r != nil {
		s.refuseOnce(in, r)
		return
	}
	in.respond(200)
}

// cannotTakePause is what a peer waits when nothing can be taken.
const cannotTakePause = 10 * time.Second

// options tells what is understood, and that the gateway is alive (RFC 3261
// section 11.2).
func (s *Server) options(in *incoming) {
	check := s.unavailable
	if !in.fresh { // a sign of life within a call, which goes on
		check = s.objection
	}
	if r := check(in); r != nil {
		s.refuseOnce(in, r)
		return
	}
	in.respondOnce(200, append([]sipmsg.Header{s.allow, supported}, acceptHeaders...)...)
}

// unavailable is what a dispatcher is told while a call would be refused: it asks
// another gateway then.
func (s *Server) unavailable(in *incoming) *rejection {
	if v := s.admission.full(in.trunk); v != admitted {
		return v.rejection()
	}
	if s.canTake != nil && !s.canTake() {
		return cannotTake()
	}
	return nil
}

// cannotTake is what a peer is told while the gateway lacks what it needs.
func cannotTake() *rejection {
	return &rejection{503, []sipmsg.Header{retryAfter(cannotTakePause)}}
}

// refer is refused: a call is taken, never made for somebody else.
func (s *Server) refer(in *incoming) { in.respondOnce(403) }
