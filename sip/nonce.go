package sip

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// nonceLife is how long a nonce may be answered. It is short, because the use
// of each is remembered that long, and because peers who come later just ask
// for another.
const nonceLife = time.Minute

const (
	nonceSeed = 16                        // bytes: the time in nanoseconds and as many random ones
	nonceSize = nonceSeed + sha256.Size/2 // and half a MAC
)

// nonces gives out nonces and remembers none of them: each carries its time
// and a MAC by which it is known again (RFC 7616 section 3.3). Only what proved
// a password is remembered, so strangers cannot fill the memory.
type nonces struct {
	key [sha256.Size]byte

	mu    sync.Mutex
	spent memory[string, int] // nonce -> the highest count it was used with
}

func newNonces() *nonces {
	n := &nonces{spent: memory[string, int]{span: nonceLife}}
	_, _ = rand.Read(n.key[:]) // never fails
	return n
}

// mint makes a nonce for a trunk.
func (n *nonces) mint(trunk string, now time.Time) string {
	b := make([]byte, nonceSeed, nonceSize)
	binary.BigEndian.PutUint64(b, uint64(now.UnixNano()))
	_, _ = rand.Read(b[8:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, n.mac(b, trunk)...))
}

// mac signs the time and the random part for a trunk.
func (n *nonces) mac(seed []byte, trunk string) []byte {
	h := hmac.New(sha256.New, n.key[:])
	h.Write(seed)
	h.Write([]byte(trunk))
	return h.Sum(nil)[:nonceSize-nonceSeed]
}

// spend says whether a nonce was minted here for the trunk within nonceLife,
// and was not used with this count or a higher one. From then on it was
// (RFC 7616 section 3.4, nc): a request that was overheard cannot be sent again.
func (n *nonces) spend(nonce string, count int, trunk string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != nonceSize || !hmac.Equal(b[nonceSeed:], n.mac(b[:nonceSeed], trunk)) {
		return false
	}
	age := now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(b))))
	if age < 0 || age > nonceLife {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if used, _ := n.spent.recall(nonce, now); count <= used {
		return false
	}
	n.spent.keep(nonce, count, now)
	return true
}
