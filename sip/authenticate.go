package sip

import (
	"sync/atomic"
	"time"

	"github.com/icholy/digest"

	sipmsg "github.com/emiago/sipgo/sip"
)

// mostUnanswered is how many requests in a row may be asked for a password and
// not be sent again with one, before a line says so: every peer's first comes
// without.
const mostUnanswered = 5

// logins asks the peers of trunks with a digest for their password.
type logins struct {
	nonces     *nonces
	refused    tally         // passwords that were wrong
	unanswered atomic.Uint64 // requests in a row without a password
}

// proof is what a request shows of its sender.
type proof int

const (
	missing proof = iota // no credentials, as in any peer's first request
	wrong                // of somebody who does not know the password
	stale                // right, but for a nonce that is old, used or not ours
	proven
)

// authenticate says why a request is not served before its sender has proven
// who it is, or nil. Requests within a dialog are not asked: its tag is a
// secret between the two sides. A gateway that drains tells everybody so,
// that they need not log in to learn it.
func (s *Server) authenticate(in *incoming) *rejection {
	d := in.trunk.Digest
	if d == nil || !in.fresh || s.calls.isShut() {
		return nil
	}
	now := time.Now()
	found := s.logins.judge(d, in, now)
	if found != missing {
		s.logins.unanswered.Store(0)
	}
	switch found {
	case proven:
		return nil
	case wrong:
		s.passwordRefused(in, now)
	case missing:
		if s.logins.unanswered.Add(1) == mostUnanswered {
			s.log.Warn("a peer is asked for a password and gives none; does it know only MD5, or look at the first challenge alone? Then set digest.algorithms to [MD5]",
				"trunk", in.trunk.Name, "source", in.source.Addr().String())
		}
	case stale:
	}
	r := &rejection{code: 401}
	for _, c := range d.challenges(s.logins.nonces.mint(in.trunk.Name, now), found == stale) {
		r.headers = append(r.headers, sipmsg.NewHeader("WWW-Authenticate", c))
	}
	return r
}

// judge reads the credentials for the trunk's realm (RFC 3261 section 22.3).
func (a *logins) judge(d *Digest, in *incoming, now time.Time) proof {
	found := missing
	for h := range headersOf(in, "Authorization") {
		c, err := digest.ParseCredentials(h.Value())
		switch {
		case err != nil || c.Realm != d.realm() || !d.proves(c, in.Method.String()):
			found = max(found, wrong)
		case !a.nonces.spend(c.Nonce, c.Nc, in.trunk.Name, now):
			found = stale
		default:
			return proven
		}
	}
	return found
}

// passwordRefused counts it and leaves a trace, so that an admin whose PBX has
// another password than the trunk finds out.
func (s *Server) passwordRefused(in *incoming, now time.Time) {
	if refused, due := s.logins.refused.add(now); due {
		s.log.Warn("SIP login refused: its user, password or realm is not that of the trunk's digest",
			"trunk", in.trunk.Name, "source", in.source.Addr().String(), "refused", refused)
	}
}
