package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

// Options is the `sip` part of the configuration file.
type Options struct {
	Listen    []ListenAddress `yaml:"listen" help:"where SIP is heard: udp:// or tcp://, address and port; 127.0.0.1 hears this machine only"`
	Advertise string          `yaml:"advertise" help:"host or host:port that peers reach, where it differs from the bound one (NAT, containers)"`
	Trunks    []Trunk         `yaml:"trunks" help:"who may send calls; every other source gets no answer at all"`

	// NewID mints the id that names a call everywhere, at its INVITE.
	NewID func() string `yaml:"-"`
	// Lamps knows the mailboxes that may be subscribed to; nil refuses all who try.
	Lamps Lamps `yaml:"-"`
}

// Validate returns everything that is wrong with the options, joined, or nil.
func (o Options) Validate() error {
	var wrong mistakes
	if len(o.Listen) == 0 {
		wrong.add("listen", "expected one address or more, like udp://127.0.0.1:5060")
	}
	if !validAdvertised(o.Advertise) {
		wrong.add("advertise", "expected a host or host:port that peers reach, like 198.51.100.7 or sip.example.com:5060, not %q", o.Advertise)
	}
	names, networks := map[string]int{}, map[netip.Prefix]int{}
	for i, t := range o.Trunks {
		key := fmt.Sprintf("trunks[%d].", i)
		if first, taken := names[t.Name]; t.Name == "" {
			wrong.add(key+"name", "expected a short name, like pbx")
		} else if taken {
			wrong.add(key+"name", "this name is taken by trunks[%d]; each trunk needs its own", first)
		} else {
			names[t.Name] = i
		}
		if t.Country != "" && !phonenumbers.GetSupportedRegions()[strings.ToUpper(t.Country)] {
			wrong.add(key+"country", "expected a country of two letters (ISO 3166), like DE, not %q", t.Country)
		}
		wrong.policy(key, t)
		for j, p := range t.From {
			at := fmt.Sprintf("%sfrom[%d]", key, j)
			wrong.network(at, p)
			if first, taken := networks[p]; taken && p.IsValid() {
				wrong.add(at, "%s stands in trunks[%d] already; a call belongs to one trunk", p, first)
			} else {
				networks[p] = i
			}
		}
	}
	return errors.Join(wrong...)
}

// mistakes are what is wrong with the options.
type mistakes []error

func (m *mistakes) add(key, format string, args ...any) {
	*m = append(*m, &settingError{key, fmt.Sprintf(format, args...)})
}

// network adds what is wrong with a trunk's network.
func (m *mistakes) network(key string, p netip.Prefix) {
	switch {
	case !p.IsValid():
	case p.Addr().Is4In6():
		m.add(key, "expected IPv4 as such, like 192.0.2.0/24, not %q", p)
	case p != p.Masked():
		m.add(key, "expected a network, not an address of it; did you mean %s, or %s alone?", p.Masked(), p.Addr())
	}
}

// validAdvertised says whether peers could be told s: an address that is one
// machine's, or a host name.
func validAdvertised(s string) bool {
	a, err := parseAdvertised(s)
	if err != nil {
		return false
	}
	if addr, err := netip.ParseAddr(a.host); err == nil {
		return !addr.IsUnspecified() && !addr.IsMulticast()
	}
	return s == "" || a.host != "" && !strings.ContainsFunc(a.host, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// settingError is a mistake in one setting.
type settingError struct{ key, expected string }

// Error names the setting with its part.
func (e *settingError) Error() string { return "sip." + e.key + ": " + e.expected }

// Setting is the key below `sip`, and what was expected there.
func (e *settingError) Setting() (key, expected string) { return e.key, e.expected }

// Trunk is a peer that may send calls, and how far it is believed.
type Trunk struct {
	Name    string         `yaml:"name" required:"true" help:"a short name for logs and call records"`
	From    []netip.Prefix `yaml:"from" required:"true" help:"addresses or networks (CIDR) the calls come from"`
	Country string         `yaml:"country" help:"two letters (ISO 3166), for numbers without a country code (default none)"`
	Mailbox string         `yaml:"mailbox" enum:"last|first" help:"which diversion names the mailbox: the last (newest, the default) or the first (the number dialled)"`
	Trusted *bool          `yaml:"trusted" example:"true" help:"believe P-Asserted-Identity, Remote-Party-ID and verstat"`

	Headers   []string `yaml:"headers" example:"[target, history-info, diversion, p-called-party-id, request-uri, to]" help:"what names the mailbox, the best first; what is left out does not"`
	Anonymous string   `yaml:"anonymous" enum:"accept|refuse" help:"callers who hide their number: accept (the default), or refuse with 433"`
	MWI       string   `yaml:"mwi" example:"sip:{mailbox}@127.0.0.1:5062" help:"where the message lamp of each mailbox is switched, by NOTIFY; not needed where phones or the PBX subscribe"`
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
		return errors.New("expected udp://ADDRESS:PORT or tcp://ADDRESS:PORT")
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
