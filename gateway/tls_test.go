package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// certificate writes a certificate that signs itself, and behind it its key,
// and returns the file.
func certificate(t *testing.T, name string, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// secured makes a configuration file listen by TLS too, and know its trunk by
// the certificate alone.
func secured(t *testing.T, path, own, peers string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(
		"tcp://127.0.0.1:0]", fmt.Sprintf("tls://127.0.0.1:0]\n  tls: {certificate: %q, key: %q, client_ca: %q}", own, own, peers),
		"from: [127.0.0.1/32]", "tls_name: phone.example",
	).Replace(string(text))
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCallByCertificate: the test caller and a real phone leave a note over
// TLS, each known by its certificate alone.
func TestCallByCertificate(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	own, peer := certificate(t, "gw.example", time.Now().Add(90*24*time.Hour)), certificate(t, "phone.example", time.Now().Add(90*24*time.Hour))
	path := configFile(t, t.TempDir(), hook.URL, "")
	secured(t, path, own, peer)
	g := startGateway(t, path)
	said := speech(t, 2*time.Second)
	wav := writeWAV(t, said, 8000, 1)

	call := func(more ...string) (string, error) {
		cmd := root()
		var out bytes.Buffer
		cmd.SetArgs(append([]string{"call", fmt.Sprintf("sips:%s@%s", reception, g.address("tls")), "--audio", wav, "--ca", own}, more...))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	if out, err := call(); err == nil || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("without a certificate: %v\n%s", err, out)
	}
	if out, err := call("--certificate", peer, "--key", peer); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sameLength(t, hook.next(t), 2*time.Second)

	t.Run("baresip", func(t *testing.T) {
		peertest.Needs(t, "baresip")
		baresip(t, "pcma/8000/1", wav, fmt.Sprintf("sip:%s@%s;transport=tls", reception, g.address("tls")),
			"sip_certificate "+peer, "sip_cafile "+own, "sip_verify_server yes")
		if n := hook.next(t); n.Data.Kind != "voice" || n.Data.DurationMS < 1000 || n.Data.Partial {
			t.Errorf("%+v", n.Data)
		}
	})
}

func TestCheckReadsTheCertificate(t *testing.T) {
	t.Parallel()
	good, soon, ended := certificate(t, "gw.example", time.Now().Add(90*24*time.Hour)), certificate(t, "gw.example", time.Now().Add(24*time.Hour)), certificate(t, "gw.example", time.Now().Add(-time.Minute))
	for name, tt := range map[string]struct {
		certificate, advertise, want string
		failed                       bool
	}{
		"good":         {good, "gw.example", `ok sip.tls a certificate for ["gw.example" "127.0.0.1"], until 2`, false},
		"another name": {good, "sip.example.com", "warn sip.tls peers are told sip.example.com (sip.advertise), which the certificate does not carry", false},
		"soon":         {soon, "gw.example", "warn sip.tls the certificate ends on 2", false},
		"ended":        {ended, "gw.example", "warn sip.tls the certificate ended on 2", false},
		"unreadable":   {"nowhere.pem", "gw.example", "FAIL sip.tls the certificate ", true},
	} {
		lines, failed := checked(t, t.TempDir(), fmt.Sprintf(
			"sip: {listen: 'tls://127.0.0.1:0', tls: {certificate: %q, key: %q}, advertise: %s, trunks: [{name: pbx, from: 127.0.0.0/8}]}\nhttp: {listen: '127.0.0.1:0'}\n",
			tt.certificate, tt.certificate, tt.advertise))
		if !strings.Contains(lines, tt.want) || !strings.Contains(lines, "ok tls://127.0.0.1:0 free") || failed != tt.failed {
			t.Errorf("%s: want %q, got:\n%s", name, tt.want, lines)
		}
	}
}
