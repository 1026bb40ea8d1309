package sip

import (
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams are those of a socket, which one goroutine reads.
type datagrams struct {
	conn    *net.UDPConn
	stamp   stamp
	control []byte // stamp, as the kernel writes it
}

// stamp is the control message that SO_TIMESTAMPNS adds to a datagram.
type stamp struct {
	header unix.Cmsghdr
	time   unix.Timespec
}

func newDatagrams(conn *net.UDPConn) *datagrams {
	d := &datagrams{conn: conn}
	d.control = unsafe.Slice((*byte)(unsafe.Pointer(&d.stamp)), unsafe.Sizeof(d.stamp)) //nolint:gosec // the kernel's interface
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // without it nothing is known to have waited
		})
	}
	return d
}

// next reads a datagram, and when it came to this machine. It allocates nothing.
func (d *datagrams) next(b []byte) (n int, from netip.AddrPort, came time.Time, err error) {
	d.stamp.header.Type = 0
	n, _, _, from, err = d.conn.ReadMsgUDPAddrPort(b, d.control)
	if d.stamp.header.Level != unix.SOL_SOCKET || d.stamp.header.Type != unix.SCM_TIMESTAMPNS {
		return n, from, time.Now(), err
	}
	return n, from, time.Unix(d.stamp.time.Unix()), err
}
