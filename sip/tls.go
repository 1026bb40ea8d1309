package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// TLS is the `sip.tls` part of the configuration file: PEM files.
type TLS struct {
	Certificate string `yaml:"certificate" path:"true" help:"this gateway's certificate, and behind it those that lead to its CA (PEM); needed for tls:// and wss://"`
	Key         string `yaml:"key" path:"true" help:"the certificate's private key (PEM)"`
	ClientCA    string `yaml:"client_ca" path:"true" help:"the certificates (PEM) that may sign those of trunks with a tls_name"`
}

// validateTLS finds what TLS and WebSocket lack.
func (o Options) validateTLS(wrong *mistakes) {
	secure := slices.ContainsFunc(o.Listen, ListenAddress.Secure)
	if needed := secure || o.TLS != (TLS{}); needed && o.TLS.Certificate == "" {
		wrong.add("tls.certificate", "expected the file of this gateway's certificate (PEM), which tls:// and wss:// show")
	} else if needed && o.TLS.Key == "" {
		wrong.add("tls.key", "expected the file of the certificate's private key (PEM)")
	}
	first := map[string]int{}
	for i, t := range o.Trunks {
		for j, name := range t.TLSName {
			key := fmt.Sprintf("trunks[%d].tls_name[%d]", i, j)
			other, taken := first[strings.ToLower(name)]
			first[strings.ToLower(name)] = i
			switch {
			case !isDomain(strings.TrimPrefix(name, "*.")):
				wrong.add(key, "expected a name as certificates carry it, like sbc.carrier.example, not %q", name)
			case taken:
				wrong.add(key, "%s stands in trunks[%d] already; a call belongs to one trunk", name, other)
			case !secure:
				wrong.add(key, "certificates are shown over TLS alone: add tls:// or wss:// to sip.listen")
			case o.TLS.ClientCA == "":
				wrong.add(key, "whose signature counts? set sip.tls.client_ca to the CA's certificate (PEM)")
			}
		}
	}
	for i, origin := range o.Origins {
		if u, err := url.Parse(origin); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			wrong.add(fmt.Sprintf("origins[%d]", i), "expected the beginning of a web page's address, like https://phone.example.com, not %q", origin)
		}
	}
}

// Why a TLS peer is turned away; the causes stand in the log.
var (
	errNoCertificate = errors.New("it showed no certificate")
	errNoTrunkName   = errors.New("its certificate names no trunk's tls_name")
	errTooMany       = errors.New("too many connections stand")
	errTwin          = errors.New("another connection comes from the same port")
)

// openTLS reads the files, where the file names them, and returns how servers
// are connected to.
func (s *Server) openTLS(o TLS) (*tls.Config, error) {
	if o.Certificate == "" {
		return sendTLS(nil, nil), nil
	}
	var err error
	if s.certificates, err = openCertificates(o, s.log); err != nil {
		return nil, err
	}
	roots, err := systemRoots(o.ClientCA) // read at the start alone
	if err != nil {
		return nil, fmt.Errorf("sip.tls.client_ca: %w", err)
	}
	return sendTLS(roots, func() *tls.Certificate { return &s.certificates.current().own }), nil
}

// secure does the TLS handshake with a peer and finds its trunk. A peer of no
// trunk fails in the handshake, before it could say a word of SIP.
func (s *Server) secure(ctx context.Context, n network, conn *filterConn) (net.Conn, error) {
	var names []string
	secured := tls.Server(conn, s.certificates.forPeers(func(c tls.ConnectionState) (err error) {
		names, err = s.identify(conn, c.PeerCertificates)
		return err
	}))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	id := connIDOf(n.name, conn)
	if !s.secured.add(id, names) {
		return nil, errTwin
	}
	if !conn.prove(s.proven, func() { s.secured.remove(id) }) {
		s.secured.remove(id)
		s.drops.connections.Add(1)
		return nil, errTooMany
	}
	return &secureConn{secured}, nil
}

// identify returns the names of a TLS peer's certificate, by which, or else by
// its address, it is a trunk's.
func (s *Server) identify(conn *filterConn, shown []*x509.Certificate) ([]string, error) {
	names, err := s.certificates.names(shown)
	if s.trunkNamed(conn.source, names) != nil {
		return names, nil
	}
	if err == nil {
		err = fmt.Errorf("%w: it carries %q", errNoTrunkName, names)
	}
	return nil, err
}

// secureConn is a TLS connection of which sipgo reads.
type secureConn struct{ *tls.Conn }

// Read takes a connection that ends without TLS saying so for one that ends:
// most peers hang up like that.
func (c *secureConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, ended(err)
}

// sendTLS is how this side speaks to a TLS server: with the given certificate,
// where it is asked for one, to servers that the system or one more CA vouches
// for. roots and own may be nil.
func sendTLS(roots *x509.CertPool, own func() *tls.Certificate) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if own != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own(), nil }
	}
	return config
}
