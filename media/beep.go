package media

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/rtp"
)

const (
	readyLook = 50 * time.Millisecond
	readyWait = 32 * time.Second // 64*T1, by when the ACK has come or never will (RFC 3261 §13.3.1.4)
)

// ready waits until there is somewhere to send to, and a key to send with: after
// a late offer the ACK says where, with ICE the checks do, and DTLS takes its
// time. It gives up where none of it can come.
func (l *Leg) ready(ctx context.Context) (a *agreement, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	look := time.NewTicker(readyLook)
	defer look.Stop()
	for {
		a := l.agreed.Load()
		ours, _ := l.keys(a)
		locked := a.protected != nil && ours == nil
		switch to := l.destination(a); {
		case to.IsValid() && !locked:
			return a, to
		case !to.IsValid() && !l.ours && !a.ice.checked():
			return nil, to
		}
		select {
		case <-ctx.Done():
			return nil, netip.AddrPort{}
		case <-look.C:
		}
	}
}

// destination is where the peer wants RTP: where ICE is in use, what it chose.
func (l *Leg) destination(a *agreement) netip.AddrPort {
	if !a.ice.checked() {
		return a.remote
	}
	if n := l.nominated.Load(); n != nil {
		return *n
	}
	return netip.AddrPort{}
}

// beep sends the beep to where the peer wants RTP, if it does. What goes wrong
// in sending is the peer's loss of a beep and nothing else.
func (l *Leg) beep(ctx context.Context) {
	a, to := l.ready(ctx)
	if a == nil {
		return
	}
	voice := a.formats[0]
	payloads := l.engine.beeps[voice.Name]
	if len(payloads) == 0 || !a.direction.sends() {
		return
	}
	p := rtp.Packet{Header: rtp.Header{
		Version:        2,
		Marker:         true, // the first packet of a talkspurt (RFC 3551 §4.1)
		PayloadType:    voice.PayloadType,
		SequenceNumber: uint16(rand.Uint32()), //nolint:gosec // RFC 3550 §5.1 wants these to differ, not to be secret
		Timestamp:      rand.Uint32(),         //nolint:gosec // likewise
		SSRC:           l.ssrc,
	}}
	said := spoken{rate: voice.ClockRate}
	var packet []byte
	tick := time.NewTicker(ptime * time.Millisecond)
	defer tick.Stop()
	for _, p.Payload = range payloads {
		packet = slices.Grow(packet[:0], p.MarshalSize())[:p.MarshalSize()]
		if _, err := p.MarshalTo(packet); err != nil {
			return
		}
		_, _ = l.Conn().WriteToUDPAddrPort(packet, to)
		said.packets++
		said.bytes += uint32(len(p.Payload))
		said.timestamp, said.at = p.Timestamp, time.Now()
		l.said.Store(new(said))
		p.Marker = false
		p.SequenceNumber++
		p.Timestamp += uint32(voice.ClockRate * ptime / 1000)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
