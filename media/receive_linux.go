package media

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 16 // packets; the longest doze of a caller who sends one each 10 ms has 12

	// turn is the grid on which receivers look, the same for all: one thread
	// wakes up for the packets of many calls.
	turn = 10 * time.Millisecond
	// longestDoze bounds how many packets wait in the kernel, which holds at
	// least 50 times as many, and how late a recording sees them. They arrived
	// when the kernel says that they did.
	longestDoze = 12 // turns
)

// receiver fetches what has come to a socket, a batch each time, and dozes in
// between: twice as long each time while a batch holds all there is, and not
// at all when it does not.
type receiver struct {
	socket  *socket
	batches batches
	timer   *time.Timer
	doze    int       // turns until the next look
	empty   time.Time // the last look that left nothing behind
}

// batch is what recvmmsg(2) fills.
type batch struct {
	headers [batchSize]unix.Mmsghdr
	vectors [batchSize]unix.Iovec
	sources [batchSize]sockaddr
	stamps  [batchSize]stamp
	buffers [batchSize][maxPacket]byte
}

// stamp is the control message that SO_TIMESTAMPNS adds to a packet.
type stamp struct {
	header unix.Cmsghdr
	time   unix.Timespec
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.headers {
		b.vectors[i].Base = &b.buffers[i][0]
		b.vectors[i].SetLen(maxPacket)
		h := &b.headers[i].Hdr
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.sources[i]))   //nolint:gosec // the kernel's interface
		h.Control = (*byte)(unsafe.Pointer(&b.stamps[i])) //nolint:gosec // likewise
	}
	return b
}

// newReceiver makes a receiver to which no packet arrived before began.
func newReceiver(s *socket, b batches, began time.Time) *receiver {
	return &receiver{socket: s, batches: b, timer: time.NewTimer(0), empty: began}
}

// receive dozes, not beyond until, nor after a wake, and then hands over the
// packets that came, perhaps none. The error is the socket's.
func (r *receiver) receive(until time.Time, keep func(datagram)) (n int, err error) {
	if r.doze > 0 {
		r.wait(until)
	}
	b := r.batches.take()
	defer r.batches.give(b)
	now := time.Now()
	n, err = r.socket.fetch(b)
	for i := range n {
		keep(datagram{b.buffers[i][:b.headers[i].Len], b.sources[i].addrPort(), r.arrival(&b.stamps[i], now)})
	}
	if n == batchSize {
		r.doze = 0
		return n, nil
	}
	r.doze = max(1, min(2*r.doze, longestDoze))
	if err == nil {
		r.empty = now
	}
	return n, err
}

// wait is over on a turn, at until or by a wake.
func (r *receiver) wait(until time.Time) {
	now := time.Now()
	doze := time.Duration(r.doze)*turn - time.Duration(now.UnixNano())%turn
	r.timer.Reset(min(doze, until.Sub(now)))
	select {
	case <-r.timer.C:
	case <-r.socket.woken:
	}
}

// fetch takes packets out of the kernel's queue.
func (s *socket) fetch(b *batch) (n int, err error) {
	for i := range b.headers {
		h := &b.headers[i].Hdr
		h.Namelen = uint32(unsafe.Sizeof(b.sources[i]))
		h.SetControllen(int(unsafe.Sizeof(b.stamps[i])))
		b.stamps[i].header.Type = 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
		uintptr(unsafe.Pointer(&b.headers[0])), batchSize, unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // the kernel's interface
	switch errno {
	case 0:
		return int(got), nil
	case unix.EAGAIN:
		return 0, nil
	default:
		return 0, failure(errno)
	}
}

// arrival converts the kernel's time. Only the difference to the same clock is
// taken from it; should that one have been set in between, the packet still
// came after the queue was empty and before now.
func (r *receiver) arrival(s *stamp, now time.Time) time.Time {
	if s.header.Level != unix.SOL_SOCKET || s.header.Type != unix.SCM_TIMESTAMPNS {
		return now
	}
	age := time.Duration(now.UnixNano() - s.time.Nano())
	return now.Add(-max(0, min(age, now.Sub(r.empty))))
}
