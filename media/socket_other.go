//go:build !linux

package media

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// socket is a UDP socket. Its methods may be called from any goroutine.
type socket struct {
	*net.UDPConn
	addr  netip.AddrPort
	woken atomic.Bool
}

func newSocket(conn *net.UDPConn) (*socket, error) {
	return &socket{UDPConn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}

// connect is for Linux alone; elsewhere the latch drops strangers by itself.
func (s *socket) connect(netip.AddrPort) error { return errors.ErrUnsupported }

// disconnect has nothing to undo.
func (s *socket) disconnect() error { return nil }

// wake has the receiver return at once, or, if it does not wait, not wait next.
func (s *socket) wake() {
	s.woken.Store(true)
	_ = s.SetReadDeadline(time.Unix(1, 0))
}
