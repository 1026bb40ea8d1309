package media

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pion/rtp"
)

const (
	addressLook = 50 * time.Millisecond
	addressWait = 32 * time.Second // 64*T1, by when the ACK has come or never will (RFC 3261 §13.3.1.4)
)

// addressed waits until the peer has said where it wants RTP, which after a
// late offer it does in the ACK; nil when it never does.
func (l *Leg) addressed(ctx context.Context) *agreement {
	switch a := l.agreed.Load(); {
	case a.remote.IsValid():
		return a
	case !l.ours:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, addressWait)
	defer cancel()
	look := time.NewTicker(addressLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			if a := l.agreed.Load(); a.remote.IsValid() {
				return a
			}
		}
	}
}

// beep sends the beep to where the peer wants RTP, if it does. What goes wrong
// in sending is the peer's loss of a beep and nothing else.
func (l *Leg) beep(ctx context.Context) {
	a := l.addressed(ctx)
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
		SSRC:           rand.Uint32(),         //nolint:gosec // likewise
	}}
	var packet []byte
	tick := time.NewTicker(ptime * time.Millisecond)
	defer tick.Stop()
	for _, p.Payload = range payloads {
		packet = slices.Grow(packet[:0], p.MarshalSize())[:p.MarshalSize()]
		if _, err := p.MarshalTo(packet); err != nil {
			return
		}
		_, _ = l.socket.WriteToUDPAddrPort(packet, a.remote)
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
