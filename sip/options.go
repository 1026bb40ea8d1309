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
	Listen    []ListenAddress `yaml:"listen" help:"where SIP is heard: udp://, tcp://, tls://, ws:// or wss://, address and port; 127.0.0.1 hears this machine only"`
	TLS       TLS             `yaml:"tls" help:"what tls:// and wss:// show and ask for; the files are read again when they change"`
	Origins   []string        `yaml:"origins" help:"web pages that may open ws:// and wss://, like https://phone.example.com; programs that are no browser need none"`
	Advertise string          `yaml:"advertise" help:"host or host:port that peers reach, where it differs from the bound one (NAT, containers); a port here stands for that of the first listen address"`
	Trunks    []Trunk         `yaml:"trunks" help:"who may send calls; every other source gets no answer at all"`
	Limits    Limits          `yaml:"limits" help:"of all trunks together; what is beyond is turned away before it costs anything (default for each processor 500 calls and 100 new ones a second; 0 is no limit)"`

	Accounts []Account `yaml:"accounts" help:"extensions of a PBX under which the gateway registers like a phone: forward unanswered calls there"`

	// NewID mints the id that names a call everywhere, at its INVITE.
	NewID func() string `yaml:"-"`
	// Ready says whether calls can be taken at all, for OPTIONS; nil is always.
	Ready func() bool `yaml:"-"`
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
	o.validateTLS(&wrong)
	o.Limits.validate("limits.", &wrong)
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
		wrong.country(key+"country", t.Country)
		if len(t.From) == 0 && len(t.TLSName) == 0 {
			wrong.add(key+"from", "expected the addresses or networks that the calls come from, or a tls_name")
		}
		t.Limits.validate(key+"limits.", &wrong)
		t.Unknown.validate(key+"unknown", &wrong)
		t.Digest.validate(key+"digest.", &wrong)
		wrong.policy(key, t)
		for j, p := range t.From {
			at := fmt.Sprintf("%sfrom[%d]", key, j)
			wrong.network(at, p)
			if len(t.TLSName) > 0 { // its certificate tells it from others at the same address
				continue
			}
			if first, taken := networks[p]; taken && p.IsValid() {
				wrong.add(at, "%s stands in trunks[%d] already; a call belongs to one trunk", p, first)
			} else {
				networks[p] = i
			}
		}
	}
	o.validateAccounts(&wrong)
	return errors.Join(wrong...)
}

// mistakes are what is wrong with the options.
type mistakes []error

func (m *mistakes) add(key, format string, args ...any) {
	*m = append(*m, &settingError{key, fmt.Sprintf(format, args...)})
}

// country adds what is wrong with a country; "" is none.
func (m *mistakes) country(key, code string) {
	if code != "" && !phonenumbers.GetSupportedRegions()[strings.ToUpper(code)] {
		m.add(key, "expected a country of two letters (ISO 3166), like DE, not %q", code)
	}
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
	return s == "" || isDomain(a.host)
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
	From    []netip.Prefix `yaml:"from" help:"addresses or networks (CIDR) the calls come from; with a tls_name it may be left out"`
	TLSName []string       `yaml:"tls_name" help:"names of which the peer's certificate must carry one, like sbc.carrier.example: then calls come by tls:// or wss:// alone" example:"sbc.carrier.example"`
	Country string         `yaml:"country" help:"two letters (ISO 3166), for numbers without a country code (default none)"`
	Mailbox string         `yaml:"mailbox" enum:"last|first" help:"which diversion names the mailbox: the last (newest, the default) or the first (the number dialled)"`
	Trusted *bool          `yaml:"trusted" example:"true" help:"believe P-Asserted-Identity, Remote-Party-ID and verstat"`
	Digest  *Digest        `yaml:"digest" example:"{user: pbx, password: \"${PBX_PASSWORD}\"}" help:"the peer must log in: user and password, also realm and algorithms"`

	Headers   []string `yaml:"headers" example:"[target, history-info, diversion, p-called-party-id, request-uri, to]" help:"what names the mailbox, the best first; what is left out does not"`
	Unknown   Unknown  `yaml:"unknown" example:"\"480\"" help:"what a call to an unknown number gets: 480, or a 302 to the SIP URI given here, like sip:{user}@pbx.example, with the number called in place of {user}"`
	Anonymous string   `yaml:"anonymous" enum:"accept|refuse" help:"callers who hide their number: accept (the default), or refuse with 433"`
	Limits    Limits   `yaml:"limits" help:"of this trunk, within those of all"`
	MWI       string   `yaml:"mwi" example:"sip:{mailbox}@127.0.0.1:5062" help:"where the message lamp of each mailbox is switched, by NOTIFY; not needed where phones or the PBX subscribe"`

	pilot string // the extension of the account whose trunk it is; it is nobody's mailbox while another may be
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

// DefaultOptions listens on loopback and takes calls from this machine alone.
func DefaultOptions() Options {
	local := netip.MustParseAddrPort("127.0.0.1:5060")
	return Options{Listen: []ListenAddress{{"udp", local}, {"tcp", local}}, Limits: DefaultLimits()}
}

// t1 is RFC 3261's estimate of a round trip, the base of every timer.
const t1 = 500 * time.Millisecond
