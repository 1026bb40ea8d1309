package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// mediaOptions are those of the file. Where they say every interface, which no
// peer can be told, the address stands in that the accounts' PBX reaches.
func (g *gateway) mediaOptions(ctx context.Context) media.Options {
	o := g.cfg.Media
	if !o.Address.IsUnspecified() || o.Advertise.IsValid() {
		return o
	}
	o.Advertise.Addr = g.cfg.SIP.AccountAddr(ctx)
	if o.Address = netip.IPv4Unspecified(); o.Advertise.Is6() {
		o.Address = netip.IPv6Unspecified()
	}
	return o
}

// reachable is nil as long as some call may come in: there is a trunk, or an
// account is registered.
func (g *gateway) reachable() error {
	if g.hasTrunks.Load() || len(g.cfg.SIP.Accounts) == 0 {
		return nil
	}
	var errs []error
	for _, a := range g.sip.Accounts() {
		if a.Registered {
			return nil
		}
		errs = append(errs, accountFault(a))
	}
	return errors.Join(errs...)
}

// accountFault is why an account is not registered.
func accountFault(a sip.AccountStatus) error {
	if a.Err == nil {
		return fmt.Errorf("account %s: the PBX has not answered yet", a.Name)
	}
	return fmt.Errorf("account %s: %w", a.Name, a.Err)
}

// accountsUp is 1 for each account that is registered, else 0.
func (g *gateway) accountsUp(context.Context) (map[string]float64, error) {
	up := map[string]float64{}
	for _, a := range g.sip.Accounts() {
		up[a.Name] = flag(a.Registered)
	}
	return up, nil
}
