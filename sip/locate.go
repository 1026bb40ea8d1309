package sip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// locatePatience is how long the DNS has for one registrar.
const locatePatience = 5 * time.Second

// target is one address of a registrar.
type target struct {
	registrar Registrar
	addr      netip.AddrPort
}

// resolver asks the DNS; *net.Resolver does.
type resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// locate finds every address of the registrars, in the order in which to try
// them: that of the list, within it that of the SRV records (RFC 3263 section
// 4.2). With an error come those that were found nevertheless.
func locate(ctx context.Context, dns resolver, registrars []Registrar) (targets []target, err error) {
	for _, r := range registrars {
		found, failed := r.locate(ctx, dns)
		err = errors.Join(err, failed)
		for _, addr := range found {
			targets = append(targets, target{r, addr})
		}
	}
	return targets, err
}

// locate finds the addresses of one registrar.
func (r Registrar) locate(ctx context.Context, dns resolver) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, locatePatience)
	defer cancel()
	var found []netip.AddrPort
	var failed error
	for _, h := range r.servers(ctx, dns) {
		addrs, err := addrsOf(ctx, dns, strings.TrimSuffix(h.Target, "."))
		failed = errors.Join(failed, err)
		port := cmp.Or(h.Port, uint16(sipmsg.DefaultPort(r.Network)))
		for _, a := range addrs {
			found = append(found, netip.AddrPortFrom(a.Unmap(), port))
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, fmt.Errorf("%s has no address: check the name, and the DNS of this machine: %w", r.Host, failed)
}

// servers are the hosts behind a registrar's name, the best first. A name
// without a port is looked for as a service (RFC 3263 section 4.2), and is a
// host where it is none.
func (r Registrar) servers(ctx context.Context, dns resolver) []*net.SRV {
	if _, err := netip.ParseAddr(r.Host); err != nil && r.Port == 0 {
		service, proto := "sip", r.Network
		if r.secure() {
			service, proto = "sips", "tcp"
		}
		if _, records, err := dns.LookupSRV(ctx, service, proto, r.Host); err == nil && len(records) > 0 {
			return records
		}
	}
	return []*net.SRV{{Target: r.Host, Port: uint16(r.Port)}}
}
