package sip

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// arrived sees each message before sipgo does, in the order in which they were
// read, while sipgo gives each a goroutine on which a CANCEL may overtake its
// INVITE, and drops a request whose connection was closed meanwhile. So what a
// CANCEL, an ACK or a BYE does is done here; only the answer comes later.
// Requests without a To tag get theirs here, before any response can be made
// (RFC 3261 section 8.2.6.2).
func (s *Server) arrived(msg sipmsg.Message) {
	req, ok := msg.(*sipmsg.Request)
	if !ok {
		return
	}
	defer func() { s.caught(recover(), slog.String("method", req.Method.String())) }()
	tidy(req)
	tg, ok := tagOf(s.seed, req)
	switch {
	case !ok:
	case tagParam(req.To().Params) != "":
		s.arrivedWithin(req)
	default:
		req.To().Params.Add("tag", tg.String())
		s.arrivedOutside(req, tg)
	}
}

// arrivedOutside takes a request outside any dialog.
func (s *Server) arrivedOutside(req *sipmsg.Request, tg tag) {
	switch req.Method {
	case sipmsg.INVITE:
		s.dialogs.arrive(tg, time.Now())
	case sipmsg.CANCEL:
		cause := ErrCancelled
		if elsewhere(req) {
			cause = ErrElsewhere
		}
		if d := s.dialogs.cancel(tg, cause, time.Now()); d != nil && d.cancelled(cause) {
			s.dialogs.refuse(tg)
		}
	default: // is served later
	}
}

// arrivedWithin takes a request of a dialog. ACK and BYE may be the last that
// the peer says before it closes its connection.
func (s *Server) arrivedWithin(req *sipmsg.Request) {
	in, ok := s.incoming(req, nil)
	switch {
	case !ok:
	case req.Method == sipmsg.ACK && checkReadable(req) == nil:
		s.ack(in)
	case req.Method == sipmsg.BYE && validate(req) == nil:
		s.hungUp(in)
	}
}

// tidy mends what sipgo's parser leaves as it came: white space and case in
// parameter names (RFC 4475 section 3.1.1.1), and a Via that does not tell
// where the request really came from (RFC 3261 section 18.2.1), or tells it
// although only this side may (RFC 3581 section 4). A CSeq that cannot be read
// gets another beside it, without which sipgo would not hand the request over.
func tidy(req *sipmsg.Request) {
	if from := req.From(); from != nil {
		tidyParams(from.Params)
	}
	if to := req.To(); to != nil {
		tidyParams(to.Params)
	}
	if cseq := req.CSeq(); cseq != nil {
		cseq.MethodName = sipmsg.RequestMethod(strings.TrimSpace(cseq.MethodName.String()))
	} else if req.Method != sipmsg.CANCEL && req.GetHeader("CSeq") != nil {
		req.AppendHeader(&sipmsg.CSeqHeader{MethodName: req.Method})
	}
	source, err := netip.ParseAddrPort(req.Source())
	via := req.Via()
	if err != nil || via == nil {
		return
	}
	via.Params.Remove("received")
	if via.Params.Has("rport") {
		via.Params.Add("rport", "") // sipgo fills it in and answers there
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
	in := &incoming{Request: req, tx: tx, began: time.Now(), source: source, trunk: s.trunkOf(req, source)}
	if in.network() == "udp" {
		first := s.trunks.find(source.Addr()) // whom the turnstile saw, see trunkOf
		in.weighed = first != nil && first.Digest == nil
	}
	if to := req.To(); to != nil {
		in.tag, _ = parseTag(tagParam(to.Params))
		minted, ok := tagOf(s.seed, req)
		in.fresh = ok && minted == in.tag
	}
	return in, in.trunk != nil
}

// refuseOnce refuses a request of which it is not known yet who sent it, or that
// belongs to nothing. The response is not resent, for the source may be forged
// (RFC 3261 section 26.3.2.4). Whoever has heard a 100 Trying sends no copy of its INVITE: where one may be
// out, the response is resent.
func (s *Server) refuseOnce(in *incoming, r *rejection) {
	if in.IsInvite() && time.Since(in.began) > trying/2 {
		in.reject(r)
		return
	}
	in.respondOnce(r.code, r.headers...)
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
	switch in.Method {
	case sipmsg.ACK:
		return
	case sipmsg.CANCEL:
		s.cancel(in)
		return
	default: // is checked first
	}
	serve := s.serverOf(in.Method)
	r := syntax.of(in.Request)
	switch {
	case r != nil:
	case serve == nil:
		r = s.notServed(in.Method)
	default:
		r = cmp.Or(semantics.of(in.Request), s.checkSession(in.Request))
	}
	if r != nil {
		if r.code == 400 || r.code == 505 {
			s.stats.malformed.Add(1)
		}
		if in.IsInvite() && in.fresh {
			s.dialogs.erase(in.tag, false)
		}
		s.refuseOnce(in, r)
		return
	}
	if !in.IsInvite() { // which is asked once it is known to be no copy
		if r := s.authenticate(in); r != nil {
			s.refuseOnce(in, r)
			return
		}
	}
	serve(s, in)
}

// unserved are the methods that are known and not served here: 405 and not 501
// (RFC 3261 sections 21.4.6 and 21.5.2).
var unserved = []sipmsg.RequestMethod{
	sipmsg.REGISTER, sipmsg.NOTIFY, sipmsg.MESSAGE, sipmsg.PUBLISH,
}

// notServed refuses a method.
func (s *Server) notServed(m sipmsg.RequestMethod) *rejection {
	if slices.Contains(unserved, m) {
		return &rejection{405, []sipmsg.Header{s.allow}}
	}
	return &rejection{501, []sipmsg.Header{s.allow}}
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
