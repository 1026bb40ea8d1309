//go:build !linux

package media

import (
	"errors"
	"net"
	"net/netip"
)

// connect is for Linux alone; elsewhere the latch drops strangers by itself.
func connect(*net.UDPConn, netip.AddrPort) error { return errors.ErrUnsupported }

// disconnect has nothing to undo.
func disconnect(*net.UDPConn) error { return nil }
