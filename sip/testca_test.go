package sip

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// testCA is a CA that signs the certificates of a test.
type testCA struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	a := &testCA{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = filepath.Join(a.dir, "ca.pem")
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pair are the files of a certificate and its key.
type pair struct{ certificate, key string }

// issue signs a certificate for servers, as public CAs do; change makes it
// another.
func (a *testCA) issue(name string, change func(*x509.Certificate)) pair {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	p := pair{filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")}
	writePEM(a.t, p.certificate, "CERTIFICATE", der)
	writePEM(a.t, p.key, "PRIVATE KEY", secret)
	return p
}

// gateway issues what the server of a test shows.
func (a *testCA) gateway() pair {
	return a.issue("gw.example", func(c *x509.Certificate) {
		c.DNSNames = append(c.DNSNames, "localhost")
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	})
}

// securely are the options of a server on all networks but UDP. Its trunks are
// pbx at 127.0.0.1, sbc by the name sbc.example from anywhere, and near by a
// name from 127.0.0.2.
func (a *testCA) securely() Options {
	free := netip.AddrPortFrom(loopback, 0)
	own := a.gateway()
	return Options{
		Listen: []ListenAddress{{"tcp", free}, {"tls", free}, {"ws", free}, {"wss", free}},
		TLS:    TLS{Certificate: own.certificate, Key: own.key, ClientCA: a.file},
		Trunks: []Trunk{
			{Name: "pbx", From: prefixes("127.0.0.1/32")},
			{Name: "sbc", TLSName: []string{"SBC.example", "other.example"}},
			{Name: "near", From: prefixes("127.0.0.2/32"), TLSName: []string{"near.example"}},
		},
	}
}

// dialTLS connects from an address and shakes hands; own may be empty.
func (a *testCA) dialTLS(ts *testServer, network, from string, own pair) (*tls.Conn, error) {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	config := &tls.Config{RootCAs: roots, ServerName: "gw.example", MinVersion: tls.VersionTLS12}
	if own.certificate != "" {
		shown, err := tls.LoadX509KeyPair(own.certificate, own.key)
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{shown}
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}, Config: config}
	conn, err := dialer.DialContext(a.t.Context(), "tcp", ts.addr(network).String())
	if err != nil {
		return nil, err
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*tls.Conn), conn.SetDeadline(time.Now().Add(patience))
}
