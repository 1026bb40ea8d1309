package sip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// registrarDouble is a registrar that answers each REGISTER in turn as a test
// says, the last answer for all that follow.
type registrarDouble struct {
	conn    *net.UDPConn
	answers []string // status line and headers of their own

	mu    sync.Mutex
	heard []message
	pings int
}

// newRegistrar answers from a free port of an address.
func newRegistrar(t *testing.T, from string, answers ...string) *registrarDouble {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)))
	if err != nil {
		t.Fatal(err)
	}
	r := &registrarDouble{conn: conn, answers: answers}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.serve()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return r
}

func (r *registrarDouble) serve() {
	buf := make([]byte, 65536)
	for {
		n, from, err := r.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		if string(buf[:n]) == "\r\n\r\n" {
			r.pings++
			r.mu.Unlock()
			continue
		}
		m := parseMessage(string(buf[:n]))
		r.heard = append(r.heard, m)
		answer := r.answers[min(len(r.heard), len(r.answers))-1]
		r.mu.Unlock()
		_, _ = r.conn.WriteToUDPAddrPort([]byte(m.answer(answer)), from)
	}
}

// answer is a response to the message. VIA in it makes the parameters of the
// Via, CONTACT repeats the Contact.
func (m message) answer(lines string) string {
	via, contact := m.get("via"), m.get("contact")
	status, headers, _ := strings.Cut(lines, "\r\n")
	if seen, rest, ok := strings.Cut(headers, "VIA"); ok {
		params, after, _ := strings.Cut(rest, "\r\n")
		via = strings.Replace(via, ";rport", params, 1)
		headers = seen + after
	}
	all := []string{
		"SIP/2.0 " + status, "Via: " + via, "From: " + m.get("from"), "To: " + m.get("to") + ";tag=pbx",
		"Call-ID: " + m.get("call-id"), "CSeq: " + m.get("cseq"), "Content-Length: 0",
	}
	if headers = strings.TrimSuffix(headers, "\r\n"); headers != "" {
		all = append(all, strings.ReplaceAll(headers, "CONTACT", contact))
	}
	return strings.Join(all, "\r\n") + "\r\n\r\n"
}

func (r *registrarDouble) addr() netip.AddrPort { return addrPortOf(r.conn.LocalAddr()) }

func (r *registrarDouble) said() ([]message, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message(nil), r.heard...), r.pings
}

// try registers once and returns what was granted.
func (r *registrarDouble) try(t *testing.T) (*binding, []message, error) {
	t.Helper()
	a := Account{Registrar: []Registrar{{"udp", "127.0.0.1", int(r.addr().Port())}}, User: "500", Password: "open sesame"}
	ts := serveAccount(t, a, func(s *Server) {
		hasty(s)
		s.accounts.start = func() {}
	})
	account := ts.accounts.all[0]
	targets, err := account.locate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := account.register(t.Context(), targets[0], wish{expires: 2 * time.Minute}, nil)
	heard, _ := r.said()
	return b, heard, err
}

const (
	challengeMD5    = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", algorithm=MD5, qop=\"auth\""
	challengeStale  = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n2\", stale=true, qop=\"auth\""
	challengeStrong = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n3\", algorithm=AKAv1-MD5, qop=\"auth\"\r\n" +
		"WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n4\", algorithm=SHA-256, qop=\"auth\"\r\n" + challengeMD5
)

func TestRegister(t *testing.T) {
	for name, tt := range map[string]struct {
		answers []string
		granted time.Duration
		last    []string // in the last REGISTER
		err     string
	}{
		"taken as it is":        {answers: []string{"200 OK"}, granted: 2 * time.Minute, last: []string{"Expires: 120", "Contact: <sip:500@127.0.0.1:"}},
		"for a shorter time":    {answers: []string{"200 OK\r\nContact: CONTACT;expires=60"}, granted: time.Minute},
		"Expires for all":       {answers: []string{"200 OK\r\nExpires: 90"}, granted: 90 * time.Second},
		"among other phones":    {answers: []string{"200 OK\r\nContact: <sip:500@127.0.0.9:5060>;expires=7, CONTACT;expires=60, <sip:500@127.0.0.8>;expires=5"}, granted: time.Minute},
		"for a year":            {answers: []string{"200 OK\r\nContact: CONTACT;expires=31536000"}, granted: 2 * time.Minute},
		"for a longer time":     {answers: []string{"423 Interval Too Brief\r\nMin-Expires: 600", "200 OK"}, granted: 10 * time.Minute, last: []string{"Expires: 600"}},
		"no longer than asked":  {answers: []string{"423 Interval Too Brief\r\nMin-Expires: 60"}, err: "the PBX refused: 423 Interval Too Brief"},
		"a password":            {answers: []string{"401 Unauthorized\r\n" + challengeMD5, "200 OK"}, granted: 2 * time.Minute, last: []string{`Authorization: Digest username="500", realm="pbx", nonce="n1", uri="sip:127.0.0.1:`, "CSeq: 2 REGISTER"}},
		"a proxy's password":    {answers: []string{"407 Proxy Authentication Required\r\n" + strings.Replace(challengeMD5, "WWW", "Proxy", 1), "200 OK"}, granted: 2 * time.Minute, last: []string{"Proxy-Authorization: Digest"}},
		"an old nonce":          {answers: []string{"401 Unauthorized\r\n" + challengeMD5, "401 Unauthorized\r\n" + challengeStale, "200 OK"}, granted: 2 * time.Minute, last: []string{`nonce="n2"`}},
		"the first it knows":    {answers: []string{"401 Unauthorized\r\n" + challengeStrong, "200 OK"}, granted: 2 * time.Minute, last: []string{`nonce="n4"`, "algorithm=SHA-256"}},
		"nonces without end":    {answers: []string{"401 Unauthorized\r\n" + challengeStale}, err: "the PBX asks again and again"},
		"a login of the past":   {answers: []string{"401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"pbx\""}, err: "the PBX asks for a login that is not known here"},
		"no challenge":          {answers: []string{"401 Unauthorized"}, err: "the PBX asks for a login that is not known here"},
		"a busy PBX":            {answers: []string{"503 Service Unavailable"}, err: "the PBX is busy or starting; it is asked again (503 Service Unavailable)"},
		"no registrar":          {answers: []string{"405 Method Not Allowed"}, err: "this is no registrar: check the address and the port"},
		"an address outside":    {answers: []string{"401 Unauthorized\r\nVIA;received=198.51.100.7;rport=40000\r\n" + challengeMD5, "200 OK\r\nVIA;received=198.51.100.7;rport=40000\r\n"}, granted: 2 * time.Minute, last: []string{"Contact: <sip:500@198.51.100.7:40000>", "CSeq: 2 REGISTER"}},
		"outside, but taken":    {answers: []string{"200 OK\r\nVIA;received=198.51.100.7;rport=40000\r\n"}, granted: 2 * time.Minute, last: []string{"Contact: <sip:500@198.51.100.7:40000>", ";expires=0", "CSeq: 2 REGISTER"}},
		"an address that turns": {answers: turning(), err: "the PBX asks again and again"},
		"nonsense in the Via":   {answers: []string{"200 OK\r\nVIA;received=pbx;rport=99999\r\n"}, granted: 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, heard, err := newRegistrar(t, "127.0.0.1", tt.answers...).try(t)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || len(heard) > registerTries {
					t.Errorf("got %v after %d requests, want %s", err, len(heard), tt.err)
				}
				return
			}
			if err != nil || b.granted != tt.granted {
				t.Fatalf("got %+v, %v", b, err)
			}
			for _, want := range tt.last {
				if last := heard[len(heard)-1].text; !strings.Contains(last, want) {
					t.Errorf("no %s in\n%s", want, last)
				}
			}
		})
	}
}

// turning is a registrar that sees another address each time.
func turning() (answers []string) {
	for i := range 2 * registerTries {
		answers = append(answers, fmt.Sprintf("200 OK\r\nVIA;received=198.51.100.7;rport=%d\r\n", 40000+i))
	}
	return answers
}

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
			"_sip._udp.pbx.example": {{Target: "a.pbx.example.", Port: 5070}, {Target: "gone.pbx.example.", Port: 5070}, {Target: "b.pbx.example.", Port: 5080}},
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
	for _, text := range []string{"", "sip:pbx.example", "tls://pbx.example", "udp://", "a b", "pbx.example:0", "pbx.example/x", "500@pbx.example"} {
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
		sockets []socket
		peer    string
		want    string // "" for none
	}{
		"loopback":           {[]socket{udp("192.0.2.1"), udp("127.0.0.1")}, "127.0.0.1", "127.0.0.1"},
		"another loopback":   {[]socket{udp("192.0.2.1"), udp("127.0.0.5")}, "127.0.0.1", "127.0.0.5"},
		"the nearest":        {[]socket{udp("127.0.0.5"), udp("127.0.0.1")}, "127.0.0.1", "127.0.0.1"},
		"every address":      {[]socket{udp("::1"), udp("0.0.0.0")}, "127.0.0.1", "0.0.0.0"},
		"both families":      {[]socket{udp("::")}, "127.0.0.1", "::"},
		"the other family":   {[]socket{udp("0.0.0.0")}, "::1", ""},
		"this machine alone": {[]socket{udp("127.0.0.1"), udp("::1")}, "192.0.2.7", ""},
		"no UDP":             {[]socket{{ListenAddress: ListenAddress{"tcp", netip.AddrPortFrom(loopback, 5060)}}}, "127.0.0.1", ""},
	} {
		s, got := &Server{sockets: tt.sockets}, ""
		if found := s.facing(netip.MustParseAddr(tt.peer)); found != nil {
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

// A registrar's answer, whatever is in it, ends in a yes, a no or another try.
func FuzzRegistrarAnswer(f *testing.F) {
	f.Add("401 Unauthorized\r\n" + challengeStrong)
	f.Add("200 OK\r\nContact: <sip:500@127.0.0.1:5060>;expires=60\r\nExpires: 99999999999")
	f.Add("423 Interval Too Brief\r\nMin-Expires: 70000")
	f.Add("200 OK\r\nVIA;received=[::];rport=0\r\n")
	m := parseMessage("REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx;rport\r\nFrom: <sip:500@pbx>;tag=a\r\nTo: <sip:500@pbx>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\nContact: <sip:500@127.0.0.1:5060>\r\n\r\n")
	parser := newParser()
	s := &Server{}
	f.Fuzz(func(t *testing.T, answer string) {
		msg, err := parser.ParseSIP([]byte(m.answer(answer)))
		if err != nil {
			return
		}
		res, ok := msg.(*sipmsg.Response)
		if !ok {
			return
		}
		a := &attempt{
			registration: newRegistration(s, Account{User: "500", Password: "open sesame"}, nil), wish: wish{expires: 2 * time.Minute},
			target: target{Registrar{"udp", "127.0.0.1", 5060}, netip.AddrPortFrom(loopback, 5060)},
		}
		if again, err := a.heed(res); err == nil && again {
			if _, err := a.request(); err != nil && err != errLogin { //nolint:errorlint // returned bare
				t.Error(err)
			}
		}
		if granted := a.granted(res); granted <= 0 {
			t.Errorf("granted %v", granted)
		}
	})
}
