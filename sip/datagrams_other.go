//go:build !linux

package sip

import (
	"net"
	"net/netip"
	"time"
)

// datagrams are those of a socket, which one goroutine reads.
type datagrams struct{ conn *net.UDPConn }

func newDatagrams(conn *net.UDPConn) *datagrams { return &datagrams{conn} }

// next reads a datagram. How long it waited is not known here.
func (d *datagrams) next(b []byte) (n int, from netip.AddrPort, came time.Time, err error) {
	n, from, err = d.conn.ReadFromUDPAddrPort(b)
	return n, from, time.Now(), err
}
