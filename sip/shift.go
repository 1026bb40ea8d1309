package sip

import (
	"net"
	"sync"
)

// shiftLength is how many datagrams one shift hears. sipgo holds the sources
// of two shifts, at 234 bytes each. Flooded, it was measured to look a source up
// 3,600 datagrams late.
const shiftLength = 50_000

// shift is a UDP socket as sipgo hears it for a time. By the source of a request
// sipgo finds the socket that answers, and it keeps all sources until that is
// closed: so a shift seems to close, and another goes on.
type shift struct {
	*filterPacketConn
	left int           // datagrams to hear
	full chan struct{} // closed when all are heard
	over chan struct{} // closed when the sources may be forgotten
}

func (c *filterPacketConn) newShift() *shift {
	return &shift{filterPacketConn: c, left: c.shiftLength, full: make(chan struct{}), over: make(chan struct{})}
}

// ReadFrom returns the next datagram of a trunk, or that the socket is closed
// once the shift is over.
func (s *shift) ReadFrom(b []byte) (int, net.Addr, error) {
	if s.left == 0 {
		close(s.full)
		<-s.over
		return 0, nil, net.ErrClosed
	}
	s.left--
	return s.filterPacketConn.ReadFrom(b)
}

// serve has hear read the socket in shifts, one at a time, until it is closed. A
// shift is over only when the next is full too: by then its last request has
// found the socket that answers, and none is answered from another port.
func (c *filterPacketConn) serve(hear func(net.PacketConn) error) error {
	var shifts sync.WaitGroup
	defer shifts.Wait()
	last := c.newShift() // of nobody
	for {
		now, ended := c.newShift(), make(chan error, 1)
		shifts.Go(func() { ended <- hear(now) })
		select {
		case <-now.full:
			close(last.over)
			last = now
		case err := <-ended:
			close(last.over)
			return err
		}
	}
}
