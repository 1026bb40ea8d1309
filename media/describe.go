package media

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

const (
	ptime    = 20  // of what we send and like to get, milliseconds
	maxPtime = 120 // the longest packet taken, milliseconds (RFC 7587 §6.1)
)

// speaker writes our session descriptions: one session, whose version counts
// up with every change (RFC 3264 §8).
type speaker struct {
	addr     netip.Addr
	port     uint16
	bitrate  int // of the Opus asked for, bit/s
	identity *identity

	id      uint64
	version uint64
	said    string // the last description, without its o= line
}

func (e *Engine) newSpeaker(port uint16) *speaker {
	return &speaker{addr: e.told, port: port, bitrate: NoteBitrate(e.options.MaxDuration), identity: e.identity, id: rand.Uint64() >> 2} //nolint:gosec // names a session, guards nothing
}

// describe writes an offer or answer for streams, of which the chosen one is as
// agreed, in the direction given, and all others are refused.
func (s *speaker) describe(streams description, chosen int, a *agreement, d direction, offering bool) []byte {
	var b strings.Builder
	family := map[bool]string{true: "IP4", false: "IP6"}[s.addr.Is4()]
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }

	line("s=-")
	line("c=IN %s %s", family, s.addr)
	line("t=0 0")
	if a.ice.checked() {
		line("a=ice-lite")
	}
	for i, offered := range streams {
		if i != chosen { // RFC 3264 §6: port zero, the formats are ignored but one must stand there
			line("m=%s 0 %s %s", offered.media, offered.proto, offered.formats[0])
			continue
		}
		line("m=audio %d %s%s", s.port, offered.proto, payloadTypes(a.formats))
		if offered.mid != "" {
			line("a=mid:%s", offered.mid)
		}
		for _, f := range a.formats {
			s.format(line, f)
		}
		line("a=ptime:%d", ptime)
		line("a=maxptime:%d", maxPtime)
		if offered.control.mux { // RFC 5761 §5.1.1
			line("a=rtcp-mux")
		}
		a.protected.describe(s.identity, offering, line)
		a.ice.describe(netip.AddrPortFrom(s.addr, s.port), offered.control.mux, line)
		line("a=%s", d)
	}

	if b.String() != s.said {
		s.said = b.String()
		s.version++
	}
	return fmt.Appendf(nil, "v=0\r\no=afterbeep %d %d IN %s %s\r\n%s", s.id, s.version, family, s.addr, s.said)
}

// format writes the attributes of one format.
func (s *speaker) format(line func(string, ...any), f Format) {
	channels := ""
	if f.Channels > 1 {
		channels = fmt.Sprintf("/%d", f.Channels)
	}
	line("a=rtpmap:%d %s/%d%s", f.PayloadType, f.Name, f.ClockRate, channels)
	switch f.Name {
	case "opus": // RFC 7587 §6.1; kept as it comes, so its rate is the note's
		line("a=fmtp:%d maxaveragebitrate=%d;stereo=0;useinbandfec=1", f.PayloadType, s.bitrate)
	case telephoneEvent: // RFC 4733 §2.4.1: the digits and flash
		line("a=fmtp:%d 0-16", f.PayloadType)
	}
}

func payloadTypes(formats []Format) string {
	var b strings.Builder
	for _, f := range formats {
		fmt.Fprintf(&b, " %d", f.PayloadType)
	}
	return b.String()
}

// firstOffer is the layout of an offer of ours, and what it holds: no comfort
// noise, because every pause that is sent is a pause that need not be made up.
// Where encryption is required it offers keys, else it is plain: an offer cannot
// say "either" in a way that most understand.
func (e *Engine) firstOffer() (description, *agreement) {
	formats := slices.DeleteFunc(slices.Clone(e.formats), func(f Format) bool { return f.Name == comfortNoise })
	a := &agreement{formats: formats, direction: sendRecv}
	if e.options.SRTP == SRTPRequired {
		a.protected = offerCrypto()
		return description{{media: "audio", proto: "RTP/SAVP"}}, a
	}
	return description{{media: "audio", proto: "RTP/AVP"}}, a
}
