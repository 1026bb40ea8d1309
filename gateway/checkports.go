package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// addresses are where the gateway listens, written as check writes them.
func (g *gateway) addresses() []string {
	var all []string
	for _, l := range g.sip.Addrs() {
		all = append(all, l.String())
	}
	return append(all, "http://"+g.http.Addr().String())
}

// listeners tries each address, but those that the running gateway holds.
func (c *checker) listeners(ctx context.Context) {
	for _, l := range c.cfg.SIP.Listen {
		network := l.Socket()
		if l.Addr.Addr().Is4() { // as sip does: 0.0.0.0 is IPv4 alone
			network += "4"
		}
		c.listener(ctx, l.String(), network, l.Addr)
	}
	c.listener(ctx, "http://"+c.cfg.HTTP.Listen.String(), "tcp", c.cfg.HTTP.Listen)
}

func (c *checker) listener(ctx context.Context, name, network string, addr netip.AddrPort) {
	if slices.Contains(c.held, name) {
		c.say(markOK, name, "held by the running gateway")
		return
	}
	if err := tryListen(ctx, network, addr.String()); err != nil {
		c.say(markFail, name, "%s", bindFault(err))
		return
	}
	c.say(markOK, name, "free")
}

func tryListen(ctx context.Context, network, address string) error {
	var lc net.ListenConfig
	var c io.Closer
	var err error
	if strings.HasPrefix(network, "udp") {
		c, err = lc.ListenPacket(ctx, network, address)
	} else {
		c, err = lc.Listen(ctx, network, address)
	}
	if err != nil {
		return err
	}
	return c.Close()
}

// tryMedia binds a port at the address for RTP.
func tryMedia(ctx context.Context, address netip.Addr) error {
	return tryListen(ctx, "udp", netip.AddrPortFrom(address, 0).String())
}

// bindFault says why an address cannot be bound, and what to do about it.
func bindFault(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return "another program uses this address; `ss -lnp` shows which"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "this is not an address of this machine; `ip addr` shows those"
	case errors.Is(err, unix.EACCES):
		return "a port below 1024 needs a privilege; take a higher one"
	default:
		return err.Error()
	}
}

// reach finds addresses that those who need them cannot reach.
func (c *checker) reach(context.Context) {
	if t, network, ok := c.remoteTrunk(); ok {
		if !slices.ContainsFunc(c.cfg.SIP.Listen, func(l sip.ListenAddress) bool { return !l.Addr.Addr().IsLoopback() }) {
			c.say(markWarn, "sip.listen", "hears this machine only, but trunk %s calls from %s: set it to the address that the PBX reaches", t, network)
		}
		if c.cfg.Media.Address.IsLoopback() {
			c.say(markWarn, "media.address", "hears this machine only, but trunk %s calls from %s: set it to the address that the PBX reaches", t, network)
		}
	}
	if c.cfg.HTTP.PublicURL != "" {
		return
	}
	switch addr := c.cfg.HTTP.Listen.Addr(); {
	case addr.IsUnspecified():
		c.say(markWarn, "http.public_url", "is not set: `afterbeep link` would lead to %s, which nobody can open", addr)
	case addr.IsLoopback() && c.used(config.Inbox):
		c.say(markOK, "inbox", "opens on this machine only; for others set http.listen, or http.public_url with a proxy before it")
	}
}

// remoteTrunk is the first trunk that calls from elsewhere, and its network.
func (c *checker) remoteTrunk() (name string, network netip.Prefix, ok bool) {
	for _, t := range c.cfg.SIP.Trunks {
		for _, p := range t.From {
			if !p.Addr().IsLoopback() {
				return t.Name, p, true
			}
		}
	}
	return "", netip.Prefix{}, false
}

// keys finds keys that anybody can read: those of SDES stand in the session
// description, and so are as safe as the signalling.
func (c *checker) keys() {
	open := func(l sip.ListenAddress) bool {
		return (l.Network == "udp" || l.Network == "tcp" || l.Network == "ws") && !l.Addr.Addr().IsLoopback()
	}
	if i := slices.IndexFunc(c.cfg.SIP.Listen, open); i >= 0 && c.cfg.Media.SRTP == media.SRTPRequired {
		c.say(markWarn, "media.srtp", "is required, but %s hears calls in the clear, and with them the keys of SDES: "+
			"have the PBX use TLS, or DTLS-SRTP", c.cfg.SIP.Listen[i])
	}
}

// filesPerCall are a call's sockets of RTP and RTCP, its tape, and the tape's
// reader.
const filesPerCall = 4

func (c *checker) media(ctx context.Context) {
	m := c.cfg.Media
	calls := (int(m.Ports.Last)-int(m.Ports.First))/2 + 1
	if err := tryMedia(ctx, m.Address); err != nil {
		c.say(markFail, "media.address", "%s: %s", m.Address, bindFault(err))
	} else {
		c.say(markOK, "media.address", "%s, ports for %s at once", m.Address, count(calls, "call", "calls"))
	}
	if most := c.cfg.SIP.Limits.Calls; calls < most && m.Ports != media.DefaultOptions().Ports {
		c.say(markWarn, "media.ports", "%s are enough for %s at once, but sip.limits.calls lets %d in: widen the one or lower the other",
			m.Ports, count(calls, "call", "calls"), most)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Max < uint64(filesPerCall*calls) {
		c.say(markWarn, "open files", "the limit is %d, enough for %s at once; raise nofile (LimitNOFILE) to %d for all ports",
			limit.Max, count(int(limit.Max)/filesPerCall, "call", "calls"), filesPerCall*calls)
	}
	c.keys()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		c.say(markOK, "ffmpeg", "not installed; voice notes do not need it")
	}
}
