package sip

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// arrived sees each message before sipgo does, in the order in which they were
// read: there an INVITE is always before its CANCEL, while sipgo gives each
// message a goroutine and the CANCEL may overtake. Requests without a To tag
// get theirs here, before any response can be made (RFC 3261 section 8.2.6.2).
func (s *Server) arrived(msg sipmsg.Message) {
	req, ok := msg.(*sipmsg.Request)
	if !ok {
		return
	}
	defer func() { s.caught(recover(), slog.String("method", req.Method.String())) }()
	tidy(req)
	tg, ok := tagOf(s.seed, req)
	if !ok || tagParam(req.To().Params) != "" {
		return
	}
	req.To().Params.Add("tag", tg.String())
	switch req.Method {
	case sipmsg.INVITE:
		s.dialogs.arrive(tg, time.Now())
	case sipmsg.CANCEL:
		s.cancelArrived(req, tg)
	default: // of others no CANCEL can be late
	}
}

// cancelArrived ends the call that a CANCEL is about.
func (s *Server) cancelArrived(req *sipmsg.Request, tg tag) {
	d, _ := s.dialogs.find(tg)
	if d == nil {
		return
	}
	cause := ErrCancelled
	if elsewhere(req) {
		cause = ErrElsewhere
	}
	if d.cancelled(cause) {
		s.dialogs.refuse(tg)
	}
}

// tidy mends what sipgo's parser leaves as it came: white space and case in
// parameter names (RFC 4475 section 3.1.1.1), and a Via that does not tell
// where the request really came from (RFC 3261 section 18.2.1).
func tidy(req *sipmsg.Request) {
	if from := req.From(); from != nil {
		tidyParams(from.Params)
	}
	if to := req.To(); to != nil {
		tidyParams(to.Params)
	}
	if cseq := req.CSeq(); cseq != nil {
		cseq.MethodName = sipmsg.RequestMethod(strings.TrimSpace(cseq.MethodName.String()))
	}
	source, err := netip.ParseAddrPort(req.Source())
	via := req.Via()
	if err != nil || via == nil {
		return
	}
	if sentBy, err := netip.ParseAddr(via.Host); err != nil || sentBy.Unmap() != source.Addr().Unmap() {
		via.Params.Add("received", source.Addr().Unmap().String())
	}
}

func tidyParams(ps sipmsg.HeaderParams) {
	for i, p := range ps {
		ps[i].K, ps[i].V = strings.ToLower(strings.TrimSpace(p.K)), strings.TrimSpace(p.V)
	}
}

// request serves a request that starts a transaction. An INVITE's stays with
// its dialog; any other is over when this returns.
func (s *Server) request(req *sipmsg.Request, tx *sipmsg.ServerTx) {
	in, ok := s.incoming(req, tx)
	if !ok { // sources outside every trunk were dropped before they were read
		tx.Terminate()
		return
	}
	defer func() {
		if s.caught(recover(), slog.String("method", req.Method.String())) {
			in.respond(500)
		}
		if !req.IsInvite() {
			tx.TerminateGracefully()
		}
	}()
	s.dispatch(in)
}

// incoming gathers what is known of a request.
func (s *Server) incoming(req *sipmsg.Request, tx *sipmsg.ServerTx) (*incoming, bool) {
	source, err := netip.ParseAddrPort(req.Source())
	if err != nil {
		return nil, false
	}
	in := &incoming{Request: req, tx: tx, source: source, trunk: s.trunks.find(source.Addr())}
	if to := req.To(); to != nil {
		in.tag, _ = parseTag(tagParam(to.Params))
		minted, ok := tagOf(s.seed, req)
		in.fresh = ok && minted == in.tag
	}
	return in, in.trunk != nil
}

// forget ends an INVITE that did not become a call, before it is refused.
func (s *Server) forget(tg tag) {
	s.dialogs.refuse(tg)
	s.dialogs.end(tg, time.Now())
}

// find returns the dialog a request belongs to. Of one that is over, known is
// true and the dialog nil.
func (s *Server) find(in *incoming) (d *dialog, known bool) {
	d, known = s.dialogs.find(in.tag)
	if d != nil && !d.belongs(in) {
		return nil, false
	}
	return d, known
}

// dispatch checks a request and finds who serves it (RFC 3261 section 8.2).
func (s *Server) dispatch(in *incoming) {
	serve := s.serverOf(in.Method)
	if in.Method == sipmsg.ACK || in.Method == sipmsg.CANCEL {
		if in.CSeq() != nil && in.From() != nil && in.CallID() != nil {
			serve(s, in)
		}
		return
	}
	if serve == nil {
		in.respond(405, s.allow)
		return
	}
	if r := validate(in.Request); r != nil {
		if r.code == 400 || r.code == 505 {
			s.stats.malformed.Add(1)
		}
		if in.IsInvite() && in.fresh {
			s.forget(in.tag)
		}
		in.respond(r.code, r.headers...)
		return
	}
	serve(s, in)
}

// serverOf finds who serves a method; nil when nobody does.
func (s *Server) serverOf(method sipmsg.RequestMethod) func(*Server, *incoming) {
	for _, m := range methods {
		if m.name == method {
			return m.serve
		}
	}
	if method == sipmsg.REFER {
		return (*Server).refer
	}
	return nil
}
