package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// network is one way SIP travels.
type network struct {
	name      string
	secure    bool // within TLS
	websocket bool // in WebSocket messages (RFC 7118)
	serve     func(*sipmsg.TransportLayer, net.Listener) error
}

// networks are what sip.listen may name. udp has no connections and is bound
// apart.
var networks = []network{
	{name: "udp"},
	{name: "tcp", serve: (*sipmsg.TransportLayer).ServeTCP},
	{name: "tls", secure: true, serve: (*sipmsg.TransportLayer).ServeTLS},
	{name: "ws", websocket: true, serve: (*sipmsg.TransportLayer).ServeWS},
	{name: "wss", secure: true, websocket: true, serve: (*sipmsg.TransportLayer).ServeWSS},
}

// networkOf finds a network by its name.
func networkOf(name string) (network, bool) {
	i := slices.IndexFunc(networks, func(n network) bool { return n.name == name })
	if i < 0 {
		return network{}, false
	}
	return networks[i], true
}

// ListenAddress is a transport and the address it is bound to, written
// udp://127.0.0.1:5060.
type ListenAddress struct {
	Network string // udp, tcp, tls, ws or wss
	Addr    netip.AddrPort
}

// UnmarshalText reads scheme://address:port.
func (l *ListenAddress) UnmarshalText(b []byte) error {
	name, host, ok := strings.Cut(string(b), "://")
	if _, known := networkOf(name); !ok || !known {
		return errors.New("expected udp://, tcp://, tls://, ws:// or wss:// and ADDRESS:PORT")
	}
	addr, err := netip.ParseAddrPort(host)
	if err != nil {
		return fmt.Errorf("expected an IP address and a port after %s://, like %s://127.0.0.1:5060", name, name)
	}
	l.Network, l.Addr = name, addr
	return nil
}

// MarshalText writes scheme://address:port.
func (l ListenAddress) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// String writes scheme://address:port.
func (l ListenAddress) String() string { return l.Network + "://" + l.Addr.String() }

// Socket is what is bound: udp, or tcp for all the others.
func (l ListenAddress) Socket() string {
	if l.Network == "udp" {
		return "udp"
	}
	return "tcp"
}

// Secure says that peers are spoken to within TLS.
func (l ListenAddress) Secure() bool {
	n, _ := networkOf(l.Network)
	return n.secure
}

// bind opens one address.
func (s *Server) bind(l ListenAddress) error {
	n, ok := networkOf(l.Network)
	if !ok {
		return fmt.Errorf("sip.listen: %s: the transport must be udp, tcp, tls, ws or wss", l)
	}
	if n.serve == nil {
		return s.bindUDP(l)
	}
	if n.secure && s.certificates == nil {
		return fmt.Errorf("sip.listen: %s needs sip.tls.certificate and sip.tls.key", l)
	}
	tcp, err := net.ListenTCP(family("tcp", l.Addr), net.TCPAddrFromAddrPort(l.Addr))
	if err != nil {
		return bindError(l, err)
	}
	l.Addr = addrPortOf(tcp.Addr())
	heard := s.connections(n, tcp)
	s.sockets = append(s.sockets, socket{
		ListenAddress: l, serve: func() error { return n.serve(s.stack.transport, heard) }, close: heard.Close,
	})
	return nil
}

func (s *Server) bindUDP(l ListenAddress) error {
	conn, err := net.ListenUDP(family("udp", l.Addr), net.UDPAddrFromAddrPort(l.Addr))
	if err != nil {
		return bindError(l, err)
	}
	filtered := newFilterPacketConn(conn, s.trunks, &s.drops)
	filtered.turnAway = newTurnstile(conn, s.seed, s.admission).turnAway
	l.Addr = addrPortOf(conn.LocalAddr())
	s.stack.knows(filtered)
	s.sockets = append(s.sockets, socket{
		ListenAddress: l, packets: filtered, close: filtered.Close,
		serve: func() error { return filtered.serve(s.stack.transport.ServeUDP) },
	})
	return nil
}

// connections are those that a listener of a network hands to sipgo: of trunks
// alone, and ready for SIP.
func (s *Server) connections(n network, l net.Listener) net.Listener {
	filtered := newFilterListener(l, s.trunks, &s.drops)
	filtered.proven = s.proven // in all means all listeners
	if n.secure {
		filtered.certified, filtered.unproven = s.certified, s.unproven
	}
	if !n.secure && !n.websocket {
		return filtered
	}
	return newReadyListener(filtered, func(ctx context.Context, conn *filterConn) (net.Conn, error) {
		return s.ready(ctx, n, conn)
	})
}

func bindError(l ListenAddress, err error) error {
	return fmt.Errorf("sip.listen: %s cannot be bound; is another program using it, or is the address not of this machine? %w", l, err)
}
