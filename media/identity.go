package media

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha1"   //nolint:gosec // of old peers' fingerprints, see hashFunctions
	_ "crypto/sha256" // of fingerprints
	_ "crypto/sha512" // of fingerprints
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

// identity is the certificate that stands for us in DTLS handshakes. Nobody
// signs it: its fingerprint in the session description vouches for it.
type identity struct {
	certificate tls.Certificate
	fingerprint string // "sha-256 AB:CD:…"
}

// identityLife is longer than any process runs; peers look at the fingerprint.
const identityLife = 10 * 365 * 24 * time.Hour

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // it never fails
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		NotBefore:    now.Add(-24 * time.Hour), // a peer's clock may be slow
		NotAfter:     now.Add(identityLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	sum := digest(crypto.SHA256, raw)
	return &identity{
		certificate: tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key},
		fingerprint: "sha-256 " + colons(sum),
	}, nil
}

// serve begins a handshake that the peer with these fingerprints started.
func (i *identity) serve(conn net.PacketConn, source netip.AddrPort, peer *fingerprints) (*dtls.Conn, error) {
	var profiles []dtls.SRTPProtectionProfile
	for _, s := range suites() {
		profiles = append(profiles, dtls.SRTPProtectionProfile(s.profile))
	}
	return dtls.ServerWithOptions(conn, net.UDPAddrFromAddrPort(source),
		dtls.WithCertificates(i.certificate),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error { return peer.verify(raw) }),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}),
	)
}

// fingerprints are those of the peer's certificates by one hash function, the
// strongest of those given (RFC 8122 §5).
type fingerprints struct {
	hash crypto.Hash
	sums [][]byte
}

// hashFunction is one by its name in a=fingerprint.
type hashFunction struct {
	name string
	hash crypto.Hash
}

// hashFunctions are those taken, the strongest first. SHA-1 still is what some
// phones have; a second preimage of it is out of reach.
func hashFunctions() []hashFunction {
	return []hashFunction{{"sha-512", crypto.SHA512}, {"sha-384", crypto.SHA384}, {"sha-256", crypto.SHA256}, {"sha-1", crypto.SHA1}}
}

// chooseDTLS settles that the keys come by DTLS, if the peer begins it: we
// answer as setup:passive and offer setup:actpass (RFC 5763 §5).
func chooseDTLS(s *secretLines) (*protection, error) {
	if s.setup != "" && s.setup != "actpass" && s.setup != "active" { // RFC 4145 §4: active is the default of an offer
		return nil, fmt.Errorf("a=setup:%.10q is not supported, actpass and active are", s.setup)
	}
	f, err := parseFingerprints(s.fingerprints)
	if err != nil {
		return nil, err
	}
	return &protection{certificates: f}, nil
}

// parseFingerprints reads a=fingerprint lines, "sha-256 AB:CD:…".
func parseFingerprints(lines []string) (*fingerprints, error) {
	for _, s := range hashFunctions() {
		f := &fingerprints{hash: s.hash}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, " ")
			sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(value), ":", ""))
			if strings.EqualFold(name, s.name) && err == nil && len(sum) == s.hash.Size() {
				f.sums = append(f.sums, sum)
			}
		}
		if f.sums != nil {
			return f, nil
		}
	}
	return nil, errors.New("it has no a=fingerprint by sha-256, sha-384, sha-512 or sha-1")
}

// equal says whether two, either of which may be nil, are the same.
func (f *fingerprints) equal(g *fingerprints) bool {
	if f == nil || g == nil {
		return f == g
	}
	return f.hash == g.hash && slices.EqualFunc(f.sums, g.sums, slices.Equal)
}

// verify looks whether the certificate of a handshake is the one announced.
func (f *fingerprints) verify(raw [][]byte) error {
	if len(raw) == 0 {
		return errors.New("the peer shows no certificate")
	}
	got := digest(f.hash, raw[0])
	for _, sum := range f.sums {
		if subtle.ConstantTimeCompare(sum, got) == 1 {
			return nil
		}
	}
	return errors.New("the peer's certificate is not the one in its session description")
}

func digest(h crypto.Hash, b []byte) []byte {
	sum := h.New()
	sum.Write(b)
	return sum.Sum(nil)
}

// colons writes bytes as AB:CD.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = fmt.Sprintf("%02X", b[i])
	}
	return strings.Join(parts, ":")
}
