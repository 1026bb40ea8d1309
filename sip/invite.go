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

// retryLater is what a peer waits before it tries a gateway again that drains.
const retryLater = 30 * time.Second

// invite serves an INVITE: one outside any dialog becomes a call.
func (s *Server) invite(in *incoming) {
	if !in.fresh {
		s.reoffer(in)
		return
	}
	d, err := s.dialogs.claim(in.tag)
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
	if r := s.startCall(d, in); r != nil {
		s.forget(in.tag)
		in.respond(r.code, r.headers...)
	}
}

// startCall hands the call to the handler, or says why not.
func (s *Server) startCall(d *dialog, in *incoming) *rejection {
	offer, err := sdpOf(in.Request)
	if err != nil {
		return &rejection{415, acceptHeaders}
	}
	if !s.calls.enter() {
		return &rejection{503, []sipmsg.Header{retryAfter(retryLater)}}
	}
	s.stats.calls.Add(1)
	ctx, id := d.open(s, in)
	c := &Call{
		ID: id, CallID: in.CallID().Value(), Trunk: in.trunk, Source: in.source,
		Callees: callees(in.Request, in.trunk), Caller: caller(in.Request, in.trunk), Offer: offer,
		dialog: d,
	}
	if s.closing.Load() { // Close did not see the call yet
		d.shutDown()
	}
	go s.run(ctx, c)
	return nil
}

// run is the goroutine of one call.
func (s *Server) run(ctx context.Context, c *Call) {
	defer s.calls.leave()
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
	in.respond(481)
}

// ack takes the ACK of a 2xx. That of any other response changes nothing.
func (s *Server) ack(in *incoming) {
	if d, _ := s.find(in); d != nil {
		d.acknowledge(in)
	}
}

// admit says why a request cannot be served within its dialog, or nil.
func (s *Server) admit(in *incoming) *rejection {
	d, _ := s.find(in)
	if d == nil {
		return &rejection{code: 481}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.admit(in)
}

// info takes what is sent within a call, DTMF mostly (RFC 6086).
func (s *Server) info(in *incoming) {
	if r := s.admit(in); r != nil {
		in.respond(r.code, r.headers...)
		return
	}
	in.respond(200)
}

// options tells what is understood, and that the gateway is alive (RFC 3261
// section 11.2).
func (s *Server) options(in *incoming) {
	if !in.fresh {
		if r := s.admit(in); r != nil {
			in.respond(r.code, r.headers...)
			return
		}
	}
	if s.calls.isShut() {
		in.respond(503, retryAfter(retryLater))
		return
	}
	in.respond(200, append([]sipmsg.Header{s.allow, supported}, acceptHeaders...)...)
}

// refer is refused: a call is taken, never made for somebody else.
func (s *Server) refer(in *incoming) { in.respond(403) }
