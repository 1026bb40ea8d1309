package sip

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// advertised is the address that peers are told, where it differs from the
// bound one. Zero values mean the bound one.
type advertised struct {
	host string
	port int
}

// parseAdvertised reads host, host:port, an IPv6 address or [IPv6]:port.
func parseAdvertised(s string) (advertised, error) {
	if s == "" {
		return advertised{}, nil
	}
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return advertised{host: addr.String()}, nil
	}
	if strings.ContainsAny(s, " /;@<>\"") {
		return advertised{}, fmt.Errorf("sip.advertise: %q: expected a host or host:port, like 198.51.100.7 or sip.example.com:5060", s)
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		host, text = s, ""
	}
	port := 0
	if text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return advertised{}, fmt.Errorf("sip.advertise: %q: the port must be 1 to 65535", s)
		}
	}
	return advertised{host: host, port: port}, nil
}

// endpoint is how a peer reaches the socket bound to an address.
func (s *Server) endpoint(network string, peer netip.Addr, bound netip.AddrPort) endpoint {
	if seen, ok := s.registrars.seenAs(sight{network, peer, bound.Port()}); ok {
		return seen // never where the file says what to advertise
	}
	e := endpoint{network: network, host: bound.Addr().WithZone("").String(), port: int(bound.Port())}
	if bound.Addr().IsUnspecified() && s.advertise.host == "" {
		e.host = localAddr(peer).String()
	}
	if s.advertise.host != "" {
		e.host = s.advertise.host
	}
	if s.advertise.port != 0 && s.tellsPort(network) {
		e.port = s.advertise.port
	}
	return e
}

// tellsPort says whether the advertised port is that of a network: it stands
// for the first listen address. udp and tcp have one port.
func (s *Server) tellsPort(network string) bool {
	if len(s.sockets) == 0 {
		return true
	}
	first := s.sockets[0].Network
	plain := func(network string) bool { return network == "udp" || network == "tcp" }
	return network == first || plain(network) && plain(first)
}
