package media

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"time"
)

const (
	// latchPatience is how long after a re-offer the source before it is kept
	// but not latched again: its last packets are still on their way when the
	// new source has not begun.
	latchPatience = time.Second
	// latchTrust is how long a source that the peer did not name must have been
	// latched before the kernel drops all others, the one it named among them.
	latchTrust = 5 * time.Second
	// strangersCounted is how many packets of strangers a leg counts at least, a
	// second of a stream, before it has the kernel drop the rest uncounted.
	strangersCounted = 50
)

// stream is one sender's RTP as it comes to a port.
type stream struct {
	source netip.AddrPort
	ssrc   uint32 // of its last packet
}

// streamOf reads the SSRC of a packet (RFC 3550 §5.1), 0 where there is none.
func streamOf(packet []byte, source netip.AddrPort) stream {
	s := stream{source: source}
	if len(packet) >= rtpHeader {
		s.ssrc = binary.BigEndian.Uint32(packet[rtpHeader-4:])
	}
	return s
}

// latch decides which source is the caller (RFC 7362 §4): the first one that
// sends audio from an address that is allowed, and from then on no other until
// the peer offers again. The port is free, for peers behind NAT; but the very
// source that the peer named, address and port, takes over from any other. Where
// the audio comes encrypted the key decides, see prove.
type latch struct {
	stream                   // the caller's; its source is invalid until latched
	stale     stream         // of the call that had the port before, maybe going on
	before    netip.AddrPort // the source before the last re-offer
	armed     time.Time      // when the last re-offer came
	since     time.Time      // when the source was latched
	strangers int            // since then
	tried     bool           // to have the kernel drop strangers …
	connected bool           // … which it does
	told      bool           // of strangers
}

// allows says whether a packet of s may be the caller's. from holds the
// trunk's networks, remote the address in its session description.
func (l *latch) allows(s stream, remote netip.AddrPort, from []netip.Prefix) bool {
	switch {
	case s.source == remote:
		return true
	case s == l.stale:
		return false
	case l.source.IsValid():
		return s.source == l.source
	case s.source == l.before || s.source.Addr() == remote.Addr():
		return true
	}
	for _, p := range from {
		if p.Contains(s.source.Addr()) {
			return true
		}
	}
	return false
}

// take latches on to a stream that is allowed and carries audio. over says that
// all that came so far was another's: the source that the peer named took over,
// with a stream of its own. After a re-offer that cannot be said, for the caller
// may have sent from elsewhere before.
func (l *latch) take(s stream, remote netip.AddrPort, now time.Time) (over bool) {
	if s.source == l.source {
		l.ssrc = s.ssrc
		return false
	}
	if !l.source.IsValid() && s.source == l.before && s.source != remote && now.Sub(l.armed) < latchPatience {
		return false
	}
	over = l.source.IsValid() && s.ssrc != l.ssrc && l.armed.IsZero()
	if s == l.stale { // the peer named it: it is the caller's
		l.stale = stream{}
	}
	l.stream, l.since, l.strangers = s, now, 0
	return over
}

// prove latches on to the source of a packet that is proven to be the caller's
// by its key. Such a proof is better than any address: the caller is followed
// wherever its network moves it, and a stranger gets nowhere with the right
// address.
func (l *latch) prove(s stream, now time.Time) {
	if s.source != l.source {
		l.since, l.strangers = now, 0
	}
	l.stream = s
}

// stranger counts a packet of another source. A stranger who goes on costs
// little: the socket is connected to the caller, once it is sure who that is.
func (l *latch) stranger(k *socket, remote netip.AddrPort, now time.Time, log *slog.Logger) {
	l.strangers++
	sure := l.source.IsValid() && (l.source == remote || now.Sub(l.since) >= latchTrust)
	if l.tried || !sure || l.strangers < strangersCounted {
		return
	}
	l.tried, l.connected = true, k.connect(l.source) == nil
	if !l.told {
		l.told = true
		log.Warn("strangers send to an RTP port", "port", k.addr.Port(), "kernel_drops_them", l.connected)
	}
}

// release has the kernel let every source through again.
func (l *latch) release(s *socket) error {
	if l.connected {
		if err := s.disconnect(); err != nil {
			return err
		}
	}
	l.tried, l.connected, l.strangers = false, false, 0
	return nil
}

// rearm lets the next source in, after a re-offer.
func (l *latch) rearm(s *socket, now time.Time) error {
	if err := l.release(s); err != nil {
		return err
	}
	if l.source.IsValid() {
		l.before = l.source
	}
	l.stream, l.armed = stream{}, now
	return nil
}
