package media

import (
	"log/slog"
	"net/netip"
	"time"
)

const (
	// latchPatience is how long after a re-offer the source before it is kept
	// but not latched again: its last packets are still on their way when the
	// new source has not begun.
	latchPatience = time.Second
	// strangersCounted is how many packets of strangers a leg counts, a second
	// of a stream, before it has the kernel drop the rest uncounted.
	strangersCounted = 50
)

// latch decides which source is the caller (RFC 7362 §4): the first one that
// sends valid RTP from an address that is allowed, and from then on no other
// until the peer offers again. The port is free, for peers behind NAT.
type latch struct {
	source    netip.AddrPort // invalid until latched
	before    netip.AddrPort // the source before the last re-offer
	armed     time.Time      // when the last re-offer came
	strangers int            // since latched
	connected bool           // the kernel drops strangers
}

// allows says whether a packet from source may be the caller's. from holds the
// trunk's networks, remote the address in its session description.
func (l *latch) allows(source, remote netip.AddrPort, from []netip.Prefix) bool {
	if l.source.IsValid() {
		return source == l.source
	}
	if source == l.before || source.Addr() == remote.Addr() {
		return true
	}
	for _, p := range from {
		if p.Contains(source.Addr()) {
			return true
		}
	}
	return false
}

// take latches on to a source that sent a valid packet.
func (l *latch) take(source, remote netip.AddrPort, now time.Time) {
	if l.source.IsValid() || (source == l.before && source != remote && now.Sub(l.armed) < latchPatience) {
		return
	}
	l.source, l.strangers = source, 0
}

// stranger counts a packet of another source. A stranger who goes on costs no
// more than the first second: the socket is connected to the caller.
func (l *latch) stranger(s *socket, log *slog.Logger) {
	l.strangers++
	if l.connected || !l.source.IsValid() || l.strangers != strangersCounted {
		return
	}
	l.connected = s.connect(l.source) == nil
	log.Warn("strangers send to an RTP port", "port", s.addr.Port(), "kernel_drops_them", l.connected)
}

// rearm lets the next source in, after a re-offer.
func (l *latch) rearm(s *socket, now time.Time) error {
	if l.connected {
		if err := s.disconnect(); err != nil {
			return err
		}
		l.connected = false
	}
	if l.source.IsValid() {
		l.before = l.source
	}
	l.source, l.armed = netip.AddrPort{}, now
	return nil
}
