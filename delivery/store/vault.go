package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// maxBoxes is how many opened boxes a vault keeps.
const maxBoxes = 4096

// vault holds the keys of the key file. Each note has a key of its own; the
// vault wraps it with the file's first key for the note's row, and opens the
// box of a row again with the key that the row names. The zero value has no
// keys: its boxes pass everything through.
type vault struct {
	file  string
	mu    sync.Mutex
	keys  keyring
	boxes map[string]*box // by wrapped key: an entry cannot go stale
}

// openVault reads the key file; an empty name is a vault that seals nothing.
func openVault(file string) (*vault, error) {
	if file == "" {
		return &vault{}, nil
	}
	keys, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	return &vault{file: file, keys: keys, boxes: map[string]*box{}}, nil
}

func readKeys(file string) (keys keyring, err error) {
	text, err := readKeyFile(file)
	if err != nil {
		return keys, err
	}
	if keys, err = parseKeys(text); err != nil {
		return keys, fmt.Errorf("store.key_file %s: %w", file, err)
	}
	return keys, nil
}

// seals says whether the vault has keys, which it has from the start or never.
func (v *vault) seals() bool { return len(v.ring().keys) > 0 }

// ring is the keys as they are now.
func (v *vault) ring() keyring {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys
}

// mint makes the box of a new note.
func (v *vault) mint(owner string) *box {
	if !v.seals() {
		return &box{owner: owner}
	}
	return newBox(owner, randomBytes(keySize))
}

// wrap is the key of a box for its row. Only the writer asks for it, so that no
// row comes to need a key that was turned meanwhile.
func (v *vault) wrap(b *box) []byte {
	if b.key == nil {
		return []byte{}
	}
	return v.ring().first().wrap(b.owner, b.key)
}

// open returns the box of a row, from the row's wrapped key.
func (v *vault) open(owner string, wrapped []byte) (*box, error) {
	if !v.seals() {
		return &box{owner: owner}, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if b := v.boxes[string(wrapped)]; b != nil && b.owner == owner {
		return b, nil
	}
	key, err := v.keys.unwrap(owner, wrapped)
	if errors.Is(err, errForeign) && v.reread() {
		key, err = v.keys.unwrap(owner, wrapped)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of %s: %w", owner, err)
	}
	if len(v.boxes) == maxBoxes {
		clear(v.boxes)
	}
	b := newBox(owner, key)
	v.boxes[string(wrapped)] = b
	return b, nil
}

// reread takes up the keys that were put into the key file since, to open with:
// another machine may seal with them already. True when there are any. The lock
// is the caller's.
func (v *vault) reread() bool {
	fresh, err := readKeys(v.file)
	if err != nil || !bytes.Equal(fresh.index, v.keys.index) {
		return false // the keys that are known go on
	}
	known := len(v.keys.keys)
	for _, key := range fresh.keys {
		if !v.keys.holds(key) {
			v.keys.keys = append(slices.Clip(v.keys.keys), key)
		}
	}
	return len(v.keys.keys) > known
}

// forget drops the boxes that it has opened.
func (v *vault) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.boxes)
}

// index is what a row keeps of a name that is looked up, a mailbox or a
// receipt: the name itself in a store in clear, else its keyed hash in hex.
func (v *vault) index(what, name string) string {
	if !v.seals() || name == "" {
		return name
	}
	return hex.EncodeToString(v.hash(what + " " + name))
}

// mailbox is the index of a mailbox.
func (v *vault) mailbox(number string) string { return v.index("mailbox", number) }

// alias names a mailbox where its number must not stand: a hash in hex, in a
// store in clear too, where it is not keyed.
func (v *vault) alias(number string) string { return hex.EncodeToString(v.hash("mailbox " + number)) }

// aliasOf is the alias of a mailbox as its rows have it.
func (v *vault) aliasOf(index string) string {
	if v.seals() {
		return index
	}
	return v.alias(index)
}

// memoryKey names what a channel remembers under a key: a hash in hex, as an
// alias is.
func (v *vault) memoryKey(channel, key string) string {
	return hex.EncodeToString(v.hash(fmt.Sprintf("memory %q %q", channel, key)))
}

// keyedAlias makes of an alias or a memory's key in clear the one that the vault has.
func (v *vault) keyedAlias(alias string) (string, error) {
	hash, err := hex.DecodeString(alias)
	return hex.EncodeToString(v.keyed(hash)), err
}

// derive makes 32 bytes for one purpose out of the key file's index, the same
// on every machine that has the file.
func (v *vault) derive(purpose string) []byte {
	h := hmac.New(sha256.New, v.ring().index)
	h.Write([]byte(purpose)) // never fails (hash.Hash)
	return h.Sum(nil)
}

// hash is 16 bytes that tell names apart, keyed where the vault has keys.
func (v *vault) hash(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return v.keyed(sum[:16])
}

// keyed makes of a hash in clear the one that the vault has.
func (v *vault) keyed(hash []byte) []byte {
	if !v.seals() {
		return hash
	}
	mac := hmac.New(sha256.New, v.ring().index)
	mac.Write(hash) // never fails (hash.Hash)
	return mac.Sum(nil)[:16]
}

// keyring is what a key file holds.
type keyring struct {
	index []byte // of keyed hashes
	keys  []fileKey
}

// fileKey is one key of the file. Its id is the start of its SHA-256.
type fileKey struct{ id, key []byte }

const keyIDSize = 8

// Bytes of a wrapped key: the id of the key that opens it, and the sealed key.
const wrappedSize = keyIDSize + keySize + overhead

// errForeign says that the key file lacks the key of a row.
var errForeign = errors.New("store.key_file does not hold the key that this was sealed with: put that key's line back into the file")

func (k keyring) first() fileKey { return k.keys[0] }

// unwrap opens a wrapped key with the key it names. errForeign, errSealed.
func (k keyring) unwrap(owner string, wrapped []byte) ([]byte, error) {
	if len(wrapped) != wrappedSize {
		return nil, errSealed
	}
	for _, key := range k.keys {
		if bytes.HasPrefix(wrapped, key.id) {
			return openWith(newAEAD(key.key), bytes.Clone(wrapped[keyIDSize:]), []byte("key "+owner))
		}
	}
	return nil, errForeign
}

// wrap seals a note's key for its row.
func (f fileKey) wrap(owner string, key []byte) []byte {
	return sealWith(newAEAD(f.key), bytes.Clone(f.id), key, []byte("key "+owner))
}

func newFileKey(key []byte) fileKey {
	sum := sha256.Sum256(key)
	return fileKey{id: sum[:keyIDSize], key: key}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}
