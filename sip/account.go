package sip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// accountExpires is how long a PBX is asked to keep a registration: so long may
// calls stay away after a PBX forgot it in a restart.
const accountExpires = 2 * time.Minute

// Account is an extension of a PBX under which the gateway registers, like a
// phone: calls forwarded to it come here (RFC 3261 section 10). It is for one
// machine: a PBX that finds two under one extension rings both, and the caller
// would leave a note with one and a missed call with the other.
type Account struct {
	Registrar []Registrar   `yaml:"registrar" required:"true" help:"the PBX: a name or an address, with a port where it is not 5060, and tcp:// or tls:// before it; of several the first that answers; by TLS its certificate must carry what is written here" example:"pbx.example"`
	User      string        `yaml:"user" required:"true" help:"the extension, of this machine alone" example:"\"500\""`
	Password  string        `yaml:"password" secret:"true" help:"the extension's password" example:"${PBX_PASSWORD}"`
	Login     string        `yaml:"login" help:"the name to log in with, where the PBX has one beside the extension (authentication id)"`
	CA        string        `yaml:"ca" path:"true" help:"for tls://: the certificates (PEM) that may sign the PBX's, beside those this machine trusts; its own, where it signed itself" example:"pbx-ca.pem"`
	Domain    string        `yaml:"domain" help:"the PBX's SIP domain, where it is not the registrar's name"`
	Name      string        `yaml:"name" help:"of the trunk that its calls belong to: one of trunks, whose settings count then, or a new one (default the registrar's name)"`
	Country   string        `yaml:"country" help:"two letters (ISO 3166), for numbers without a country code (default none)"`
	Expires   time.Duration `yaml:"expires" least:"10s" help:"how long the PBX is asked to keep the registration, which is renewed before (default 2m)" example:"2m"`
}

// TrunkName is what logs, metrics and call records call the account and its
// trunk.
func (a *Account) TrunkName() string {
	if a.Name != "" || len(a.Registrar) == 0 {
		return a.Name
	}
	return a.Registrar[0].Host
}

// expires is how long a PBX is asked to keep the registration.
func (a *Account) expires() time.Duration { return cmp.Or(a.Expires, accountExpires) }

// trunk is what the account's calls belong to: a copy of the trunk of its name,
// or a new one. Who comes by a registration was sent by the PBX, which cannot
// log in.
func (a *Account) trunk(o Options) *Trunk {
	t := Trunk{Name: a.TrunkName(), Limits: Limits{Callees: o.Limits.Callees}}
	for i := range o.Trunks {
		if o.Trunks[i].Name == t.Name {
			t = o.Trunks[i]
		}
	}
	t.Country = cmp.Or(a.Country, t.Country)
	t.Digest, t.pilot = nil, a.User
	return &t
}

// validateAccounts adds what is wrong with the accounts.
func (o Options) validateAccounts(wrong *mistakes) {
	names := map[string]int{}
	for i := range o.Accounts {
		a, key := &o.Accounts[i], fmt.Sprintf("accounts[%d].", i)
		if strings.ContainsAny(a.User, "@:;<> \t") {
			wrong.add(key+"user", "expected the extension alone, like 500, not %q", a.User)
		}
		if strings.ContainsAny(a.Domain, "@:;<>/ \t") {
			wrong.add(key+"domain", "expected a domain, like pbx.example, not %q", a.Domain)
		}
		wrong.country(key+"country", a.Country)
		if first, taken := names[a.TrunkName()]; taken && a.TrunkName() != "" {
			wrong.add(key+"name", "accounts[%d] is called %s already; give each a name", first, a.TrunkName())
		} else {
			names[a.TrunkName()] = i
		}
		if a.CA != "" && !slices.ContainsFunc(a.Registrar, Registrar.secure) {
			wrong.add(key+"ca", "certificates are shown over TLS alone: write tls:// before the registrar")
		}
		for j, r := range a.Registrar {
			if r.Network == "udp" && !o.listensOn("udp") {
				wrong.add(fmt.Sprintf("%sregistrar[%d]", key, j), "a registration by UDP leaves from a UDP address of sip.listen, and there is none: add udp://0.0.0.0:5060, or write tcp://%s", r.hostport())
			}
		}
	}
}

func (o Options) listensOn(network string) bool {
	for _, l := range o.Listen {
		if l.Network == network {
			return true
		}
	}
	return false
}

// ListenForAccounts is where a gateway may listen that only takes calls by its
// accounts: the PBX is told the address by the registration, so any port does.
func (o Options) ListenForAccounts() []ListenAddress {
	every := netip.IPv4Unspecified()
	for _, a := range o.Accounts {
		for _, r := range a.Registrar {
			if addr, err := netip.ParseAddr(r.Host); err == nil && addr.Is6() {
				every = netip.IPv6Unspecified() // which takes IPv4 too
			}
		}
	}
	return []ListenAddress{{"udp", netip.AddrPortFrom(every, 0)}}
}

// AccountAddr is the address of this machine from which the accounts' PBX is
// reached. Nothing is sent but questions to the DNS; when that does not answer
// it is the address from which most of the world is reached.
func (o Options) AccountAddr(ctx context.Context) netip.Addr {
	for i := range o.Accounts {
		if targets, _ := locate(ctx, net.DefaultResolver, o.Accounts[i].Registrar); len(targets) > 0 {
			return localAddr(targets[0].addr.Addr())
		}
	}
	return localAddr(netip.AddrFrom4([4]byte{192, 0, 2, 1}))
}

// Registrar is where an account registers, written pbx.example, 192.0.2.7:5080,
// tcp://pbx.example or tls://pbx.example.
type Registrar struct {
	Network string // udp, tcp or tls
	Host    string // a name or an IP address, IPv6 without brackets
	Port    int    // 0 is what the DNS says, else 5060, or 5061 for tls
}

// UnmarshalText reads [NETWORK://]HOST[:PORT].
func (r *Registrar) UnmarshalText(b []byte) error {
	network, hostport, ok := strings.Cut(string(b), "://")
	if !ok {
		network, hostport = "udp", string(b)
	}
	if network != "udp" && network != "tcp" && network != "tls" {
		return errors.New("expected a PBX by its name or address, with udp://, tcp:// or tls:// before it at most")
	}
	a, err := parseAdvertised(hostport)
	if _, notIP := netip.ParseAddr(a.host); err != nil || notIP != nil && !isDomain(a.host) {
		return errors.New("expected a name or an address and perhaps a port, like pbx.example or 192.0.2.7:5080")
	}
	*r = Registrar{network, a.host, a.port}
	return nil
}

// MarshalText writes it as the file does.
func (r Registrar) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes it as the file does; UDP needs no word.
func (r Registrar) String() string {
	if r.Network == "udp" {
		return r.hostport()
	}
	return r.Network + "://" + r.hostport()
}

// secure says that it is spoken to within TLS.
func (r Registrar) secure() bool { return r.Network == "tls" }

// hostport is the host with the port, where one is given.
func (r Registrar) hostport() string {
	switch {
	case r.Port != 0:
		return net.JoinHostPort(r.Host, strconv.Itoa(r.Port))
	case strings.Contains(r.Host, ":"):
		return "[" + r.Host + "]"
	}
	return r.Host
}
