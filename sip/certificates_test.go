package sip

import (
	"bytes"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// renewals is a server whose files are looked at for each handshake.
func renewals(t *testing.T, o Options) (*testServer, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	ts := serveOptions(t, o, func(s *Server) {
		s.certificates.log = slog.New(slog.NewTextHandler(&log, nil))
	}, nil)
	return ts, &log
}

// TestCertificateRenewed: a new certificate is shown from the next handshake
// on, connections stay, and what cannot be read changes nothing.
func TestCertificateRenewed(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	o := ca.securely()
	ts, log := renewals(t, o)
	shown := func() string {
		t.Helper()
		ts.certificates.mu.Lock()
		ts.certificates.looked = time.Time{}
		ts.certificates.mu.Unlock()
		conn, err := ca.dialTLS(ts, "tls", "127.0.0.1", pair{})
		if err != nil {
			t.Fatal(err)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	replace := func(file, by string) {
		t.Helper()
		if err := os.Rename(by, file); err != nil {
			t.Fatal(err)
		}
	}
	standing, err := ca.dialTLS(ts, "tls", "127.0.0.1", pair{})
	if err != nil {
		t.Fatal(err)
	}
	first := shown()
	if again := shown(); again != first {
		t.Errorf("it changed by itself: %s, then %s", first, again)
	}

	next := ca.issue("next", func(c *x509.Certificate) { c.DNSNames = []string{"gw.example"} })
	replace(o.TLS.Certificate, next.certificate)
	if half := shown(); half != first {
		t.Errorf("half renewed it shows %s", half)
	}
	replace(o.TLS.Key, next.key)
	second := shown()
	if second == first {
		t.Error("the new certificate is not shown")
	}
	_ = standing.SetDeadline(time.Now().Add(patience))
	if got := asks(t, standing, "TLS"); got != "SIP/2.0 200 OK" {
		t.Errorf("the connection from before: %q", got)
	}
	if err := os.Remove(o.TLS.Certificate); err != nil {
		t.Fatal(err)
	}
	if without := shown(); without != second {
		t.Errorf("without a file it shows %s", without)
	}
	_ = shown()
	if said := strings.Count(log.String(), "level=WARN"); said != 2 { // half renewed, and gone
		t.Errorf("%d warnings:\n%s", said, log)
	}
}

// TestClientCARenewed: who may come in follows client_ca.
func TestClientCARenewed(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	o := ca.securely()
	ts, _ := renewals(t, o)
	peer := other.issue("sbc.example", nil)
	told := func() string {
		ts.certificates.mu.Lock()
		ts.certificates.looked = time.Time{}
		ts.certificates.mu.Unlock()
		conn, err := ca.dialTLS(ts, "tls", "127.0.0.9", peer)
		if err != nil {
			return ""
		}
		return asks(t, conn, "TLS")
	}
	if got := told(); got != "" {
		t.Errorf("before: %q", got)
	}
	both, err := os.ReadFile(other.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.TLS.ClientCA, both, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != "SIP/2.0 200 OK" {
		t.Errorf("after: %q", got)
	}
}

func TestDomains(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	named := x509.Certificate{}
	named.Subject.CommonName = "common.example"
	for name, tt := range map[string]struct {
		change func(*x509.Certificate)
		want   []string
	}{
		"a common name alone":       {func(*x509.Certificate) {}, []string{"common.example"}},
		"DNS names":                 {func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "*.b.example"} }, []string{"a.example", "*.b.example"}},
		"a SIP URI goes before DNS": {func(c *x509.Certificate) { c.URIs, c.DNSNames = []*url.URL{uri("sip:c.example:5061")}, []string{"a"} }, []string{"c.example"}},
		"a user is no domain": {func(c *x509.Certificate) {
			c.URIs, c.DNSNames = []*url.URL{uri("sip:bob@c.example"), uri("sips:d.example"), uri("https://e.example")}, []string{"a"}
		}, []string{"a"}},
		"another alternative name": {func(c *x509.Certificate) { c.URIs = []*url.URL{uri("https://e.example")} }, nil},
		"an address":               {func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }, nil},
	} {
		cert := named
		tt.change(&cert)
		if got := domains(&cert); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestInspectTLS(t *testing.T) {
	ca := newTestCA(t)
	own := ca.gateway()
	files := TLS{Certificate: own.certificate, Key: own.key, ClientCA: ca.file}
	open := ca.issue("open.example", nil)
	if err := os.Chmod(open.key, 0o644); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		files     TLS
		advertise string
		now       time.Time
		mend      []string // what each says
		err       string
	}{
		"all is well":     {files, "gw.example:5061", now, nil, ""},
		"by address":      {files, "127.0.0.1", now, nil, ""},
		"another name":    {files, "sip.example.com", now, []string{"peers are told sip.example.com (sip.advertise), which the certificate does not carry"}, ""},
		"another address": {files, "198.51.100.7", now, []string{"peers are told 198.51.100.7"}, ""},
		"about to end":    {files, "", now.Add(80 * 24 * time.Hour), []string{"renew it"}, ""},
		"ended":           {files, "", now.Add(91 * 24 * time.Hour), []string{"the certificate ended on"}, ""},
		"not begun":       {files, "", now.Add(-2 * time.Hour), []string{"clock"}, ""},
		"a public key":    {TLS{Certificate: open.certificate, Key: open.key}, "", now, []string{"chmod 600"}, ""},
		"no file":         {TLS{Certificate: "none.pem", Key: own.key}, "", now, nil, "no such file"},
		"another key":     {TLS{Certificate: own.certificate, Key: open.key}, "", now, nil, "does not match"},
		"no certificate":  {TLS{Certificate: own.key, Key: own.key}, "", now, nil, "sip.tls: the certificate"},
		"no CA":           {TLS{Certificate: own.certificate, Key: own.key, ClientCA: own.key}, "", now, nil, "sip.tls.client_ca: "},
		"no CA file":      {TLS{Certificate: own.certificate, Key: own.key, ClientCA: "none.pem"}, "", now, nil, "sip.tls.client_ca: "},
	} {
		about, mend, err := InspectTLS(Options{TLS: tt.files, Advertise: tt.advertise}, tt.now)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
		case err != nil || !strings.Contains(about, ".example") || len(mend) != len(tt.mend) || len(mend) == 1 && !strings.Contains(mend[0], tt.mend[0]):
			t.Errorf("%s: %q %q, %v; want %q", name, about, mend, err, tt.mend)
		}
	}
}

func TestValidateTLS(t *testing.T) {
	tls := ListenAddress{"tls", netip.AddrPortFrom(loopback, 5061)}
	files := TLS{Certificate: "c", Key: "k", ClientCA: "a"}
	sbc := []Trunk{{Name: "sbc", TLSName: []string{"sbc.example", "*.sbc.example"}}}
	for name, tt := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"all":              {func(o *Options) { o.Listen, o.TLS, o.Trunks = []ListenAddress{tls}, files, sbc }, nil},
		"no certificate":   {func(o *Options) { o.Listen = []ListenAddress{tls} }, []string{"tls.certificate"}},
		"no key":           {func(o *Options) { o.TLS.Certificate = "c" }, []string{"tls.key"}},
		"a key alone":      {func(o *Options) { o.TLS.Key = "k" }, []string{"tls.certificate"}},
		"not heard by TLS": {func(o *Options) { o.TLS, o.Trunks = files, sbc[:1] }, []string{"trunks[0].tls_name[0]", "trunks[0].tls_name[1]"}},
		"no CA": {func(o *Options) {
			o.Listen, o.TLS, o.Trunks = []ListenAddress{tls}, TLS{Certificate: "c", Key: "k"}, []Trunk{{Name: "a", TLSName: []string{"a"}}}
		}, []string{"trunks[0].tls_name[0]"}},
		"no name": {func(o *Options) {
			o.Listen, o.TLS, o.Trunks = []ListenAddress{tls}, files, []Trunk{{Name: "a", TLSName: []string{"sip:a"}}, {Name: "b", TLSName: []string{""}}}
		}, []string{"trunks[0].tls_name[0]", "trunks[1].tls_name[0]"}},
		"a name twice": {func(o *Options) {
			o.Listen, o.TLS, o.Trunks = []ListenAddress{tls}, files, append(slices.Clone(sbc), Trunk{Name: "b", TLSName: []string{"SBC.example"}})
		}, []string{"trunks[1].tls_name[0]"}},
		"an address of two, told apart": {func(o *Options) {
			o.Listen, o.TLS = []ListenAddress{tls}, files
			o.Trunks = []Trunk{{Name: "a", From: prefixes("10.0.0.0/8")}, {Name: "b", From: prefixes("10.0.0.0/8"), TLSName: []string{"b"}}}
		}, nil},
		"origins":    {func(o *Options) { o.Origins = []string{"https://a.example", "http://localhost:8080"} }, nil},
		"no origins": {func(o *Options) { o.Origins = []string{"a.example", "https://a.example/", "*"} }, []string{"origins[0]", "origins[1]", "origins[2]"}},
	} {
		o := DefaultOptions()
		tt.change(&o)
		var got []string
		if joined, ok := o.Validate().(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				s, _ := errors.AsType[*settingError](err)
				got = append(got, s.key)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
