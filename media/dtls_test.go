package media

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha1"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// offerDTLS is an offer of G.711 with the keys by DTLS.
func (p *phone) offerDTLS(fingerprint string, attributes ...string) []byte {
	lines := append([]string{"a=setup:actpass", "a=fingerprint:" + fingerprint}, attributes...)
	return bytes.Replace(p.offer("0 8", lines...), []byte("RTP/AVP"), []byte("UDP/TLS/RTP/SAVPF"), 1)
}

func newTestIdentity(t *testing.T) *identity {
	t.Helper()
	i, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// openDTLS makes a leg that takes the phone's offer by this fingerprint.
func (p *phone) openDTLS(e *Engine, fingerprint string) *Leg {
	p.t.Helper()
	l, err := e.Open(p.offerDTLS(fingerprint), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	closeAfter(p.t, l)
	p.to = l.socket.addr
	return l
}

// shake does a DTLS handshake as a phone does, and then encrypts. The
// connection reads what comes to the phone until it is closed.
func (p *phone) shake(l *Leg, i *identity, profiles ...dtls.SRTPProtectionProfile) error {
	p.t.Helper()
	answer, err := parseDescription(l.Description())
	if err != nil {
		p.t.Fatal(err)
	}
	gateway, err := parseFingerprints(answer[0].secrets.fingerprints)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, l.Description())
	}
	if profiles == nil {
		profiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}
	}
	var socket net.PacketConn = lasting{p.conn}
	if p.loses != nil {
		socket = lossy{socket, p.loses}
	}
	conn, err := dtls.ClientWithOptions(socket, net.UDPAddrFromAddrPort(p.to),
		dtls.WithCertificates(i.certificate), dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithInsecureSkipVerify(true), // the fingerprint is looked at
		dtls.WithVerifyConnection(func(s *dtls.State) error { return gateway.verify(s.PeerCertificates) }))
	if err != nil {
		p.t.Fatal(err)
	}
	closeAfter(p.t, conn)
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	k, err := keysOf(conn) // as the server has them
	if err != nil {
		return err
	}
	p.lock(k.theirs)
	return nil
}

// lasting is a phone's socket, which outlives a handshake.
type lasting struct{ *net.UDPConn }

func (lasting) Close() error { return nil }

// lossy loses what it is told to.
type lossy struct {
	net.PacketConn
	loses func(packet []byte) bool
}

func (l lossy) ReadFrom(b []byte) (n int, source net.Addr, err error) {
	for {
		if n, source, err = l.PacketConn.ReadFrom(b); err != nil || !l.loses(b[:n]) {
			return n, source, err
		}
	}
}

// TestDTLSLosesTheEnd loses the last flight, after which we have keys and the
// phone has none: it asks again, and gets it.
func TestDTLSLosesTheEnd(t *testing.T) {
	t.Parallel()
	p, i := newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
	lost := 0
	p.loses = func(packet []byte) bool {
		end := packet[0] == 20 || lost > 0 // ChangeCipherSpec and what follows it
		if end {
			lost++
		}
		return end && lost <= 2
	}
	l := p.openDTLS(newTestEngine(t, nil), i.fingerprint)
	var tape memoryTape
	r := record(t, l, &tape)
	if err := p.shake(l, i); err != nil {
		t.Fatal(err)
	}
	if lost < 2 {
		t.Errorf("%d packets were lost", lost)
	}
	p.send(0, 5)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 5)
}

// TestDTLS makes keys for each suite by a handshake with a phone.
func TestDTLS(t *testing.T) {
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			p, i := newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
			l := p.openDTLS(newTestEngine(t, required), i.fingerprint)
			var tape memoryTape
			r := record(t, l, &tape)
			if err := p.shake(l, i, dtls.SRTPProtectionProfile(s.profile)); err != nil {
				t.Fatal(err)
			}
			p.send(0, 10)
			eventually(t, "the caller", arrived(l, 10))
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			tape.wantAudio(t, 10)
			if got := l.Stats(); got.Encryption != s.name || got.Foreign+got.Invalid != 0 {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

// TestDTLSRefuses has a phone show another certificate than it announced, want
// no SRTP, and call from where nobody expects it.
func TestDTLSRefuses(t *testing.T) {
	t.Run("another certificate", func(t *testing.T) {
		p := newPhone(t, "127.0.0.1:0")
		l := p.openDTLS(newTestEngine(t, nil), newTestIdentity(t).fingerprint)
		r := record(t, l, discard{})
		if err := p.shake(l, newTestIdentity(t)); err == nil {
			t.Error("the handshake was served")
		}
		p.send(0, 3)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Packets != 0 || s.Encryption != "" {
			t.Errorf("stats %+v", s)
		}
	})
	t.Run("a stranger", func(t *testing.T) {
		p, i := newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
		l := p.openDTLS(newTestEngine(t, nil), i.fingerprint)
		r := record(t, l, discard{})
		stranger := newPhone(t, "127.9.9.9:0")
		stranger.to = p.to
		stranger.sendRaw(clientHello())
		eventually(t, "the stranger is counted", func() bool { return l.Stats().Foreign == 1 })
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// clientHello is the beginning of one, as far as anybody looks before a
// handshake.
func clientHello() []byte {
	return append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1}, make([]byte, 11)...)
}

// TestDTLSAgain has the phone move by re-INVITE and begin anew, with the same
// certificate and with another, while the packets of before still come; and
// begin anew where it is, as after a restart.
func TestDTLSAgain(t *testing.T) {
	t.Parallel()
	p, i := newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
	l := p.openDTLS(newTestEngine(t, nil), i.fingerprint)
	var tape memoryTape
	r := record(t, l, &tape)
	n := uint64(0)
	say := func() {
		t.Helper()
		p.send(0, 5)
		n += 5
		eventually(t, "the caller", arrived(l, n))
	}
	shake := func() {
		t.Helper()
		if err := p.shake(l, i); err != nil {
			t.Fatal(err)
		}
		say()
	}
	shake()
	for _, next := range []*identity{i, newTestIdentity(t)} {
		p.conn = newPhone(t, peertest.Address(t).String()).conn // a port that nobody else takes when it is closed
		answer, err := l.Negotiate(p.offerDTLS(next.fingerprint))
		if err != nil || !strings.Contains(string(answer), "a=setup:passive\r\n") {
			t.Fatalf("%v\n%s", err, answer)
		}
		say() // by the keys of before
		i = next
		shake()
	}
	time.Sleep(associationRest)
	at := p.addr().String()
	_ = p.conn.Close()
	p.conn = newPhone(t, at).conn
	shake()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, int(n))
}

// TestEarlyPackets come before their keys do, and are heard all the same.
func TestEarlyPackets(t *testing.T) {
	p, i := newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
	l := p.openDTLS(newTestEngine(t, nil), i.fingerprint)
	var tape memoryTape
	r := newRecorder(l, &tape)
	key := testMaster(cm80(), 1)
	p.lock(key)
	p.send(0, 2*earlyPackets)
	came := 0
	eventually(t, "what is early", func() bool {
		n, _ := r.read(time.Now())
		came += n
		return came == 2*earlyPackets
	})
	l.secured.Store(&secured{peer: l.agreed.Load().protected.certificates, ours: key, theirs: key})
	if _, err := r.read(time.Now()); err != nil {
		t.Fatal(err)
	}
	r.flush(time.Now())
	tape.wantAudio(t, earlyPackets)
}

// TestHandshakesAtOnce has others of the trunk fill the places, which the
// caller's does not wait for.
func TestHandshakesAtOnce(t *testing.T) {
	p, i := newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
	l := p.openDTLS(newTestEngine(t, nil), i.fingerprint)
	r := record(t, l, discard{})
	for range 3 * handshakesAtOnce {
		other := newPhone(t, "127.0.0.1:0")
		other.to = p.to
		other.sendRaw(clientHello())
	}
	if err := p.shake(l, i); err != nil {
		t.Fatal(err)
	}
	p.send(0, 1)
	eventually(t, "the caller", arrived(l, 1))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestManyCertificates has a phone behind NAT come with one certificate after
// the other: handshakes by those of before hold up none by the last.
func TestManyCertificates(t *testing.T) {
	t.Parallel()
	p, named, i := newPhone(t, "127.0.0.1:0"), newPhone(t, "127.0.0.1:0"), newTestIdentity(t)
	l := p.openDTLS(newTestEngine(t, nil), i.fingerprint)
	r := record(t, l, discard{})
	for n := range handshakesAtOnce + 2 {
		i = newTestIdentity(t)
		if _, err := l.Negotiate(named.offerDTLS(i.fingerprint)); err != nil {
			t.Fatal(err)
		}
		p.conn = newPhone(t, "127.0.0.1:0").conn
		if err := p.shake(l, i); err != nil {
			t.Fatalf("certificate %d: %v", n+1, err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestFingerprints(t *testing.T) {
	raw := [][]byte{[]byte("a certificate")}
	sum := sha1.Sum(raw[0])
	good1, good256 := "sha-1 "+colons(sum[:]), "SHA-256 "+strings.ToLower(colons(digest(crypto.SHA256, raw[0])))
	bad256 := "sha-256 " + strings.Repeat("00:", 31) + "00"
	for name, tt := range map[string]struct {
		lines    []string
		ok, same bool
	}{
		"none":                  {nil, false, false},
		"of no known hash":      {[]string{"md5 00:11"}, false, false},
		"cut":                   {[]string{good256[:40]}, false, false},
		"no hex":                {[]string{"sha-256 " + strings.Repeat("XX:", 32)}, false, false},
		"sha-256":               {[]string{good256}, true, true},
		"sha-1":                 {[]string{good1}, true, true},
		"one of two":            {[]string{bad256, good256}, true, true},
		"another":               {[]string{bad256}, true, false},
		"the strongest decides": {[]string{good1, bad256}, true, false},
	} {
		f, err := parseFingerprints(tt.lines)
		if (err == nil) != tt.ok {
			t.Errorf("%s: error %v", name, err)
		}
		if err == nil && (f.verify(raw) == nil) != tt.same {
			t.Errorf("%s: the same: %t", name, !tt.same)
		}
		if err == nil && f.verify(nil) == nil {
			t.Errorf("%s: no certificate will do", name)
		}
	}
}
