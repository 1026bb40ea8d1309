package media

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// ErrNoPort says that every RTP port of the range is taken: 503 for the caller,
// a wider media.ports for the operator.
var ErrNoPort = errors.New("media: no free RTP port, widen media.ports")

const (
	// portRest keeps a port out of use after a call while others are free, so
	// that a late packet of that call does not reach the next one.
	portRest = 5 * time.Second
	// receiveBuffer holds what comes while a leg waits for its turn, bytes.
	receiveBuffer = 256 << 10
)

// PortStats counts the ports of the pool.
type PortStats struct {
	Used    int    // by calls
	Resting int    // given back, or found occupied, less than 5 s ago
	Free    int    // ready for a call
	Skipped uint64 // how often a port was found occupied by another program
}

// ports is the pool of even ports.
type ports struct {
	first, count int

	mu      sync.Mutex
	taken   []uint64  // a bit for each even port, used or resting
	resting []resting // in the order in which they become free again
	used    int
	skipped uint64
	latched []stream // by each even port's last call
}

type resting struct {
	index int
	until time.Time
}

func newPorts(r PortRange) *ports {
	n := r.pairs()
	p := &ports{first: r.even(), count: n, taken: make([]uint64, (n+63)/64), latched: make([]stream, n)}
	if odd := n % 64; odd != 0 {
		p.taken[len(p.taken)-1] = ^uint64(0) << odd // ports beyond the range are never free
	}
	return p
}

// open binds a socket to a port that nobody has, whichever comes first after a
// random one, and skips those that another program occupies.
func (p *ports) open(addr netip.Addr) (*socket, error) {
	for range p.count {
		i, ok := p.take()
		if !ok {
			return nil, ErrNoPort
		}
		s, err := listen(netip.AddrPortFrom(addr, p.port(i)), receiveBuffer)
		if err == nil {
			return s, nil
		}
		occupied := errors.Is(err, syscall.EADDRINUSE)
		p.release(i, occupied)
		if !occupied {
			return nil, err
		}
	}
	return nil, ErrNoPort
}

// listen opens a socket that holds so many bytes while nobody reads it.
func listen(at netip.AddrPort, buffer int) (*socket, error) {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(buffer) // the kernel gives what it may; a smaller buffer is no reason to refuse a call
	return newSocket(conn)
}

// free gives a port back after a call.
func (p *ports) free(port uint16) { p.release(p.index(port), false) }

func (p *ports) port(index int) uint16 { return uint16(p.first + 2*index) }
func (p *ports) index(port uint16) int { return (int(port) - p.first) / 2 }

// leave notes the stream that a call was latched to: some senders go on long
// after a call, and would be taken for the next caller.
func (p *ports) leave(port uint16, s stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latched[p.index(port)] = s
}

// before is the stream that the port's call before was latched to.
func (p *ports) before(port uint16) stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latched[p.index(port)]
}

// take reserves a free port, the first one from a random place on. Where none
// is free, the one that has rested longest: better than to refuse the call.
func (p *ports) take() (index int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(time.Now())
	words := len(p.taken)
	start := rand.IntN(p.count) //nolint:gosec // spreads ports, guards nothing
	for i := range words + 1 {  // the first word twice: from its random bit on, and from its beginning
		w := (start/64 + i) % words
		free := ^p.taken[w]
		if i == 0 {
			free &= ^uint64(0) << (start % 64)
		}
		if free != 0 {
			bit := bits.TrailingZeros64(free)
			p.taken[w] |= 1 << bit
			p.used++
			return w*64 + bit, true
		}
	}
	if len(p.resting) == 0 {
		return 0, false
	}
	index, p.resting = p.resting[0].index, p.resting[1:]
	p.used++
	return index, true
}

// release lets a port rest before it is free again.
func (p *ports) release(index int, occupied bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if occupied {
		p.skipped++
	}
	p.resting = append(p.resting, resting{index, time.Now().Add(portRest)})
}

// wake frees the ports that have rested long enough.
func (p *ports) wake(now time.Time) {
	n := 0
	for n < len(p.resting) && !p.resting[n].until.After(now) {
		i := p.resting[n].index
		p.taken[i/64] &^= 1 << (i % 64)
		n++
	}
	p.resting = p.resting[n:]
}

func (p *ports) stats() PortStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(time.Now())
	return PortStats{
		Used:    p.used,
		Resting: len(p.resting),
		Free:    p.count - p.used - len(p.resting),
		Skipped: p.skipped,
	}
}
