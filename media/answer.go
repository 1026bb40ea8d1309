package media

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/afterbeep/afterbeep/media/codec"
)

// ErrNoCommonCodec says that no stream of an offer can be answered: 488 for the
// caller. What it wraps says why.
var ErrNoCommonCodec = errors.New("media: no audio stream of the offer can be answered")

// agreement is what offer and answer settled for the audio stream. It does not
// change once made; a new one takes its place.
type agreement struct {
	formats   []Format       // voice first, in the offerer's order, with the offerer's payload types
	earlier   []Format       // of the agreement before, still on their way (RFC 3264 §8.3.2)
	direction direction      // as we see it
	remote    netip.AddrPort // where the peer wants RTP; invalid where it wants none
	paused    bool           // on hold: nothing needs to come
	known     payloadSet     // of formats and earlier
	protected *protection    // nil for plain RTP
	ice       *ice           // nil for none
	control   netip.AddrPort // where the peer wants RTCP; invalid where it wants none
	mux       bool           // RTCP goes the way of RTP (RFC 5761), if at all
}

// payloadSet is a set of payload types, a bit each.
type payloadSet [2]uint64

func (s *payloadSet) add(pt uint8)      { s[pt/64] |= 1 << (pt % 64) }
func (s *payloadSet) has(pt uint8) bool { return s[pt/64]>>(pt%64)&1 != 0 }

// received is every format that a packet may have, as the tape names them.
func (a *agreement) received() []Format { return slices.Concat(a.formats, a.earlier) }

// inherit keeps of the agreement before what goes on: keys and credentials.
func (a *agreement) inherit(before *agreement) {
	a.protected.follow(before.protected)
	a.ice = a.ice.follow(before.ice)
}

// follow makes a the agreement after before: what is under way in the formats
// of before is still taken.
func (a *agreement) follow(before *agreement) {
	a.earlier = nil
	for _, f := range a.formats {
		a.known.add(f.PayloadType)
	}
	if before == nil {
		return
	}
	for _, f := range before.formats {
		if !a.known.has(f.PayloadType) {
			a.known.add(f.PayloadType)
			a.earlier = append(a.earlier, f)
		}
	}
}

// same says whether nothing that concerns the packets differs.
func (a *agreement) same(b *agreement) bool {
	return a.direction == b.direction && a.remote == b.remote && a.paused == b.paused && slices.Equal(a.formats, b.formats) &&
		a.protected.same(b.protected) && a.ice == b.ice && a.control == b.control
}

// rate is the clock rate of a format agreed on, Hz.
func (a *agreement) rate(pt uint8) int {
	for _, formats := range [...][]Format{a.formats, a.earlier} {
		for i := range formats {
			if formats[i].PayloadType == pt {
				return formats[i].ClockRate
			}
		}
	}
	return 0
}

// choose finds the first stream that can be answered (RFC 3264 §6: the others
// are refused); of an encrypted one and the same in the clear the former,
// wherever it stands.
func (e *Engine) choose(d description) (index int, a *agreement, err error) {
	var why error
	for i := range d {
		found, err := e.agree(&d[i])
		if err == nil && (a == nil || a.protected == nil && found.protected != nil) {
			index, a = i, found
		}
		if err != nil && (why == nil || d[i].media == "audio") {
			why = err
		}
	}
	if a != nil {
		return index, a, nil
	}
	if why == nil {
		why = errors.New("it holds no m= line")
	}
	return 0, nil, fmt.Errorf("%w: %w", ErrNoCommonCodec, why)
}

// agree settles a stream that the peer offered, or answered to our offer.
func (e *Engine) agree(m *mediaLine) (*agreement, error) {
	switch {
	case m.media != "audio":
		return nil, errors.New("no stream is audio")
	case m.port == 0:
		return nil, errors.New("the audio stream is switched off")
	}
	protected, err := e.protect(m)
	if err != nil {
		return nil, err
	}
	addr, err := parseConnection(m.connection)
	if err != nil {
		return nil, err
	}
	if addr.IsValid() && !addr.IsUnspecified() && addr.Is4() != e.told.Is4() {
		return nil, fmt.Errorf("its address is %s, ours %s: IPv4 and IPv6 do not meet", addr, e.told)
	}
	a := &agreement{
		formats: e.common(m), direction: m.direction.mirror(), protected: protected,
		ice: m.ice.agree(netip.AddrPortFrom(addr, m.port)), mux: m.control.mux && !m.control.silent,
	}
	if len(a.formats) == 0 || !a.formats[0].voice() {
		return nil, fmt.Errorf("it offers %.200q, taken are %s", m.names(), e.names())
	}
	switch {
	case a.ice.checked() && trickles(addr, m.port): // where to send will show
	case addr.IsUnspecified(): // RFC 3264 §8.4: the hold of RFC 2543, nothing may be sent to the peer
		a.paused = true
		a.direction = a.direction.silent()
	case addr.IsValid():
		a.remote = netip.AddrPortFrom(addr, m.port)
	}
	a.control = m.control.destination(a.remote)
	a.paused = a.paused || !a.direction.receives()
	return a, nil
}

const (
	telephoneEvent = "telephone-event" // RFC 4733
	comfortNoise   = "CN"              // RFC 3389, static payload type 13
)

// aids are the formats that carry no voice, taken beside a codec.
func aids() []Format {
	return []Format{
		{PayloadType: 101, Name: telephoneEvent, ClockRate: 8000, Channels: 1},
		{PayloadType: 102, Name: telephoneEvent, ClockRate: 48000, Channels: 1},
		{PayloadType: 13, Name: comfortNoise, ClockRate: 8000, Channels: 1},
	}
}

func (f Format) voice() bool { return f.Name != telephoneEvent && f.Name != comfortNoise }

// common is what a stream offers and we take, in its order and with its
// payload types (RFC 3264 §6.1); but voice comes first, because some peers send
// whatever an answer names first.
func (e *Engine) common(m *mediaLine) []Format {
	var voice, beside []Format
	var seen payloadSet
	encodings := m.encodings()
	for _, number := range m.formats {
		pt, ok := payloadType(number)
		if !ok || seen.has(pt) {
			continue
		}
		seen.add(pt)
		f, ok := e.static(pt)
		if enc, mapped := encodings[pt]; mapped {
			f, ok = e.named(enc)
		}
		f.PayloadType = pt
		switch {
		case ok && f.voice():
			voice = append(voice, f)
		case ok:
			beside = append(beside, f)
		}
	}
	return append(voice, beside...)
}

// static is the format of a payload type without an rtpmap (RFC 3551 §6).
func (e *Engine) static(pt uint8) (Format, bool) {
	for _, f := range e.formats {
		if f.PayloadType == pt && pt < firstDynamic {
			return f, true
		}
	}
	return Format{}, false
}

// named is the format that an rtpmap names. Channels may be left out, as some
// do for opus.
func (e *Engine) named(enc encoding) (Format, bool) {
	for _, f := range e.formats {
		if strings.EqualFold(f.Name, enc.name) && f.ClockRate == enc.clockRate &&
			(enc.channels == 0 || enc.channels == f.Channels) {
			return f, true
		}
	}
	return Format{}, false
}

// names lists the codecs of an offered stream, for an error message.
func (m *mediaLine) names() string {
	encodings := m.encodings()
	var names []string
	for _, number := range m.formats {
		pt, _ := payloadType(number)
		if enc, ok := encodings[pt]; ok {
			number = enc.name
		}
		names = append(names, number)
	}
	return strings.Join(names, " ")
}

// names lists our codecs, for an error message.
func (e *Engine) names() string {
	var names []string
	for _, f := range e.formats {
		if f.voice() {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, " ")
}

// ours lists the formats that can be agreed on, best first, with the payload
// types of our own offers.
func ours(codecs []codec.Codec) []Format {
	var formats []Format
	next := uint8(firstDynamic)
	for _, c := range codecs {
		f := Format{PayloadType: uint8(c.PayloadType), Name: c.Name, ClockRate: c.ClockRate, Channels: c.Channels}
		if c.PayloadType < 0 {
			f.PayloadType = next
			next++
		}
		formats = append(formats, f)
	}
	return append(formats, aids()...)
}

// firstDynamic is the first of the dynamic payload types (RFC 3551 §3).
const firstDynamic = 96
