package sip

import (
	"fmt"
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
		s.pace.answer, s.pace.leave = patience, patience
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
		"a login of the past":   {answers: []string{"401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"pbx\""}, err: "the peer asks for a login that is not known here"},
		"no challenge":          {answers: []string{"401 Unauthorized"}, err: "the peer asks for a login that is not known here"},
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
			if _, err := a.request(); err != nil && err != errScheme { //nolint:errorlint // returned bare
				t.Error(err)
			}
		}
		if granted := a.granted(res); granted <= 0 {
			t.Errorf("granted %v", granted)
		}
	})
}
