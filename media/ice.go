package media

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/stun/v3"
)

// iceLines are the lines of a stream that concern ICE (RFC 8839).
type iceLines struct {
	ufrag, pwd string
	candidates []string
	lite       bool
}

// ice is what offer and answer settled for ICE: the credentials of the checks
// that come. We are a lite agent (RFC 8445 §2.5), who has one address that
// everybody reaches, answers checks and makes none.
type ice struct {
	ufrag, pwd         string // ours
	peerUfrag, peerPwd string
	mismatch           bool // told, and no ICE then (RFC 8839 §4.2.5)
	before             *ice // the credentials before a restart, which hold until the peer has seen the new ones
}

// agree settles ICE for a stream; nil where the peer offers none, or is a lite
// agent as well: then nobody makes checks, and the addresses given are used.
func (i *iceLines) agree(remote netip.AddrPort) *ice {
	switch {
	case i.lite || len(i.ufrag) < 4 || len(i.pwd) < 22: // RFC 8839 §5.4
		return nil
	case !i.names(remote):
		return &ice{mismatch: true}
	}
	return &ice{ufrag: rand.Text()[:8], pwd: rand.Text(), peerUfrag: i.ufrag, peerPwd: i.pwd}
}

// trickles says whether the address in the description only stands for
// candidates that come later (RFC 8840 §4.1.1).
func trickles(addr netip.Addr, port uint16) bool { return addr.IsUnspecified() && port == 9 }

// names says whether the default destination is among the candidates. Where it
// is not, something between us has put another address there, and would have
// ICE lead around it.
func (i *iceLines) names(remote netip.AddrPort) bool {
	if !remote.IsValid() || remote.Addr().IsUnspecified() { // a host name, a hold, or candidates that come later
		return true
	}
	return slices.ContainsFunc(i.candidates, func(c string) bool {
		f := strings.Fields(c) // foundation, component, transport, priority, address, port (RFC 8839 §5.1)
		if len(f) < 6 || f[1] != "1" {
			return false
		}
		addr, err := netip.ParseAddr(f[4])
		return err == nil && addr == remote.Addr() && f[5] == strconv.Itoa(int(remote.Port()))
	})
}

// follow keeps our credentials for as long as the peer keeps its own: new ones
// are an ICE restart (RFC 8445 §9).
func (i *ice) follow(before *ice) *ice {
	if i != nil && before != nil && i.mismatch == before.mismatch && i.peerUfrag == before.peerUfrag && i.peerPwd == before.peerPwd {
		return before
	}
	if i.checked() && before.checked() {
		former := *before
		former.before = nil
		i.before = &former
	}
	return i
}

// checked says whether checks are to come.
func (i *ice) checked() bool { return i != nil && !i.mismatch }

// describe writes the lines of ICE for a stream. A peer that wants RTCP apart
// has a candidate for that as well (RFC 8445 §5.1.1): the same, where the two
// are told apart as with rtcp-mux.
func (i *ice) describe(at netip.AddrPort, mux bool, line func(string, ...any)) {
	switch {
	case i == nil:
	case i.mismatch:
		line("a=ice-mismatch")
	default:
		line("a=ice-ufrag:%s", i.ufrag)
		line("a=ice-pwd:%s", i.pwd)
		line("a=candidate:1 1 UDP 2130706431 %s %d typ host", at.Addr(), at.Port())
		if !mux {
			line("a=candidate:1 2 UDP 2130706430 %s %d typ host", at.Addr(), at.Port())
			line("a=rtcp:%d", at.Port())
		}
	}
}

// checks answers the connectivity checks that come to a leg (RFC 8445 §7.3). It
// belongs to Record.
type checks struct {
	message stun.Message
	valid   [8]netip.AddrPort // sources that have shown the password, the latest first
	control netip.AddrPort    // where the peer has RTCP, apart from RTP
}

// isSTUN tells a STUN message from RTP and DTLS (RFC 7983 §7).
func isSTUN(packet []byte) bool { return len(packet) > 0 && packet[0] < 4 && stun.IsMessage(packet) }

// passed says whether a source has shown the password.
func (c *checks) passed(source netip.AddrPort) bool { return slices.Contains(c.valid[:], source) }

// answer is the reply to a check, nil for what is none or does not show the
// password: strangers get no answer here either. nominated says that the peer
// chose this path for its audio.
func (c *checks) answer(packet []byte, source netip.AddrPort, i *ice) (reply []byte, nominated bool) {
	m := &c.message
	m.Raw = append(m.Raw[:0], packet...)
	if m.Decode() != nil || m.Type != stun.BindingRequest || m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil {
		return nil, false
	}
	signed(m)
	if !i.shown(m) {
		if i = i.before; !i.shown(m) {
			return nil, false
		}
	}
	sign := []stun.Setter{stun.NewTransactionIDSetter(m.TransactionID)}
	integrity := stun.NewShortTermIntegrity(i.pwd)
	switch unknown := unknownAttributes(m); {
	case len(unknown) > 0: // RFC 8489 §6.3.1
		sign = append(sign, stun.BindingError, stun.CodeUnknownAttribute, unknown)
	case m.Contains(stun.AttrICEControlled): // RFC 8445 §7.3.1.1: a lite agent does not control
		sign = append(sign, stun.BindingError, stun.CodeRoleConflict)
	default:
		if forControl(m) {
			c.control = source
		} else {
			c.pass(source)
			nominated = m.Contains(stun.AttrUseCandidate)
		}
		sign = append(sign, stun.BindingSuccess, &stun.XORMappedAddress{IP: source.Addr().AsSlice(), Port: int(source.Port())})
	}
	built, err := stun.Build(append(sign, integrity, stun.Fingerprint)...)
	if err != nil {
		return nil, false
	}
	return built.Raw, nominated
}

// forControl says whether a check is of the path for RTCP, component 2, which
// the last byte of its priority tells (RFC 8445 §5.1.2.1).
func forControl(m *stun.Message) bool {
	priority, err := m.Get(stun.AttrPriority)
	return err == nil && len(priority) == 4 && priority[3] == 256-2
}

// pass remembers a source.
func (c *checks) pass(source netip.AddrPort) {
	i := slices.Index(c.valid[:], source)
	if i < 0 {
		i = len(c.valid) - 1
	}
	copy(c.valid[1:i+1], c.valid[:i])
	c.valid[0] = source
}

// shown says whether a request names both sides and shows our password (RFC
// 8445 §7.3, RFC 8489 §9.1.3).
func (i *ice) shown(m *stun.Message) bool {
	if !i.checked() {
		return false
	}
	name, err := m.Get(stun.AttrUsername)
	return err == nil && string(name) == i.ufrag+":"+i.peerUfrag && stun.NewShortTermIntegrity(i.pwd).Check(m) == nil
}

// signed drops the attributes that nothing vouches for: those after the
// MESSAGE-INTEGRITY (RFC 8489 §14.5).
func signed(m *stun.Message) {
	i := slices.IndexFunc(m.Attributes, func(a stun.RawAttribute) bool { return a.Type == stun.AttrMessageIntegrity })
	m.Attributes = m.Attributes[:i+1]
}

// unknownAttributes lists those of a request that must be understood and are
// not (RFC 8489 §14).
func unknownAttributes(m *stun.Message) stun.UnknownAttributes {
	var unknown stun.UnknownAttributes
	for _, a := range m.Attributes {
		switch a.Type {
		case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrPriority, stun.AttrUseCandidate:
		default:
			if a.Type.Required() {
				unknown = append(unknown, a.Type)
			}
		}
	}
	return unknown
}
