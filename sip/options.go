package sip

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Options is the `sip` part of the configuration file.
type Options struct {
	Listen    []ListenAddress `yaml:"listen" help:"where SIP is heard: udp:// or tcp://, address and port"`
	Advertise string          `yaml:"advertise" help:"host or host:port that peers reach, where it differs from the bound one (NAT, containers)"`
	Trunks    []Trunk         `yaml:"trunks" help:"who may send calls; every other source gets no answer at all"`

	// NewID mints the id that names a call everywhere, at its INVITE.
	NewID func() string `yaml:"-"`
}

// Trunk is a peer that may send calls, and how far it is believed.
type Trunk struct {
	Name    string         `yaml:"name" required:"true" help:"a short name for logs and call records"`
	From    []netip.Prefix `yaml:"from" required:"true" help:"addresses or networks (CIDR) the calls come from"`
	Country string         `yaml:"country" help:"two letters (ISO 3166), for numbers without a country code"`
	Mailbox string         `yaml:"mailbox" enum:"last|first" help:"which diversion names the mailbox: the last (newest) or the first (the number dialled)"`
	Trusted *bool          `yaml:"trusted" help:"believe P-Asserted-Identity and Remote-Party-ID (default true)"`
}

// Believes says whether the trunk's identity headers are trusted (RFC 3325).
func (t *Trunk) Believes() bool { return t.Trusted == nil || *t.Trusted }

// Allows says whether a packet from addr belongs to the trunk.
func (t *Trunk) Allows(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range t.From {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// ListenAddress is a transport and the address it is bound to, written
// udp://127.0.0.1:5060.
type ListenAddress struct {
	Network string // udp or tcp
	Addr    netip.AddrPort
}

// UnmarshalText reads scheme://address:port.
func (l *ListenAddress) UnmarshalText(b []byte) error {
	network, host, ok := strings.Cut(string(b), "://")
	if !ok || (network != "udp" && network != "tcp") {
		return fmt.Errorf("expected udp://ADDRESS:PORT or tcp://ADDRESS:PORT")
	}
	addr, err := netip.ParseAddrPort(host)
	if err != nil {
		return fmt.Errorf("expected an IP address and a port after %s://, like %s://127.0.0.1:5060", network, network)
	}
	l.Network, l.Addr = network, addr
	return nil
}

// MarshalText writes scheme://address:port.
func (l ListenAddress) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// String writes scheme://address:port.
func (l ListenAddress) String() string { return l.Network + "://" + l.Addr.String() }

// DefaultOptions listens on loopback and takes calls from this machine alone.
func DefaultOptions() Options {
	local := netip.MustParseAddrPort("127.0.0.1:5060")
	return Options{Listen: []ListenAddress{{"udp", local}, {"tcp", local}}}
}

// t1 is RFC 3261's estimate of a round trip, the base of every timer.
const t1 = 500 * time.Millisecond
