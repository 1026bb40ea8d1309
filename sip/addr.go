package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// localAddr is the address of this machine that a peer sees. Nothing is sent.
func localAddr(peer netip.Addr) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, 9)))
	if err != nil {
		return peer // no route: whatever is written, no answer will come
	}
	defer func() { _ = conn.Close() }()
	return addrPortOf(conn.LocalAddr()).Addr()
}

// addrPortOf is the address and port of a UDP or TCP endpoint.
func addrPortOf(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// resolve finds the IP address of host:port.
func resolve(ctx context.Context, addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	found, err := addrsOf(ctx, net.DefaultResolver, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find the address of the SIP server: %w", err)
	}
	return netip.ParseAddrPort(net.JoinHostPort(found[0].Unmap().String(), port))
}

// addrsOf are the addresses of a host, which may be one itself.
func addrsOf(ctx context.Context, dns resolver, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return dns.LookupNetIP(ctx, "ip", host)
}

// isDomain says whether s could be a host's name.
func isDomain(s string) bool {
	return s != "" && !strings.HasPrefix(s, ".") && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// family keeps 0.0.0.0 to IPv4; [::] takes both.
func family(network string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return network + "4"
	}
	return network
}

// laddr turns a bound address into what makes sipgo send from that socket.
func laddr(a netip.AddrPort) sipmsg.Addr {
	return sipmsg.Addr{IP: a.Addr().AsSlice(), Port: int(a.Port()), Zone: a.Addr().Zone()}
}
