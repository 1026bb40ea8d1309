package sip

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// connected says whether a request to addr may take the connection the call
// came by: it still stands, and leads to the same host, by its address or by
// the name in its certificate (RFC 5923). A WebSocket peer is reached no other
// way (RFC 7118 section 5.1).
func (d *dialog) connected(addr string) bool {
	if n, _ := networkOf(d.from.network); n.websocket {
		return d.stands()
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if next, err := netip.ParseAddr(host); err == nil {
		return next == d.source.Addr() && d.stands()
	}
	known := d.server.secured.find(connID{d.from.network, d.source})
	return slices.ContainsFunc(known.names, func(name string) bool { return strings.EqualFold(name, host) }) && d.stands()
}

// leadsBack says whether, beside the way to addr, there is the one back through
// the connection the call came by: behind NAT a Contact leads nowhere.
func (d *dialog) leadsBack(addr string) bool {
	return d.from.network != "udp" && addr != d.source.String() && d.stands()
}

// stands says whether the connection the call came by does.
func (d *dialog) stands() bool {
	conn, err := d.server.stack.transport.GetConnection(d.from.network, d.source.String())
	if err != nil {
		return false
	}
	_, _ = conn.TryClose() // gives the reference back, no more
	return true
}
