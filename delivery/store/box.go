package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Bytes of a key (AES-256), of the nonce before a sealed text, and of what
// sealing adds to a text in all (NIST SP 800-38D).
const (
	keySize   = 32
	nonceSize = 12
	overhead  = nonceSize + 16
)

// errSealed says that sealed bytes are damaged, or belong elsewhere.
var errSealed = errors.New("what was sealed is damaged")

// box seals what belongs to one note with the note's own key, by AES-256-GCM
// under a random nonce that stands before the text. Without a key it passes
// through what it gets: so a store in clear does the same steps.
//
// The nonces of a key are as many as its note has rows and records, far from
// the 2^32 that random ones allow (NIST SP 800-38D, section 8.3).
type box struct {
	owner string // the note's id
	key   []byte // nil in clear
	aead  cipher.AEAD
}

// newBox makes the box of an owner for a key of 32 bytes.
func newBox(owner string, key []byte) *box { return &box{owner: owner, key: key, aead: newAEAD(key)} }

// part is the box of one thing among many that the box is for, with a key of
// its own: however often they are sealed, no key runs out of nonces.
func (b *box) part(name string) *box {
	if b.key == nil {
		return &box{owner: name}
	}
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte(name)) // never fails (hash.Hash)
	return newBox(name, mac.Sum(nil))
}

// newAEAD is AES-GCM with a key of 32 bytes.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is the program's own
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the one block size that GCM takes
	}
	return aead
}

// seal seals text as what it is: "body", "file" and the like, so that it
// cannot be put in the place of another thing or another note's.
func (b *box) seal(what string, text []byte) []byte {
	if b.aead == nil {
		return text
	}
	return sealWith(b.aead, make([]byte, 0, len(text)+overhead), text, b.label(what))
}

// open is seal the other way. The text takes the place of the sealed bytes.
// errSealed.
func (b *box) open(what string, sealed []byte) ([]byte, error) {
	if b.aead == nil {
		return sealed, nil
	}
	text, err := openWith(b.aead, sealed, b.label(what))
	if err != nil {
		return nil, fmt.Errorf("the %s of %s: %w", what, b.owner, err)
	}
	return text, nil
}

func (b *box) label(what string) []byte { return []byte(what + " " + b.owner) }

// extra is what sealing adds to a record of a tape, in bytes.
func (b *box) extra() int {
	if b.aead == nil {
		return 0
	}
	return overhead
}

// frameKind is the kind of the frames that the box seals.
func (b *box) frameKind() byte {
	if b.aead == nil {
		return framePlain
	}
	return frameSealed
}

// sealRecord adds a record of a tape to dst, with the header of its frame as
// its label. It allocates nothing where dst has room.
func (b *box) sealRecord(dst, header, record []byte) []byte {
	if b.aead == nil {
		return append(dst, record...)
	}
	return sealWith(b.aead, dst, record, header)
}

// openRecord is sealRecord the other way, in the place of the sealed bytes.
func (b *box) openRecord(header, sealed []byte) ([]byte, error) {
	if b.aead == nil {
		return sealed, nil
	}
	return openWith(b.aead, sealed, header)
}

// sealWith adds a random nonce and the sealed text to dst.
func sealWith(aead cipher.AEAD, dst, text, label []byte) []byte {
	at := len(dst)
	var room [nonceSize]byte
	dst = append(dst, room[:]...)
	_, _ = rand.Read(dst[at:]) // never fails (crypto/rand)
	return aead.Seal(dst, dst[at:], text, label)
}

// openWith opens sealed in place.
func openWith(aead cipher.AEAD, sealed, label []byte) ([]byte, error) {
	if len(sealed) < overhead {
		return nil, errSealed
	}
	text, err := aead.Open(sealed[nonceSize:nonceSize], sealed[:nonceSize], sealed[nonceSize:], label)
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}
