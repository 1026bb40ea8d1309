package sip

import (
	"net"
	"net/netip"
)

// socket is one bound address.
type socket struct {
	ListenAddress
	packets net.PacketConn // of UDP, else nil
	serve   func() error
	close   func() error
}

// sockets are all there are, in the order of Options.Listen.
type sockets []socket

// facing is the socket of a network from which an address is reached; nil for
// none.
func (all sockets) facing(network string, peer netip.Addr) *socket {
	ours := localAddr(peer)
	var second *socket
	for i := range all {
		at := all[i].Addr.Addr()
		switch {
		case all[i].Network != network:
		case at == ours, at.IsUnspecified() && (at.Is6() || peer.Is4()): // [::] takes both
			return &all[i]
		case at.Is4() == peer.Is4() && at.IsLoopback() == peer.IsLoopback():
			second = &all[i]
		}
	}
	return second
}

// bound is the address bound for a network; invalid when there is none.
func (s *Server) bound(network string) netip.AddrPort {
	for _, l := range s.sockets {
		if l.Network == network {
			return l.Addr
		}
	}
	return netip.AddrPort{}
}

// leaving is the socket from which a request outside any dialog goes to an
// address, and how that is reached. Without one for the network, the answer
// comes back on the connection that is made.
func (s *Server) leaving(network string, remote netip.Addr) (endpoint, netip.AddrPort) {
	if from := s.sockets.facing(network, remote); from != nil {
		return s.endpoint(network, remote, from.Addr), from.Addr
	}
	from := s.endpoint(network, remote, s.sockets[0].Addr)
	from.network = network
	return from, netip.AddrPort{}
}
