package media

import "encoding/binary"

const (
	eventDigits    = "0123456789*#ABCD" // by event code (RFC 4733 §3.2)
	eventMaxDigits = 256
)

// events reads the telephone-events of a call (RFC 4733). One event comes as
// many packets with the timestamp of its start and a growing duration, the
// last of them three times.
type events struct {
	digits []byte

	begun     bool
	source    uint32
	code      byte
	timestamp uint32 // of the start
	duration  uint32 // so far, in timestamp units
	ended     bool
	position  int64 // ticks, of the start
}

// take reads a packet, adds the digit of a new event, and says where in the
// note the event ends as far as it is known. A damaged packet is not ok.
func (e *events) take(p *packet, t *timeline) (end int64, ok bool) {
	if len(p.payload) < 4 {
		return 0, false
	}
	code, ended := p.payload[0], p.payload[1]&0x80 != 0
	lasts := uint32(binary.BigEndian.Uint16(p.payload[2:])) // RFC 4733 §2.3
	if !e.begun || p.source != e.source || p.timestamp != e.timestamp {
		if !e.continues(p, code) && int(code) < len(eventDigits) && len(e.digits) < eventMaxDigits {
			e.digits = append(e.digits, eventDigits[code])
		}
		position, known := t.at(p)
		if !known {
			position = t.after(p)
		}
		*e = events{
			digits: e.digits, begun: true, source: p.source,
			code: code, timestamp: p.timestamp, position: position,
		}
	}
	e.duration, e.ended = max(e.duration, lasts), e.ended || ended
	end = e.position + int64(e.duration)*tickRate/int64(p.format.ClockRate)
	return min(end, t.latest(p.arrival)), true
}

// continues says whether p is the next segment of the event before, one too
// long for the duration field (RFC 4733 §2.5.1.3): it begins where the last
// segment ends, which had no end bit.
func (e *events) continues(p *packet, code byte) bool {
	return e.begun && !e.ended && !p.marker && p.source == e.source && code == e.code &&
		p.timestamp == e.timestamp+e.duration
}
