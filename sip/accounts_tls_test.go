package sip

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// secureRegistrar is a PBX that is spoken to within TLS alone.
type secureRegistrar struct {
	listener net.Listener
	conns    chan net.Conn // that registered
	said     chan message  // all but REGISTER
	pings    chan struct{} // keep-alives
	serving  sync.WaitGroup
}

func newSecureRegistrar(t *testing.T, own pair) *secureRegistrar {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(own.certificate, own.key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	r := &secureRegistrar{listener: l, conns: make(chan net.Conn, 100), said: make(chan message, 100), pings: make(chan struct{}, 1000)}
	r.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.serving.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.serving.Wait()
	})
	return r
}

// serve takes each REGISTER that has a login.
func (r *secureRegistrar) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 65536)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		text := string(buf[:n])
		m := parseMessage(text)
		switch {
		case text == "\r\n\r\n":
			r.pings <- struct{}{}
			_, _ = conn.Write([]byte("\r\n"))
		case !strings.HasPrefix(text, "REGISTER"):
			r.said <- m
		case m.get("authorization") == "":
			_, _ = conn.Write([]byte(m.answer("401 Unauthorized\r\n" + challengeMD5)))
		default:
			_, _ = conn.Write([]byte(m.answer("200 OK\r\nContact: CONTACT\r\nExpires: 3600")))
			r.conns <- conn
		}
	}
}

// account registers there by the name of its certificate.
func (r *secureRegistrar) account(name, ca string) Account {
	port := int(addrPortOf(r.listener.Addr()).Port())
	return Account{Registrar: []Registrar{{"tls", name, port}}, User: "500", Password: "open sesame", Name: "pbx", CA: ca, Expires: time.Hour}
}

// inDNS has names lead to this machine.
func inDNS(s *Server) {
	hasty(s)
	s.pace.answer = patience
	s.dns = records{hosts: map[string][]netip.Addr{"pbx.example": {loopback}, "other.example": {loopback}}}
}

// An account registers within TLS, calls come by its connection, which is kept
// alive, and made anew when it is lost.
func TestAccountByTLS(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	registrar := newSecureRegistrar(t, ca.issue("pbx.example", nil))
	ts := serveAccount(t, registrar.account("pbx.example", ca.file), inDNS)
	s := ts.standing(t, "registered", registered)
	if s.Registrar != registrar.listener.Addr().String() {
		t.Errorf("registered at %s", s.Registrar)
	}
	conn := next(t, registrar.conns, "a registration")
	next(t, registrar.pings, "a keep-alive")

	invite := strings.Join([]string{
		"INVITE sip:500@127.0.0.1 SIP/2.0", "Via: SIP/2.0/TLS pbx.example;branch=z9hG4bK" + newBranch(),
		"From: <sip:101@pbx.example>;tag=1", "To: <sip:500@pbx.example>", "Call-ID: " + newBranch(), "CSeq: 1 INVITE",
		"Contact: <sip:pbx.example;transport=tls>", "Max-Forwards: 70", "Content-Type: application/sdp",
		"Content-Length: " + strconv.Itoa(len(testOffer)), "", testOffer,
	}, "\r\n")
	if _, err := conn.Write([]byte(invite)); err != nil {
		t.Fatal(err)
	}
	if call := ts.call(t); call.Trunk.Name != "pbx" {
		t.Errorf("by trunk %s", call.Trunk.Name)
	}
	answer := next(t, registrar.said, "an answer")
	for !strings.HasPrefix(answer.text, "SIP/2.0 200") {
		answer = next(t, registrar.said, "a 200")
	}
	within := strings.NewReplacer("To: <sip:500@pbx.example>", "To: "+answer.get("to"), "application/sdp", "text/plain", testOffer, "",
		"Content-Length: "+strconv.Itoa(len(testOffer)), "Content-Length: 0").Replace(invite)
	ack := strings.ReplaceAll(within, "INVITE", "ACK")
	bye := strings.NewReplacer("1 INVITE", "2 BYE", "INVITE", "BYE", "z9hG4bK", "z9hG4bKbye").Replace(within)
	if _, err := conn.Write([]byte(ack + bye)); err != nil {
		t.Fatal(err)
	}
	ts.ended(t, ErrCallerHungUp)

	_ = conn.Close()
	again := next(t, registrar.conns, "a registration after the connection was lost")
	if again == conn {
		t.Error("by the connection that was lost")
	}
}

// Only the registrar that the file names hears the account.
func TestAccountDistrusts(t *testing.T) {
	t.Parallel()
	ca, stranger := newTestCA(t), newTestCA(t)
	right := ca.issue("pbx.example", nil)
	const mend = "write the registrar as its certificate names it, and set ca"
	for name, tt := range map[string]struct {
		shown    pair
		host, ca string
		want     string // "" for success
	}{
		"the right one":   {right, "pbx.example", ca.file, ""},
		"another name":    {right, "other.example", ca.file, mend},
		"an address":      {right, "127.0.0.1", ca.file, mend},
		"a stranger's CA": {stranger.issue("pbx.example", nil), "pbx.example", ca.file, mend},
		"no ca":           {right, "pbx.example", "", mend},
		"ended": {ca.issue("ended", func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"pbx.example"}, time.Now().Add(-time.Minute)
		}), "pbx.example", ca.file, mend},
		"a ca that is not there": {right, "pbx.example", "nowhere.pem", "ca: open nowhere.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registrar := newSecureRegistrar(t, tt.shown)
			ts := serveAccount(t, registrar.account(tt.host, tt.ca), inDNS)
			if tt.want == "" {
				ts.standing(t, "registered", registered)
				return
			}
			s := ts.standing(t, "refused", func(s AccountStatus) bool { return s.Err != nil })
			if !strings.Contains(s.Err.Error(), tt.want) || s.Registered || len(registrar.conns) > 0 {
				t.Errorf("got %v, want %q", s.Err, tt.want)
			}
		})
	}
}
