package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/afterbeep/afterbeep/sip"
)

// accounts asks each PBX whether it accepts the login. serve starts without, and
// goes on asking.
func (c *checker) accounts(ctx context.Context) {
	for i := range c.cfg.SIP.Accounts {
		a := &c.cfg.SIP.Accounts[i]
		what := "account " + a.TrunkName()
		registrar, err := sip.TryAccount(ctx, *a, slog.New(slog.DiscardHandler))
		if err != nil {
			c.say(markWarn, what, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		c.say(markOK, what, "%s accepts the login", registrar)
		c.heardBy(what, registrar.Addr())
	}
}

// heardBy finds addresses that a PBX cannot reach.
func (c *checker) heardBy(what string, pbx netip.Addr) {
	if pbx.IsLoopback() {
		return
	}
	if !slices.ContainsFunc(c.cfg.SIP.Listen, func(l sip.ListenAddress) bool { return !l.Addr.Addr().IsLoopback() }) {
		c.say(markWarn, what, "sip.listen hears this machine only, but the PBX is at %s: set it to udp://0.0.0.0:5060", pbx)
	}
	if c.cfg.Media.Address.IsLoopback() {
		c.say(markWarn, what, "media.address hears this machine only, but the PBX is at %s: set it to the address that the PBX reaches", pbx)
	}
}
