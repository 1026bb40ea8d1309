//go:build !linux

package media

import (
	"errors"
	"net"
	"os"
	"time"
)

const errorPause = time.Millisecond // after a socket error, so that one that stays costs little

// receiver reads a socket, a packet each time.
type receiver struct {
	socket  *socket
	batches batches
}

type batch [maxPacket]byte

func newBatch() *batch { return new(batch) }

func newReceiver(s *socket, b batches, _ time.Time) *receiver { return &receiver{s, b} }

// receive waits for a packet, until a time or a wake, and hands it over, if
// one came. The error is the socket's.
func (r *receiver) receive(until time.Time, keep func(datagram)) (n int, err error) {
	if err := r.socket.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if r.socket.woken.Swap(false) { // a wake from now on ends the read
		return 0, nil
	}
	b := r.batches.take()
	defer r.batches.give(b)
	size, source, err := r.socket.ReadFromUDPAddrPort(b[:])
	switch {
	case err == nil:
		keep(datagram{b[:size], source, time.Now()})
		return 1, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, nil
	case !errors.Is(err, net.ErrClosed):
		time.Sleep(errorPause)
	}
	return 0, err
}
