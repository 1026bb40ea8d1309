package media

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a UDP socket that Go's network poller does not know: a packet that
// arrives wakes no thread, it waits in the kernel until the receiver comes for
// it. Its methods may be called from any goroutine.
type socket struct {
	addr  netip.AddrPort
	woken chan struct{} // holds one wake

	mu sync.RWMutex // held for reading while fd is in use: once closed, the number may be another file's
	fd int          // -1 when closed, at which the kernel says EBADF
}

// newSocket takes over what net has bound: conn is closed, which takes it out
// of the poller, while a duplicate of its descriptor keeps it open.
func newSocket(conn *net.UDPConn) (*socket, error) {
	defer conn.Close() //nolint:errcheck // the duplicate is all that is needed
	s := &socket{addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), woken: make(chan struct{}, 1)}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { s.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(s.fd, false)                                     // sending waits for room, as on any connection of Go
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // a kernel without it: packets arrive when fetched
	return s, nil
}

// WriteToUDPAddrPort sends a packet. It allocates nothing, as unix.Sendto does.
func (s *socket) WriteToUDPAddrPort(packet []byte, to netip.AddrPort) (int, error) {
	name, size := newSockaddr(to)
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)), 0, //nolint:gosec // see above
		uintptr(unsafe.Pointer(&name)), size) //nolint:gosec // see above
	if errno != 0 {
		return 0, failure(errno)
	}
	return int(n), nil
}

// connect has the kernel drop what comes from anywhere but source. It refuses
// a socket bound to every address: the kernel would bind that one to the address
// it routes to source by, which need not be the one that source sends to.
func (s *socket) connect(source netip.AddrPort) error {
	if s.addr.Addr().IsUnspecified() {
		return errors.ErrUnsupported
	}
	return s.connectTo(newSockaddr(source))
}

// disconnect undoes connect: connect(2) with AF_UNSPEC, see udp(7).
func (s *socket) disconnect() error {
	return s.connectTo(sockaddr{family: unix.AF_UNSPEC}, unsafe.Sizeof(sockaddr{}))
}

func (s *socket) connectTo(name sockaddr, size uintptr) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&name)), size) //nolint:gosec // unix.Connect knows no AF_UNSPEC
	return failure(errno)
}

// wake has the receiver look at once, or, if it does not wait, not wait next.
func (s *socket) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Close ends the receiver as well.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	err := unix.Close(s.fd)
	s.fd = -1
	s.wake()
	return err
}

// failure is the error that net has for the kernel's.
func failure(errno unix.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.EBADF:
		return net.ErrClosed
	default:
		return errno
	}
}

// sockaddr is the kernel's sockaddr_in6, or sockaddr_in, which is shorter.
type sockaddr struct {
	family uint16
	port   [2]byte
	addr4  [4]byte // sockaddr_in6: the flow, of which there is none
	addr6  [16]byte
	scope  uint32 // left to the address that the socket is bound to
}

func newSockaddr(a netip.AddrPort) (name sockaddr, size uintptr) {
	binary.BigEndian.PutUint16(name.port[:], a.Port())
	if a.Addr().Is4() {
		name.family, name.addr4 = unix.AF_INET, a.Addr().As4()
		return name, unix.SizeofSockaddrInet4
	}
	name.family, name.addr6 = unix.AF_INET6, a.Addr().As16()
	return name, unix.SizeofSockaddrInet6
}

func (n *sockaddr) addrPort() netip.AddrPort {
	addr := netip.AddrFrom16(n.addr6)
	if n.family == unix.AF_INET {
		addr = netip.AddrFrom4(n.addr4)
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(n.port[:]))
}
