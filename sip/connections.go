package sip

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxConns       = 4096             // connections in all, about 34 kB each, 60 kB with TLS
	maxConnsSource = 2048             // of one address: some peers open one for each call
	firstRead      = 10 * time.Second // a new connection must say something
	idleRead       = 10 * time.Minute // longer than the pauses of a call
	writeTimeout   = 10 * time.Second // a peer that does not read

	// Of those whose certificate is still to say who they are: anybody may try.
	maxUnproven       = 256
	maxUnprovenSource = 16
	unprovenRate      = 50 // handshakes a second, which cost a millisecond each at most
)

// places counts the connections that stand, in all and of each source.
type places struct {
	all, source int           // how many there may be
	rate        *rate.Limiter // how many may come in a time; nil does not care

	mu       sync.Mutex
	bySource map[netip.Addr]int
	open     int
}

func newPlaces(all, source int) *places {
	return &places{all: all, source: source, bySource: make(map[netip.Addr]int)}
}

// newUnproven are the places of those whose certificate is awaited.
func newUnproven() *places {
	p := newPlaces(maxUnproven, maxUnprovenSource)
	p.rate = rate.NewLimiter(unprovenRate, maxUnproven)
	return p
}

// enter counts a connection in, unless a cap is reached.
func (p *places) enter(source netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= p.all || p.bySource[source] >= p.source || p.rate != nil && !p.rate.Allow() {
		return false
	}
	p.open++
	p.bySource[source]++
	return true
}

// leave counts a connection out.
func (p *places) leave(source netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if p.bySource[source]--; p.bySource[source] == 0 {
		delete(p.bySource, source)
	}
}

// count says how many stand.
func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// filterListener accepts connections from trunks alone, up to a number, and
// closes all others without a byte. Where a certificate may still say who the
// peer is, those who could be such a peer are let in too, to fewer places.
type filterListener struct {
	net.Listener
	trunks    trunkSet
	certified certified // of no trunk, on a listener without certificates
	drops     *drops
	proven    *places
	unproven  *places
	timing    connTiming
}

// newFilterListener wraps l, a TCP listener, with places of its own.
func newFilterListener(l net.Listener, trunks trunkSet, d *drops) *filterListener {
	return &filterListener{
		Listener: l, trunks: trunks, drops: d, proven: newPlaces(maxConns, maxConnsSource),
		timing: connTiming{first: firstRead, idle: idleRead, write: writeTimeout},
	}
}

// connTiming is how long a peer may keep silent, or not listen.
type connTiming struct {
	first, idle time.Duration // until the first read and between reads
	write       time.Duration // for one write
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
		source := addrPortOf(conn.RemoteAddr()).Addr()
		place := l.placeFor(source)
		switch {
		case place == nil:
			l.drops.strangers.add(source)
			reject(conn)
		case !place.enter(source):
			l.drops.connections.Add(1)
			reject(conn)
		default:
			return &filterConn{Conn: &queuedConn{Conn: conn, patience: l.timing.write}, source: source, timing: l.timing, drops: l.drops, place: place}, nil
		}
	}
}

// placeFor is where a connection from source is counted; nil for a stranger.
func (l *filterListener) placeFor(source netip.Addr) *places {
	switch {
	case l.trunks.find(source) != nil:
		return l.proven
	case l.certified.expects(source):
		return l.unproven
	}
	return nil
}

// reject resets a connection, which leaves no TIME_WAIT behind.
func reject(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed the slow way then
	}
	_ = conn.Close() // nothing was written, nothing is lost
}

// filterConn is a connection with a deadline for each read.
type filterConn struct {
	net.Conn
	source netip.Addr
	timing connTiming
	drops  *drops
	heard  bool // something was read; only the reading goroutine touches it

	mu     sync.Mutex
	place  *places // where it is counted; nil once it is closed
	closed func()  // tells those who know it; nil when nobody does
}

// Read returns io.EOF when the peer kept silent for too long: a quiet peer is
// no error.
func (c *filterConn) Read(b []byte) (int, error) {
	wait := c.timing.first
	if c.heard {
		wait = c.timing.idle
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

// prove moves the connection to the places of those whose peer is known;
// closed is called once when it closes. False when it is closed already, or no
// place is free.
func (c *filterConn) prove(proven *places, closed func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.place == nil || c.place != proven && !proven.enter(c.source) {
		return false
	}
	if c.place != proven {
		c.place.leave(c.source)
	}
	c.place, c.closed = proven, closed
	return true
}

// Close closes the connection and frees its place.
func (c *filterConn) Close() error {
	c.mu.Lock()
	place, closed := c.place, c.closed
	c.place, c.closed = nil, nil
	c.mu.Unlock()
	if place != nil {
		place.leave(c.source)
	}
	if closed != nil {
		closed()
	}
	return c.Conn.Close()
}
