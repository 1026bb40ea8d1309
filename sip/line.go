package sip

import (
	"net/netip"

	sipmsg "github.com/emiago/sipgo/sip"
)

// line is the way between this side and the peer of a dialog.
type line struct {
	server *Server
	peer   peer
	source netip.AddrPort
	local  netip.AddrPort // of conn
	conn   sipmsg.Connection
	from   endpoint // us, as the peer reaches us
}

// lineOf is the way that a request opens, which has a Contact (RFC 3261 section
// 12.1.1).
func (s *Server) lineOf(in *incoming) line {
	l := line{server: s, source: in.source, conn: in.tx.Connection()}
	l.local = addrPortOf(l.conn.LocalAddr())
	l.from = s.endpoint(in.network(), in.source.Addr(), l.local)
	to, from := in.To(), in.From()
	l.peer = peer{
		callID:  in.CallID().Value(),
		local:   &sipmsg.FromHeader{DisplayName: to.DisplayName, Address: to.Address, Params: to.Params},
		remote:  &sipmsg.ToHeader{DisplayName: from.DisplayName, Address: from.Address, Params: from.Params},
		target:  in.Contact().Address,
		routes:  recordRoutes(in.Request),
		network: l.from.network,
	}
	return l
}

// request builds a request of ours within the dialog. The caller counts the
// peer's seq up.
func (l *line) request(method sipmsg.RequestMethod, network string) *sipmsg.Request {
	from, local := l.from, l.local
	if network != from.network {
		if local = l.server.bound(network); local.IsValid() {
			from = l.server.endpoint(network, l.source.Addr(), local)
		}
		from.network = network // not heard here: the answer comes back on the connection that is made
	}
	req := l.peer.request(method, from)
	switch {
	case network == "udp" && local.IsValid():
		req.Laddr = laddr(local)
	case network == l.from.network && l.connected(req.Destination()):
		req.SetDestination(l.source.String())
	}
	return req
}

// connected says whether a request to addr may take the connection the peer
// came by: it still stands, and leads to the same host (RFC 5923).
func (l *line) connected(addr string) bool {
	next, err := netip.ParseAddrPort(addr)
	if err != nil || next.Addr() != l.source.Addr() {
		return false
	}
	conn, err := l.server.stack.transport.GetConnection(l.from.network, l.source.String())
	if err != nil {
		return false
	}
	_, _ = conn.TryClose() // gives the reference back, no more
	return true
}

// is says whether a request comes from this peer, within the dialog (RFC 3261
// section 12).
func (p *peer) is(in *incoming) bool {
	return p.callID == in.CallID().Value() && tagParam(p.remote.Params) == tagParam(in.From().Params)
}
