package media

import (
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connect has the kernel drop what comes from anywhere but source. It refuses
// a socket bound to every address: the kernel would bind that one to the address
// it routes to source by, which need not be the one that source sends to.
func connect(c *net.UDPConn, source netip.AddrPort) error {
	if c.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
		return errors.ErrUnsupported
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(source.Port()), Addr: source.Addr().As16()}
	if source.Addr().Is4() {
		to = &unix.SockaddrInet4{Port: int(source.Port()), Addr: source.Addr().As4()}
	}
	return control(c, func(fd uintptr) error { return unix.Connect(int(fd), to) })
}

// disconnect undoes connect: connect(2) with AF_UNSPEC, see udp(7).
func disconnect(c *net.UDPConn) error {
	nowhere := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	return control(c, func(fd uintptr) error {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, fd,
			uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere)) //nolint:gosec // unix.Connect knows no AF_UNSPEC
		if errno != 0 {
			return errno
		}
		return nil
	})
}

func control(c *net.UDPConn, f func(fd uintptr) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(fd) }); err != nil {
		return err
	}
	return failed
}
