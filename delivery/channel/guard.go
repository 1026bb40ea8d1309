package channel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errPrivate is what meets who would connect to an address of the inside
// without leave.
var errPrivate = errors.New("the host's address is private, loopback or reserved; " +
	"if it is meant, set allow_private: true")

// forbidden are the networks that are not the public internet: of the IANA
// special-purpose registries (RFC 6890) all that are not globally reachable,
// and those that wrap an IPv4 address, which could be any of them.
var forbidden = prefixes(
	"0.0.0.0/8",       // this network (RFC 791)
	"10.0.0.0/8",      // private (RFC 1918)
	"100.64.0.0/10",   // shared by carriers (RFC 6598)
	"127.0.0.0/8",     // loopback (RFC 1122)
	"169.254.0.0/16",  // link-local, cloud metadata (RFC 3927)
	"172.16.0.0/12",   // private (RFC 1918)
	"192.0.0.0/24",    // protocol assignments (RFC 6890)
	"192.0.2.0/24",    // documentation (RFC 5737)
	"192.88.99.0/24",  // 6to4 relays (RFC 7526)
	"192.168.0.0/16",  // private (RFC 1918)
	"198.18.0.0/15",   // benchmarks (RFC 2544)
	"198.51.100.0/24", // documentation (RFC 5737)
	"203.0.113.0/24",  // documentation (RFC 5737)
	"224.0.0.0/4",     // multicast (RFC 5771)
	"240.0.0.0/4",     // reserved, and broadcast (RFC 1112, RFC 919)
	// Of IPv6 only 2000::/3 is given out as global unicast (RFC 4291 2.4, IANA).
	"::/3",          // loopback and unspecified, IPv4-compatible, NAT64 64:ff9b::/96 (RFC 6052)
	"4000::/2",      // unassigned, segment routing (RFC 9602)
	"8000::/1",      // unique local fc00::/7 (RFC 4193), link-local fe80::/10, multicast ff00::/8
	"2001::/23",     // protocol assignments, Teredo among them (RFC 2928, RFC 4380)
	"2001:db8::/32", // documentation (RFC 3849)
	"2002::/16",     // 6to4 (RFC 3056)
	"3fff::/20",     // documentation (RFC 9637)
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// public says whether an address is of the public internet. An IPv4-mapped
// address counts as the IPv4 address (RFC 4291 2.5.5.2).
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return false
	}
	for _, p := range forbidden {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// guardedDialer connects to public addresses alone, unless private ones are
// allowed. It checks the address that is connected to, after the name was
// resolved: no name can be turned to the inside between check and use.
func guardedDialer(allowPrivate bool) *net.Dialer {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		d.Control = refusePrivate
	}
	return d
}

// refusePrivate is called with the address before each connect.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: not an address and a port", errPrivate)
	}
	if !public(to.Addr()) {
		return errPrivate
	}
	return nil
}
