package media

import (
	"net/netip"
	"time"
)

// datagram is a packet from the network.
type datagram struct {
	packet  []byte // valid for as long as whom it is handed to keeps hold
	source  netip.AddrPort
	arrival time.Time
}

// batches lends out what packets are received into. Calls need one only for
// moments: a few serve them all, and stay in the processor's cache.
type batches chan *batch

func (b batches) take() *batch {
	select {
	case one := <-b:
		return one
	default:
		return newBatch()
	}
}

func (b batches) give(one *batch) {
	select {
	case b <- one:
	default:
	}
}
