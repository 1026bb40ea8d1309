package sip

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	socketBuffer = 4 << 20 // bytes a burst may fill while the parser is busy; the kernel may grant less
	retryPause   = 10 * time.Millisecond

	maxConns       = 4096             // connections in all, about 34 kB each
	maxConnsSource = 2048             // of one address: some peers open one for each call
	firstRead      = 10 * time.Second // a new connection must say something
	idleRead       = 10 * time.Minute // longer than the pauses of a call
	writeTimeout   = 10 * time.Second // a peer that does not read
)

// drops counts what was turned away before the parser saw it, by cause. The
// zero value is ready; all fields may be read at any time.
type drops struct {
	strangers   strangers     // datagrams and connections from outside every trunk's from
	junk        atomic.Uint64 // keep-alives and datagrams that cannot be SIP
	connections atomic.Uint64 // connections over a cap
	idle        atomic.Uint64 // connections closed because nothing was said
	errors      atomic.Uint64 // errors of a socket that were survived
}

// strangersPause is how long strangers are only counted after a line about one.
const strangersPause = time.Minute

// strangers counts those who are dropped and leaves a trace of them in the
// log: an admin whose own PBX is one finds its address there. The zero value
// counts and logs nothing.
type strangers struct {
	log   *slog.Logger // nil logs nothing
	count atomic.Uint64
	said  atomic.Uint64 // count at the last line
	next  atomic.Int64  // when another may be written, in Unix nanoseconds
}

// add counts one. It costs no allocation but once in strangersPause.
func (s *strangers) add(source netip.Addr) {
	count := s.count.Add(1)
	now, next := time.Now(), s.next.Load()
	if s.log == nil || now.UnixNano() < next || !s.next.CompareAndSwap(next, now.Add(strangersPause).UnixNano()) {
		return
	}
	s.log.Warn("SIP from an address of no trunk is dropped", "source", source.Unmap().WithZone("").String(), "dropped", count-s.said.Swap(count))
}

// filterPacketConn is a UDP socket on which only trunks are heard. It stands
// in front of sipgo, which keeps every source it ever saw, parses everything
// and stops listening at the first error of the socket.
type filterPacketConn struct {
	net.PacketConn
	udp    *net.UDPConn
	trunks trunkSet
	drops  *drops

	turnAway func(datagram []byte, from netip.AddrPort, t *Trunk) bool // answers what is not let in; nil lets everything in
}

// newFilterPacketConn wraps conn and widens its buffers.
func newFilterPacketConn(conn *net.UDPConn, trunks trunkSet, d *drops) *filterPacketConn {
	_ = conn.SetReadBuffer(socketBuffer) // the system's default works too, for smaller bursts
	_ = conn.SetWriteBuffer(socketBuffer)
	return &filterPacketConn{PacketConn: conn, udp: conn, trunks: trunks, drops: d}
}

// ReadFrom returns the next datagram of a trunk. Dropping one costs no
// allocation. It fails only when the socket is closed or a deadline passed.
func (c *filterPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.udp.ReadFromUDPAddrPort(b)
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

// filterListener accepts connections from trunks alone, up to a number, and
// closes all others without a byte.
type filterListener struct {
	net.Listener
	trunks trunkSet
	drops  *drops
	limits connLimits

	mu       sync.Mutex
	bySource map[netip.Addr]int
	open     int
}

// connLimits is what a listener grants.
type connLimits struct {
	all, source int           // connections
	first, idle time.Duration // until the first read and between reads
}

// newFilterListener wraps l, a TCP listener.
func newFilterListener(l net.Listener, trunks trunkSet, d *drops) *filterListener {
	return &filterListener{
		Listener: l, trunks: trunks, drops: d, bySource: make(map[netip.Addr]int),
		limits: connLimits{all: maxConns, source: maxConnsSource, first: firstRead, idle: idleRead},
	}
}

// Accept returns the next connection of a trunk. It fails only when the
// listener is closed: sipgo would stop listening at any error, even when the
// process is short of descriptors for a moment.
func (l *filterListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			l.drops.errors.Add(1)
			time.Sleep(retryPause)
			continue
		}
		source := addrOf(conn.RemoteAddr())
		switch {
		case l.trunks.find(source) == nil:
			l.drops.strangers.add(source)
			reject(conn)
		case !l.admit(source):
			l.drops.connections.Add(1)
			reject(conn)
		default:
			c := &filterConn{Conn: conn, limits: l.limits, drops: l.drops}
			c.release = sync.OnceFunc(func() { l.leave(source) })
			return c, nil
		}
	}
}

// admit counts a connection in, unless a cap is reached.
func (l *filterListener) admit(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limits.all || l.bySource[source] >= l.limits.source {
		return false
	}
	l.open++
	l.bySource[source]++
	return true
}

// leave counts a connection out.
func (l *filterListener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.bySource[source]--; l.bySource[source] == 0 {
		delete(l.bySource, source)
	}
}

// reject resets a connection, which leaves no TIME_WAIT behind.
func reject(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed the slow way then
	}
	_ = conn.Close() // nothing was written, nothing is lost
}

// filterConn is a connection with a deadline for each read and write.
type filterConn struct {
	net.Conn
	limits  connLimits
	drops   *drops
	heard   bool   // something was read; only the reading goroutine touches it
	release func() // counts the connection out, once
}

// Read returns io.EOF when the peer kept silent for too long: a quiet peer is
// no error.
func (c *filterConn) Read(b []byte) (int, error) {
	wait := c.limits.first
	if c.heard {
		wait = c.limits.idle
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	c.heard = c.heard || n > 0
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.drops.idle.Add(1)
		return n, io.EOF
	}
	return n, err
}

// Write gives a peer that does not read writeTimeout to change its mind.
func (c *filterConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Close closes the connection and frees its place.
func (c *filterConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
