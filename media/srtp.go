package media

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// suite is a way to encrypt and authenticate (RFC 4568 §6.2, RFC 7714 §14.2).
type suite struct {
	name      string                 // in an a=crypto line
	profile   srtp.ProtectionProfile // its number with DTLS (RFC 5764 §4.1.2)
	key, salt int                    // bytes
}

// suites are those taken, the strongest first.
func suites() []suite {
	return []suite{
		{"AEAD_AES_256_GCM", srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
		{"AEAD_AES_128_GCM", srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
		{"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
		{"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
	}
}

// master is the master key and salt of one direction (RFC 3711 §3.2.1). It does
// not change once made.
type master struct {
	suite  suite
	secret []byte // the key and the salt after it
	mki    []byte // that each packet carries, if any
}

// Format writes the suite's name, whatever it is asked for: a key is in no log.
func (m master) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, m.suite.name) }

// equal says whether two keys, either of which may be nil, are the same.
func (m *master) equal(n *master) bool {
	if m == nil || n == nil {
		return m == n
	}
	return m.suite == n.suite && subtle.ConstantTimeCompare(m.secret, n.secret) == 1 && slices.Equal(m.mki, n.mki)
}

// replayWindow is how many packets one may be late, more than any network's
// reordering.
const replayWindow = 512

// context makes what encrypts or decrypts with the key.
func (m *master) context() (*srtp.Context, error) {
	c, err := srtp.CreateContext(m.secret[:m.suite.key], m.secret[m.suite.key:], m.suite.profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow), srtp.MasterKeyIndicator(m.mki))
	if err != nil {
		return nil, fmt.Errorf("media: %s: %w", m.suite.name, err)
	}
	return c, nil
}

// proof is what opening a packet shows about its sender.
type proof int

const (
	genuine  proof = iota // only who holds the key can have sent it
	unproven              // came before, or is too old or too short to tell
	forged                // its sender does not hold the key
)

// opener authenticates and decrypts what the caller sends. A key that another
// takes the place of is kept: packets under it may still be on their way. It
// belongs to Record, and allocates nothing for a packet that is genuine.
type opener struct {
	key, before     *master
	current, former *srtp.Context
	guesses         int
	header          rtp.Header
	control         rtcp.Header
	plain           []byte
}

// use has packets opened with a key from now on; nil means that they come
// plain.
func (o *opener) use(m *master) error {
	if m.equal(o.key) {
		return nil
	}
	var c *srtp.Context
	if m != nil {
		var err error
		if c, err = m.context(); err != nil {
			return err
		}
	}
	o.before, o.former = o.key, o.current
	o.key, o.current, o.guesses = m, c, 0
	if o.plain == nil {
		o.plain = make([]byte, maxPacket)
	}
	return nil
}

// open opens an RTP packet. The plain one is valid until the next call.
func (o *opener) open(packet []byte) ([]byte, proof) {
	plain, err := openRTP(o.current, o.plain, packet, &o.header)
	if err == nil {
		return plain, genuine
	}
	if plain, err := openRTP(o.former, o.plain, packet, &o.header); err == nil {
		return plain, genuine
	}
	if !isForged(err) {
		return nil, unproven
	}
	if o.guess(o.header.SSRC, packet) {
		if plain, err := openRTP(o.current, o.plain, packet, &o.header); err == nil {
			return plain, genuine
		}
	}
	return nil, forged
}

// openControl opens an RTCP packet. The plain one is valid until the next call.
func (o *opener) openControl(packet []byte) ([]byte, proof) {
	for _, c := range [...]*srtp.Context{o.current, o.former} {
		if c == nil {
			continue
		}
		plain, err := c.DecryptRTCP(o.plain, packet, &o.control)
		if err == nil {
			return plain, genuine
		}
		if !isForged(err) {
			return nil, unproven
		}
	}
	return nil, forged
}

var errNoKey = errors.New("media: no key has been agreed on yet")

func openRTP(c *srtp.Context, plain, packet []byte, header *rtp.Header) ([]byte, error) {
	if c == nil {
		return nil, errNoKey
	}
	return c.DecryptRTP(plain, packet, header)
}

func isForged(err error) bool {
	return errors.Is(err, srtp.ErrFailedToVerifyAuthTag) || errors.Is(err, srtp.ErrMKINotFound) || errors.Is(err, errNoKey)
}

// maxGuesses bounds what forged packets can cost.
const maxGuesses = 64

// guess finds the rollover counter of a stream of which nothing was opened yet.
// It is not zero where the numbers wrapped while the first packets were lost,
// or where a new key came in mid-stream and the sender counts on (RFC 3711
// §3.3.1).
func (o *opener) guess(ssrc uint32, packet []byte) bool {
	if o.current == nil || o.guesses >= maxGuesses {
		return false
	}
	if _, heard := o.current.ROC(ssrc); heard {
		return false
	}
	o.guesses++
	rocs := [...]uint32{1, 0, 0}
	if o.former != nil {
		if roc, ok := o.former.ROC(ssrc); ok {
			rocs[1], rocs[2] = roc, roc+1
		}
	}
	for _, roc := range rocs {
		trial, err := o.key.context() // of its own, because one keeps a counter that was set
		if err != nil || roc == 0 {
			continue
		}
		trial.SetROC(ssrc, roc)
		if _, err := trial.DecryptRTP(o.plain, packet, &o.header); err == nil {
			o.current.SetROC(ssrc, roc)
			return true
		}
	}
	return false
}

// sealer encrypts what we send. Its methods may be called from any goroutine.
type sealer struct {
	mu      sync.Mutex
	key     *master
	context *srtp.Context
	header  rtp.Header
	control rtcp.Header
	sealed  []byte
}

// send seals a packet and sends it.
func (s *sealer) send(k *socket, m *master, packet []byte, to netip.AddrPort) (int, error) {
	if m == nil {
		return 0, errNoKey
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.equal(s.key) {
		c, err := m.context()
		if err != nil {
			return 0, err
		}
		s.key, s.context = m, c
	}
	var err error
	if isControl(packet) {
		s.sealed, err = s.context.EncryptRTCP(s.sealed[:0], packet, &s.control)
	} else {
		s.sealed, err = s.context.EncryptRTP(s.sealed[:0], packet, &s.header)
	}
	if err != nil {
		return 0, fmt.Errorf("media: encrypt: %w", err)
	}
	return k.WriteToUDPAddrPort(s.sealed, to)
}

// isControl tells RTCP from RTP by the packet type (RFC 5761 §4).
func isControl(packet []byte) bool { return len(packet) >= 2 && packet[1] >= 192 && packet[1] <= 223 }
