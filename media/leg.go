package media

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Leg is the media side of one call: its RTP socket and what offer and answer
// agreed on. Its methods may be called from any goroutine; Record runs once at
// a time.
type Leg struct {
	engine *Engine
	socket *socket
	port   uint16
	from   []netip.Prefix

	mu         sync.Mutex // over the negotiation
	speaker    *speaker
	streams    description // of the last offer, theirs or ours
	chosen     int         // the one of streams that is recorded
	first      []byte      // our first description
	negotiated bool        // another one came after the first
	ours       bool        // the INVITE held no offer: the first is ours

	agreed    atomic.Pointer[agreement]
	secured   atomic.Pointer[secured]        // the latest DTLS handshake
	nominated atomic.Pointer[netip.AddrPort] // the path that the peer chose by ICE
	said      atomic.Pointer[spoken]
	ssrc      uint32 // of what we send
	sealer    sealer
	counts    counts
	closed    sync.Once

	// The rest belongs to Record.
	latch        latch
	opener       opener
	checks       checks
	associations associations
}

// Open takes an RTP port and answers an SDP offer (RFC 3264). Packets are
// taken from the address in the offer and from the networks in from, the
// trunk's. A nil offer makes a leg that offers by itself: Description is then
// the offer, and Answered completes it.
//
// Errors: ErrBadOffer (400), ErrNoCommonCodec (488), ErrNoPort (503).
func (e *Engine) Open(offer []byte, from []netip.Prefix) (*Leg, error) {
	streams, agreed := e.firstOffer()
	chosen := 0
	if offer != nil {
		var err error
		if streams, err = parseDescription(offer); err != nil {
			return nil, err
		}
		if chosen, agreed, err = e.choose(streams); err != nil {
			return nil, err
		}
	}
	s, err := e.ports.open(e.options.Address)
	if err != nil {
		return nil, fmt.Errorf("media: open an RTP port: %w", err)
	}
	l := &Leg{engine: e, ours: offer == nil, socket: s, port: s.addr.Port(), from: from, streams: streams, chosen: chosen}
	l.latch.stale = e.ports.before(l.port)
	l.associations.leg = l
	l.ssrc = rand.Uint32() //nolint:gosec // RFC 3550 §5.1 wants it to differ, not to be secret
	l.speaker = e.newSpeaker(l.port)
	l.first = l.speaker.describe(streams, chosen, agreed, agreed.direction, l.ours)
	agreed.follow(nil)
	l.agreed.Store(agreed)
	return l, nil
}

// Negotiate answers a new offer (re-INVITE, UPDATE). After an error, which
// means 488, all is as it was.
func (l *Leg) Negotiate(offer []byte) (answer []byte, err error) {
	streams, err := parseDescription(offer)
	if err != nil {
		return nil, err
	}
	chosen, a, err := l.engine.choose(streams)
	if err != nil {
		return nil, err
	}
	if a.direction != sendRecv { // a phone that holds the call says sendonly and then sends nothing
		a.paused = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams, l.chosen, l.negotiated = streams, chosen, true
	l.settle(a)
	return l.speaker.describe(streams, chosen, a, a.direction, false), nil
}

// Description is our side: the answer to the offer that Open got, or our own
// offer. Once renegotiated it is an offer for what was agreed, with a hold of
// the peer lifted, so that its answer may end the hold (RFC 6337 §5.3).
func (l *Leg) Description() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.negotiated {
		return slices.Clone(l.first)
	}
	return l.speaker.describe(l.streams, l.chosen, l.agreed.Load(), sendRecv, true)
}

// Answered takes the peer's answer to our own offer. After an error all is as
// it was.
func (l *Leg) Answered(answer []byte) error {
	streams, err := parseDescription(answer)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(streams) != len(l.streams) { // RFC 3264 §6
		return fmt.Errorf("%w: it answers %d streams, offered were %d", ErrBadOffer, len(streams), len(l.streams))
	}
	a, err := l.engine.agree(&streams[l.chosen])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCommonCodec, err)
	}
	l.negotiated = true
	l.settle(a)
	return nil
}

// settle puts a new agreement in force. The goroutine in Record sees it before
// the next packet.
func (l *Leg) settle(a *agreement) {
	before := l.agreed.Load()
	a.inherit(before)
	if a.same(before) { // stored anew all the same, which opens the latch: its NAT may have given the peer another port
		again := *before
		a = &again
	} else {
		a.follow(before)
	}
	l.agreed.Store(a)
	l.socket.wake()
}

// Formats lists what was agreed on, in the offerer's order.
func (l *Leg) Formats() []Format { return slices.Clone(l.agreed.Load().formats) }

// Remote is where the peer wants RTP. It is invalid before the answer, on hold
// and where the peer named a host.
func (l *Leg) Remote() netip.AddrPort { return l.agreed.Load().remote }

// Conn is the RTP socket, for sending; it belongs to the leg. It encrypts what
// was agreed to be. Once the leg is closed, its error is net.ErrClosed.
func (l *Leg) Conn() PacketWriter { return conn{l} }

// conn sends RTP and RTCP of a leg.
type conn struct{ *Leg }

// WriteToUDPAddrPort sends a packet, encrypted where that was agreed on.
func (c conn) WriteToUDPAddrPort(packet []byte, to netip.AddrPort) (int, error) {
	return c.send(c.socket, packet, to)
}

// send sends a packet out of a socket, encrypted where that was agreed on.
func (l *Leg) send(s *socket, packet []byte, to netip.AddrPort) (int, error) {
	a := l.agreed.Load()
	if a.protected == nil {
		return s.WriteToUDPAddrPort(packet, to)
	}
	ours, _ := l.keys(a)
	return l.sealer.send(s, ours, packet, to)
}

// keys are those of an agreement; nil where it has none, or DTLS has not made
// them yet.
func (l *Leg) keys(a *agreement) (ours, theirs *master) {
	p := a.protected
	switch {
	case p == nil:
		return nil, nil
	case p.certificates == nil:
		return p.line.ours, p.theirs
	}
	if s := l.secured.Load(); s != nil && s.peer == p.certificates {
		return s.ours, s.theirs
	}
	return nil, nil
}

func (l *Leg) encryption() string {
	if _, theirs := l.keys(l.agreed.Load()); theirs != nil {
		return theirs.suite.name
	}
	return ""
}

// Close gives the RTP port back and ends Record. It may be called again.
func (l *Leg) Close() error {
	var err error
	l.closed.Do(func() {
		err = l.socket.Close()
		l.engine.ports.free(l.port)
	})
	return err
}

// Stats counts what came to a leg.
type Stats struct {
	Packets uint64    // of the agreed formats, put on the tape
	Bytes   uint64    // of these, from the RTP header on
	Foreign uint64    // from a source that is not the caller's
	Invalid uint64    // from the caller, but no RTP of an agreed format, or empty before the first audio
	Excess  uint64    // from the caller, beyond what audio can be
	Control uint64    // RTCP, on whichever port
	First   time.Time // arrival of the first packet, zero when none came
	Last    time.Time // arrival of the last packet

	Encryption string // how the audio comes encrypted, like AES_CM_128_HMAC_SHA1_80; "" for plain, or before there is a key
}

// counts is Stats as it is counted.
type counts struct {
	packets, bytes, foreign, invalid, excess, control atomic.Uint64
	first, last                                       atomic.Int64 // Unix nanoseconds
}

// Stats says what came so far.
func (l *Leg) Stats() Stats {
	c := &l.counts
	return Stats{
		Packets: c.packets.Load(),
		Bytes:   c.bytes.Load(),
		Foreign: c.foreign.Load(),
		Invalid: c.invalid.Load(),
		Excess:  c.excess.Load(),
		Control: c.control.Load(),
		First:   unixNano(c.first.Load()),
		Last:    unixNano(c.last.Load()),

		Encryption: l.encryption(),
	}
}

func unixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
