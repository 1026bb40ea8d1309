package sip

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

const (
	socketBuffer = 4 << 20 // bytes a burst may fill while the parser is busy; the kernel may grant less
	retryPause   = 10 * time.Millisecond
)

// drops counts what was turned away before the parser saw it, by cause. The
// zero value is ready; all fields may be read at any time.
type drops struct {
	strangers   strangers     // datagrams and connections from outside every trunk's from
	unready     unready       // connections whose TLS or WebSocket handshake failed
	late        atomic.Uint64 // INVITEs that had waited too long when they were read
	junk        atomic.Uint64 // keep-alives and datagrams that cannot be SIP
	connections atomic.Uint64 // connections over a cap
	idle        atomic.Uint64 // connections closed because nothing was said
	errors      atomic.Uint64 // errors of a socket that were survived
}

// strangers counts those who are dropped and leaves a trace of them in the
// log: an admin whose own PBX is one finds its address there. The zero value
// counts and logs nothing.
type strangers struct {
	tally
	log *slog.Logger // nil logs nothing
}

// add counts one. It costs no allocation but once in tellPause.
func (s *strangers) add(source netip.Addr) {
	if dropped, due := s.tally.add(time.Now()); due && s.log != nil {
		s.log.Warn("SIP from an address of no trunk is dropped", "source", shown(source), "dropped", dropped)
	}
}

// unready counts connections whose handshake failed, as strangers does.
type unready struct {
	tally
	log *slog.Logger // nil logs nothing
}

// add counts one, and says why.
func (u *unready) add(source netip.Addr, network string, why error) {
	if failed, due := u.tally.add(time.Now()); due && u.log != nil {
		u.log.Warn("a connection did not become ready for SIP", "source", shown(source), "transport", network, "error", why, "failed", failed)
	}
}

// shown is an address as the log names it.
func shown(source netip.Addr) string { return source.Unmap().WithZone("").String() }

// filterPacketConn is a UDP socket on which only trunks are heard. It stands
// in front of sipgo, which keeps every source it ever saw, parses everything
// and stops listening at the first error of the socket.
type filterPacketConn struct {
	net.PacketConn
	datagrams *datagrams
	trunks    trunkSet
	drops     *drops

	turnAway func(datagram []byte, from netip.AddrPort, t *Trunk) bool // answers what is not let in; nil lets everything in

	shiftLength int // what only tests set otherwise
}

// newFilterPacketConn wraps conn and widens its buffers.
func newFilterPacketConn(conn *net.UDPConn, trunks trunkSet, d *drops) *filterPacketConn {
	_ = conn.SetReadBuffer(socketBuffer) // the system's default works too, for smaller bursts
	_ = conn.SetWriteBuffer(socketBuffer)
	return &filterPacketConn{PacketConn: conn, datagrams: newDatagrams(conn), trunks: trunks, drops: d, shiftLength: shiftLength}
}

// ReadFrom returns the next datagram of a trunk. Dropping one costs no
// allocation. It fails only when the socket is closed or a deadline passed.
func (c *filterPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, came, err := c.datagrams.next(b)
		trunk := c.trunks.find(from.Addr())
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return 0, nil, err
		case err != nil: // such as an ICMP answer to what we sent: no reason to go deaf
			c.drops.errors.Add(1)
			time.Sleep(retryPause)
		case trunk == nil:
			c.drops.strangers.add(from.Addr())
		case junk(b[:n]):
			c.drops.junk.Add(1)
		case late(b[:n], came):
			c.drops.late.Add(1)
		case c.turnAway != nil && c.turnAway(b[:n], from, trunk):
		default:
			expose(b[:n])
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// shortestMessage is less than any request or response can have: a start line
// and the six headers of RFC 3261 section 8.1.1.
const shortestMessage = 64

// junk says whether a datagram cannot be SIP: a keep-alive (RFC 5626 section
// 3.5), STUN, or too short. A message begins with a visible character.
func junk(b []byte) bool {
	return len(b) < shortestMessage || b[0] <= ' ' || b[0] > '~'
}

// latest is how long an INVITE may have waited to be read, as it does while the
// gateway is frozen: less than the 5 s after which a proxy passes a silent
// gateway over, and the caller is elsewhere. Whoever still waits sends another
// copy (RFC 3261 section 17.1.1.2).
const latest = 8 * t1

// late says whether a datagram is an INVITE that starts a call and waited too
// long. What ends calls is never late.
func late(datagram []byte, came time.Time) bool {
	if !bytes.HasPrefix(datagram, []byte("INVITE ")) || time.Since(came) <= latest {
		return false
	}
	o, _ := readOutline(datagram)
	return rawTag(o.to) == nil
}
