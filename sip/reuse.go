package sip

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// connected says whether a request to addr may take the connection the peer
// came by: it still stands, and leads to the same host, by its address or by
// the name in its certificate (RFC 5923). A WebSocket peer is reached no other
// way (RFC 7118 section 5.1).
func (l *line) connected(addr string) bool {
	if n, _ := networkOf(l.from.network); n.websocket {
		return l.stands()
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if next, err := netip.ParseAddr(host); err == nil {
		return next == l.source.Addr() && l.stands()
	}
	names := l.server.secured.find(connID{l.from.network, l.source})
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) }) && l.stands()
}

// leadsBack says whether, beside the way to addr, there is the one back through
// the connection the peer came by: behind NAT a Contact leads nowhere.
func (l *line) leadsBack(addr string) bool {
	return l.from.network != "udp" && addr != l.source.String() && l.stands()
}

// stands says whether the connection the peer came by does.
func (l *line) stands() bool {
	conn, err := l.server.stack.transport.GetConnection(l.from.network, l.source.String())
	if err != nil {
		return false
	}
	_, _ = conn.TryClose() // gives the reference back, no more
	return true
}
