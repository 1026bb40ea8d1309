package sip

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// records is DNS of a test: SRV records by name, hosts by name.
type records struct {
	srv   map[string][]*net.SRV
	hosts map[string][]netip.Addr
}

func (r records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if found, ok := r.srv["_"+service+"._"+proto+"."+name]; ok {
		return name, found, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (r records) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if found, ok := r.hosts[host]; ok {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestLocate(t *testing.T) {
	dns := records{
		srv: map[string][]*net.SRV{
			"_sip._udp.pbx.example":  {{Target: "a.pbx.example.", Port: 5070}, {Target: "gone.pbx.example.", Port: 5070}, {Target: "b.pbx.example.", Port: 5080}},
			"_sips._tcp.pbx.example": {{Target: "a.pbx.example.", Port: 5071}},
		},
		hosts: map[string][]netip.Addr{
			"a.pbx.example": {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			"b.pbx.example": {netip.MustParseAddr("::ffff:192.0.2.2")},
			"pbx.example":   {netip.MustParseAddr("192.0.2.9")},
		},
	}
	for text, want := range map[string]string{
		"pbx.example":         "192.0.2.1:5070 [2001:db8::1]:5070 192.0.2.2:5080",
		"tcp://pbx.example":   "192.0.2.9:5060",
		"pbx.example:5090":    "192.0.2.9:5090",
		"192.0.2.7":           "192.0.2.7:5060",
		"[2001:db8::7]:5062":  "[2001:db8::7]:5062",
		"tcp://192.0.2.7:443": "192.0.2.7:443",
		"tls://192.0.2.7":     "192.0.2.7:5061",
		"tls://pbx.example":   "192.0.2.1:5071",
		"nowhere.example":     "nowhere.example has no address",
	} {
		var r Registrar
		if err := r.UnmarshalText([]byte(text)); err != nil || r.String() != text {
			t.Errorf("%s reads as %s, %v", text, r, err)
		}
		targets, err := locate(t.Context(), dns, []Registrar{r})
		var got []string
		for _, target := range targets {
			got = append(got, target.addr.String())
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if !strings.HasPrefix(strings.Join(got, " "), want) {
			t.Errorf("%s is at %v, want %s", text, got, want)
		}
	}
	for _, text := range []string{"", "sip:pbx.example", "ws://pbx.example", "udp://", "a b", "pbx.example:0", "pbx.example/x", "500@pbx.example"} {
		if err := (&Registrar{}).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// The servers behind a name are tried in the order of its SRV records.
func TestFailoverBySRV(t *testing.T) {
	dead, alive := newRegistrar(t, "127.0.0.2", "503 Service Unavailable"), newRegistrar(t, "127.0.0.3", "200 OK")
	dns := records{
		srv: map[string][]*net.SRV{"_sip._udp.pbx.example": {
			{Target: "127.0.0.2", Port: dead.addr().Port()}, {Target: "127.0.0.3", Port: alive.addr().Port()},
		}},
	}
	a := Account{Registrar: []Registrar{{"udp", "pbx.example", 0}}, User: "500", Domain: "office.example"}
	ts := serveAccount(t, a, func(s *Server) {
		hasty(s)
		s.dns = dns
	})
	s := ts.standing(t, "registered", registered)
	heard, _ := alive.said()
	if s.Name != "pbx.example" || s.Registrar != alive.addr().String() || !strings.HasPrefix(heard[0].start, "REGISTER sip:office.example SIP/2.0") {
		t.Errorf("%+v, %s", s, heard[0].start)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, pings := alive.said(); pings > 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no keep-alives came")
		}
	}
}

// failing is a DNS that may be away.
type failing struct {
	records
	away atomic.Bool
}

func (f *failing) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if f.away.Load() {
		return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
	}
	return f.records.LookupNetIP(ctx, network, host)
}

// A registration is renewed at the known address while the DNS is away.
func TestDNSIsAway(t *testing.T) {
	registrar := newRegistrar(t, "127.0.0.1", "200 OK\r\nExpires: 1")
	dns := &failing{records: records{hosts: map[string][]netip.Addr{"pbx.example": {loopback}}}}
	a := Account{Registrar: []Registrar{{"udp", "pbx.example", int(registrar.addr().Port())}}, User: "500"}
	ts := serveAccount(t, a, func(s *Server) {
		hasty(s)
		s.dns = dns
	})
	ts.standing(t, "registered", registered)
	dns.away.Store(true)
	before, _ := registrar.said()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if heard, _ := registrar.said(); len(heard) > len(before)+1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not renewed: %+v", ts.Accounts()[0])
		}
	}
	ts.standing(t, "still registered", registered)
}

// Two accounts at one PBX are told apart by the extension that is called, and
// an account with a trunk's name takes its settings.
func TestAccountsOfOnePBX(t *testing.T) {
	registrar := newRegistrar(t, "127.0.0.1", "200 OK")
	at := []Registrar{{"udp", "127.0.0.1", int(registrar.addr().Port())}}
	ts := serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{
			Name: "office", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Country: "DE", Mailbox: "first",
			Digest: &Digest{User: "pbx", Password: "open sesame"},
		}},
		Accounts: []Account{
			{Registrar: at, User: "500", Name: "office", Country: "AT"},
			{Registrar: at, User: "501", Name: "private"},
		},
	}, nil, nil)
	for end := time.Now().Add(patience); !ts.Accounts()[0].Registered || !ts.Accounts()[1].Registered; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", ts.Accounts())
		}
	}
	peer := newRawPeer(t, ts, "127.0.0.1")
	for _, tt := range []struct{ user, trunk, country, mailbox string }{{"500", "office", "AT", "first"}, {"501", "private", "", ""}} {
		call := peer.newCall()
		call.user = tt.user
		call.establish()
		if got := ts.call(t).Trunk; got.Name != tt.trunk || got.Country != tt.country || got.Mailbox != tt.mailbox || got.Digest != nil {
			t.Errorf("%s belongs to %+v", tt.user, got)
		}
		call.bye()
	}
	stranger := peer.newCall() // 101 is none of the accounts: its trunk asks for a password
	stranger.user = "101"
	stranger.challenged("INVITE")
}

// What the PBX sees of this machine is what a call is told too: its BYE comes
// from outside.
func TestCallsAreToldTheAddressOutside(t *testing.T) {
	registrar := newRegistrar(t, "127.0.0.1", "200 OK\r\nVIA;received=198.51.100.7;rport=40000\r\n")
	a := Account{Registrar: []Registrar{{"udp", "127.0.0.1", int(registrar.addr().Port())}}, User: "500"}
	ts := serveAccount(t, a, nil)
	ts.standing(t, "registered", registered)
	call := newRawPeer(t, ts, "127.0.0.1").newCall()
	call.user = "500"
	if got := call.establish().get("contact"); !strings.Contains(got, "198.51.100.7:40000") {
		t.Errorf("Contact %s", got)
	}
	call.bye()
}

// Of several sockets the one faces a PBX that its network is reached by.
func TestFacing(t *testing.T) {
	udp := func(addr string) socket {
		return socket{ListenAddress: ListenAddress{"udp", netip.AddrPortFrom(netip.MustParseAddr(addr), 5060)}}
	}
	for name, tt := range map[string]struct {
		sockets sockets
		peer    string
		want    string // "" for none
	}{
		"loopback":           {sockets{udp("192.0.2.1"), udp("127.0.0.1")}, "127.0.0.1", "127.0.0.1"},
		"another loopback":   {sockets{udp("192.0.2.1"), udp("127.0.0.5")}, "127.0.0.1", "127.0.0.5"},
		"the nearest":        {sockets{udp("127.0.0.5"), udp("127.0.0.1")}, "127.0.0.1", "127.0.0.1"},
		"every address":      {sockets{udp("::1"), udp("0.0.0.0")}, "127.0.0.1", "0.0.0.0"},
		"both families":      {sockets{udp("::")}, "127.0.0.1", "::"},
		"the other family":   {sockets{udp("0.0.0.0")}, "::1", ""},
		"this machine alone": {sockets{udp("127.0.0.1"), udp("::1")}, "192.0.2.7", ""},
		"no UDP":             {sockets{{ListenAddress: ListenAddress{"tcp", netip.AddrPortFrom(loopback, 5060)}}}, "127.0.0.1", ""},
	} {
		got := ""
		if found := tt.sockets.facing("udp", netip.MustParseAddr(tt.peer)); found != nil {
			got = found.Addr.Addr().String()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestRegisterByIPv6(t *testing.T) {
	registrar := newRegistrar(t, "::1", "401 Unauthorized\r\n"+challengeMD5, "200 OK")
	var r Registrar
	if err := r.UnmarshalText([]byte(registrar.addr().String())); err != nil {
		t.Fatal(err)
	}
	ts := serveOptions(t, Options{
		Listen:   []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}, {"udp", netip.AddrPortFrom(netip.IPv6Loopback(), 0)}},
		Accounts: []Account{{Registrar: []Registrar{r}, User: "500", Password: "open sesame"}},
	}, nil, nil)
	ts.standing(t, "registered", registered)
	heard, _ := registrar.said()
	for _, want := range []string{"REGISTER sip:[::1]:", "Contact: <sip:500@[::1]:", "From: <sip:500@[::1]>", `uri="sip:[::1]:`} {
		if last := heard[len(heard)-1].text; !strings.Contains(last, want) {
			t.Errorf("no %s in\n%s", want, last)
		}
	}
}

// Nothing that the log says of an account names its extension or a password.
func TestAccountsAreLoggedWithoutNames(t *testing.T) {
	registrar := newRegistrar(t, "127.0.0.1", "401 Unauthorized\r\n"+challengeMD5, "403 Forbidden", "200 OK")
	var lines bytes.Buffer
	o := Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Accounts: []Account{{
			Registrar: []Registrar{{"udp", "127.0.0.1", int(registrar.addr().Port())}}, User: "+4930500", Login: "anna", Password: "open sesame", Name: "pbx",
		}},
	}
	s, err := Listen(o, slog.New(slog.NewTextHandler(&lines, nil)))
	if err != nil {
		t.Fatal(err)
	}
	hasty(s)
	s.pace.answer, s.pace.leave = patience, patience
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.WithoutCancel(t.Context()), nil) }()
	for end := time.Now().Add(patience); !s.Accounts()[0].Registered && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	said := lines.String()
	for _, want := range []string{"not registered with the PBX", "the PBX forbids it", "registered with the PBX", "no more calls by this account"} {
		if !strings.Contains(said, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	for _, secret := range []string{"4930500", "anna", "sesame", "nonce"} {
		if strings.Contains(said, secret) {
			t.Errorf("the log says %q", secret)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// What is set for all trunks holds for that of an account too, unless it has
// the settings of another.
func TestTrunkOfAnAccount(t *testing.T) {
	t.Parallel()
	o := Options{
		Limits: Limits{Calls: 10, Callees: 5},
		Trunks: []Trunk{{Name: "pbx", Country: "FR", Anonymous: refuseAnonymous, Limits: Limits{Callees: 7}, Digest: &Digest{}}},
	}
	for name, want := range map[string]Trunk{
		"pbx":   {Name: "pbx", Country: "DE", Anonymous: refuseAnonymous, Limits: Limits{Callees: 7}, pilot: "500"},
		"other": {Name: "other", Country: "DE", Limits: Limits{Callees: 5}, pilot: "500"},
	} {
		a := Account{Name: name, User: "500", Country: "DE"}
		if got := a.trunk(o); !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v, want %+v", *got, want)
		}
	}
}
