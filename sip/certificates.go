package sip

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// keyring is what the files of TLS hold.
type keyring struct {
	own     tls.Certificate
	clients *x509.CertPool // nil without a client_ca
}

// readKeyring reads the files. Its errors name the setting to mend.
func readKeyring(o TLS) (*keyring, error) {
	own, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
	if err != nil {
		return nil, fmt.Errorf("sip.tls: the certificate %s and its key %s cannot be used: %w", o.Certificate, o.Key, err)
	}
	k := &keyring{own: own}
	if o.ClientCA == "" {
		return k, nil
	}
	if k.clients, err = readPool(x509.NewCertPool(), o.ClientCA); err != nil {
		return nil, fmt.Errorf("sip.tls.client_ca: %w", err)
	}
	return k, nil
}

// readPool adds the certificates of a PEM file to a pool.
func readPool(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----", file)
	}
	return pool, nil
}

// expiresSoon is how long before its end a certificate is called about to
// expire: renewal by ACME begins 30 days before.
const expiresSoon = 14 * 24 * time.Hour

// lookAgain is how long the files are taken to be as they were.
const lookAgain = time.Second

// certificates are the files of TLS, read again when they have changed: a
// certificate that is renewed needs no restart, and ends no connection.
type certificates struct {
	files TLS
	log   *slog.Logger
	keys  atomic.Pointer[keyring]

	mu     sync.Mutex // held by the one handshake that looks at the files; others go on with what was read
	looked time.Time
	was    [3]fs.FileInfo // of what was read; nil when it is to be read again
	failed bool           // and said so
}

// openCertificates reads the files for the first time.
func openCertificates(files TLS, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, log: log, looked: time.Now(), was: stat(files)}
	keys, err := readKeyring(files)
	if err != nil {
		return nil, err
	}
	c.take(keys)
	return c, nil
}

// take makes the keys those of every handshake from now on.
func (c *certificates) take(keys *keyring) {
	c.keys.Store(keys)
	left := time.Until(keys.own.Leaf.NotAfter)
	if left < expiresSoon {
		c.log.Warn("the certificate of sip.tls ends soon or has ended; renew it", "not_after", keys.own.Leaf.NotAfter)
		return
	}
	c.log.Info("certificate read", "not_after", keys.own.Leaf.NotAfter)
}

// current is what the files hold. When they cannot be read, what they held
// stays, and they are tried again.
func (c *certificates) current() *keyring {
	if c.mu.TryLock() {
		c.look()
		c.mu.Unlock()
	}
	return c.keys.Load()
}

// look reads the files if one has changed. Of a certificate and a key that are
// renewed one after the other, the pair counts once both are there.
func (c *certificates) look() {
	if time.Since(c.looked) < lookAgain {
		return
	}
	c.looked = time.Now()
	is := stat(c.files)
	if same(c.was, is) {
		return
	}
	keys, err := readKeyring(c.files)
	if err != nil {
		if !c.failed {
			c.log.Warn("the certificate cannot be read again; the one read before stays", "error", err)
		}
		c.failed = true
		return
	}
	c.was, c.failed = is, false
	c.take(keys)
}

// stat looks at the three files. One that is not there is nil.
func stat(files TLS) (is [3]fs.FileInfo) {
	for i, file := range []string{files.Certificate, files.Key, files.ClientCA} {
		if info, err := os.Stat(file); err == nil {
			is[i] = info
		}
	}
	return is
}

// same says that the files are as they were.
func same(was, is [3]fs.FileInfo) bool {
	for i := range was {
		if was[i] == nil || is[i] == nil {
			if was[i] != is[i] {
				return false
			}
			continue
		}
		if !os.SameFile(was[i], is[i]) || !was[i].ModTime().Equal(is[i].ModTime()) || was[i].Size() != is[i].Size() {
			return false
		}
	}
	return true
}

// forPeers is the configuration of one handshake with a peer that connected.
// It is asked for a certificate, not for one of certain CAs, which would tell
// anybody whom the gateway trusts; verify says whether what it showed will do.
// Nothing is resumed: each connection shows its certificate anew.
func (c *certificates) forPeers(verify func(tls.ConnectionState) error) *tls.Config {
	keys := c.current()
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{keys.own},
		SessionTicketsDisabled: true, VerifyConnection: verify,
	}
	if keys.clients != nil {
		config.ClientAuth = tls.RequestClientCert
	}
	return config
}

// names verifies the certificate that a peer showed and returns the names it
// carries. It may be meant for servers alone (its extended key usage): SIP
// domains have one certificate, whoever connects, and public CAs sign no other.
func (c *certificates) names(shown []*x509.Certificate) ([]string, error) {
	clients := c.keys.Load().clients
	if len(shown) == 0 || clients == nil {
		return nil, errNoCertificate
	}
	between := x509.NewCertPool()
	for _, cert := range shown[1:] {
		between.AddCert(cert)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: clients, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("its certificate does not pass sip.tls.client_ca: %w", err)
	}
	return domains(shown[0]), nil
}

// systemRoots are the CAs that may vouch for servers: the system's and those of
// a file; "" for none more.
func systemRoots(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil { // a machine without any
		pool = x509.NewCertPool()
	}
	if file == "" {
		return pool, nil
	}
	return readPool(pool, file)
}

// InspectTLS reads the files of sip.tls as Listen does. An error keeps Listen
// from starting; mend is what peers will stumble over; about says what the
// certificate is for and how long.
func InspectTLS(o Options, now time.Time) (about string, mend []string, err error) {
	keys, err := readKeyring(o.TLS)
	if err != nil {
		return "", nil, err
	}
	own := keys.own.Leaf
	switch {
	case now.After(own.NotAfter):
		mend = append(mend, fmt.Sprintf("the certificate ended on %s: renew it", day(own.NotAfter)))
	case now.Before(own.NotBefore):
		mend = append(mend, fmt.Sprintf("the certificate begins on %s: is this machine's clock right?", day(own.NotBefore)))
	case own.NotAfter.Sub(now) < expiresSoon:
		mend = append(mend, fmt.Sprintf("the certificate ends on %s: renew it", day(own.NotAfter)))
	}
	if told, err := parseAdvertised(o.Advertise); err == nil && told.host != "" {
		if err := own.VerifyHostname(told.host); err != nil {
			mend = append(mend, fmt.Sprintf("peers are told %s (sip.advertise), which the certificate does not carry: %v", told.host, err))
		}
	}
	if info, err := os.Stat(o.TLS.Key); err == nil && info.Mode().Perm()&0o004 != 0 {
		mend = append(mend, fmt.Sprintf("everybody on this machine can read the private key: chmod 600 %s", o.TLS.Key))
	}
	return fmt.Sprintf("%q, until %s", append(domains(own), addressesOf(own)...), day(own.NotAfter)), mend, nil
}

// addressesOf are the IP addresses a certificate carries.
func addressesOf(cert *x509.Certificate) (all []string) {
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// day is a date as people write it.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
