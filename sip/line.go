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
	l.from.sips = in.Recipient.Scheme == "sips"
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

// ways are the next request within the dialog, in the order in which to try.
// One that does not fit into 1300 bytes goes by TCP first (RFC 3261 section
// 18.1.1). complete adds what the method needs.
func (l *line) ways(method sipmsg.RequestMethod, complete func(*sipmsg.Request)) []*sipmsg.Request {
	build := func(network string) *sipmsg.Request {
		req := l.request(method, network)
		complete(req)
		return req
	}
	l.peer.seq++
	network, _ := l.peer.hop()
	req := build(network)
	ways := []*sipmsg.Request{req}
	if network == "udp" && len(req.String()) > maxDatagram {
		ways = []*sipmsg.Request{build("tcp"), req}
	}
	if l.leadsBack(req.Destination()) {
		back := build(l.from.network)
		back.SetDestination(l.source.String())
		ways = append(ways, back)
	}
	return ways
}

// request builds a request within the dialog for one transport. The caller counts
// the peer's seq up.
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

// is says whether a request comes from this peer, within the dialog (RFC 3261
// section 12).
func (p *peer) is(in *incoming) bool {
	return p.callID == in.CallID().Value() && tagParam(p.remote.Params) == tagParam(in.From().Params)
}
