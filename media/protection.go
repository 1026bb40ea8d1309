package media

import (
	"errors"
	"fmt"
	"slices"
)

// SRTP says whether the caller's audio is to come encrypted (RFC 3711). An
// empty one is SRTPOptional.
type SRTP string

// What media.srtp can say.
const (
	SRTPOff      SRTP = "off"      // encrypted streams are refused
	SRTPOptional SRTP = "optional" // encrypted where it is offered
	SRTPRequired SRTP = "required" // plain streams are refused
)

// transport is what the name of a transport in an m= line stands for. Feedback
// (AVPF, RFC 4585) needs no word here: none is promised, none is owed.
type transport struct {
	secure bool // SAVP, RFC 3711
	dtls   bool // the keys come by DTLS alone, RFC 5764
}

// transportOf finds a transport that we answer.
func transportOf(name string) (t transport, ok bool) {
	t, ok = map[string]transport{
		"RTP/AVP":           {},
		"RTP/AVPF":          {},
		"RTP/SAVP":          {secure: true},
		"RTP/SAVPF":         {secure: true},
		"UDP/TLS/RTP/SAVP":  {secure: true, dtls: true},
		"UDP/TLS/RTP/SAVPF": {secure: true, dtls: true},
	}[name]
	return t, ok
}

// secretLines are the lines of a stream that settle its keys. What they hold is
// never in an error or a log.
type secretLines struct {
	cryptos      []string // a=crypto, RFC 4568
	fingerprints []string // a=fingerprint, RFC 8122
	setup        string   // a=setup, RFC 4145
}

// protection is how a stream is encrypted; nil is not at all. Either its keys
// were exchanged in the session descriptions, or DTLS will make them.
type protection struct {
	line         cryptoLine    // the one chosen, with our key
	theirs       *master       // the peer's key
	offered      []cryptoLine  // of an offer of ours, until it is answered
	certificates *fingerprints // of the peer; nil unless the keys come by DTLS
}

// protect settles how a stream is encrypted. Where a plain transport comes with
// keys they are taken (RFC 8643); where both kinds of keys do, those that need
// no handshake, so that the first word is not lost.
func (e *Engine) protect(m *mediaLine) (*protection, error) {
	t, ok := transportOf(m.proto)
	switch {
	case !ok:
		return nil, fmt.Errorf("transport %.20q is not supported; RTP/AVP, RTP/SAVP, UDP/TLS/RTP/SAVP and their kinds with feedback are", m.proto)
	case e.options.SRTP == SRTPOff && t.secure:
		return nil, fmt.Errorf("transport %s is encrypted, and media.srtp is off", m.proto)
	case e.options.SRTP == SRTPOff:
		return nil, nil
	}
	why := errors.New("it names no key")
	if len(m.secrets.cryptos) > 0 && !t.dtls {
		p, err := chooseCrypto(m.secrets.cryptos)
		if err == nil {
			return p, nil
		}
		why = err
	}
	if len(m.secrets.fingerprints) > 0 {
		p, err := chooseDTLS(&m.secrets)
		if err == nil {
			return p, nil
		}
		why = err
	}
	switch {
	case t.secure:
		return nil, fmt.Errorf("transport %s: %w", m.proto, why)
	case e.options.SRTP == SRTPRequired:
		return nil, fmt.Errorf("transport %s is not encrypted, and media.srtp is required", m.proto)
	}
	return nil, nil
}

// follow keeps of the protection before what still holds: our key, so that no
// counter begins anew under it, and the peer's, so that its rollover counter
// goes on.
func (p *protection) follow(before *protection) {
	if p == nil || before == nil {
		return
	}
	if ours := p.line.ours; ours != nil {
		for _, line := range append(slices.Clone(before.offered), before.line) {
			if line.ours != nil && line.ours.suite == ours.suite {
				p.line.ours = line.ours
			}
		}
	}
	if p.theirs.equal(before.theirs) {
		p.theirs = before.theirs
	}
	if p.certificates.equal(before.certificates) {
		p.certificates = before.certificates
	}
}

// same says whether nothing of it has changed, once p followed before.
func (p *protection) same(before *protection) bool {
	if p == nil || before == nil {
		return p == before
	}
	return p.line == before.line && p.theirs == before.theirs && p.certificates == before.certificates
}

// describe writes the lines that settle the keys; an offer leaves it to the
// peer who begins the handshake.
func (p *protection) describe(e *identity, offering bool, line func(string, ...any)) {
	switch {
	case p == nil:
	case p.certificates != nil:
		setup := "passive" // RFC 5763 §5: the peer begins
		if offering {
			setup = "actpass"
		}
		line("a=setup:%s", setup)
		line("a=fingerprint:%s", e.fingerprint)
	case p.offered != nil:
		for _, c := range p.offered {
			line("a=crypto:%s", c.text())
		}
	default:
		line("a=crypto:%s", p.line.text())
	}
}
