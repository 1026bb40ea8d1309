package media

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pion/rtp"
)

// beep sends the beep to where the peer wants RTP, if it does. What goes wrong
// in sending is the peer's loss of a beep and nothing else.
func (l *Leg) beep(ctx context.Context) {
	a := l.agreed.Load()
	voice := a.formats[0]
	payloads := l.engine.beeps[voice.Name]
	if len(payloads) == 0 || !a.remote.IsValid() || !a.direction.sends() {
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
