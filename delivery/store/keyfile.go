package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A key file is text; # begins a comment:
//
//	index BASE64    32 bytes, once: keys the hashes of what is looked up, and is never turned
//	key BASE64      32 bytes: the first one seals, those below it still open
const (
	indexWord = "index"
	keyWord   = "key"
)

// readKeyFile reads a key file that nobody else can. What systemd and Docker
// hand to a service they guard themselves, under modes of their own.
func readKeyFile(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("store.key_file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 && !guarded(file) {
		return nil, fmt.Errorf("store.key_file %s is open to others (mode %#o): chmod 600 %s", file, st.Mode().Perm(), file)
	}
	return text, nil
}

// unreadable says what to do about a key file that could not be read.
func unreadable(file string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store.key_file %s is not there: put back the one this store was sealed with; for a store that was never sealed make one with `afterbeep keys new %s`", file, file)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("store.key_file %s may not be read by this user: run this as the gateway's user, with sudo -u, or if this is the gateway's user, give it the file with chown: %w", file, fs.ErrPermission)
	}
	return fmt.Errorf("store.key_file: %w", err)
}

func guarded(file string) bool {
	return strings.HasPrefix(file, "/run/credentials/") || strings.HasPrefix(file, "/run/secrets/")
}

// parseKeys reads a key file's text. Its errors name the line, and no key.
func parseKeys(text []byte) (k keyring, err error) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 || (words[0] != indexWord && words[0] != keyWord) {
			return k, fmt.Errorf("line %d: expected `index BASE64` or `key BASE64`", n)
		}
		value, err := base64.StdEncoding.Strict().DecodeString(words[1])
		if err != nil || len(value) != keySize {
			return k, fmt.Errorf("line %d: expected %d bytes in base64", n, keySize)
		}
		switch {
		case words[0] == keyWord:
			k.keys = append(k.keys, newFileKey(value))
		case k.index != nil:
			return k, fmt.Errorf("line %d: a second index", n)
		default:
			k.index = value
		}
	}
	switch {
	case len(k.keys) == 0:
		return k, errors.New("there is no key in it: make a file with `afterbeep keys new FILE`")
	case k.index == nil:
		return k, errors.New("there is no index in it: put back the line of the file that this store was sealed with")
	}
	return k, nil
}

func keyLine(word string, key []byte) string {
	return word + " " + base64.StdEncoding.EncodeToString(key) + "\n"
}

// CheckKeyFile says what is wrong with a key file, if anything is. None is fine.
func CheckKeyFile(file string) error {
	_, err := openVault(file)
	return err
}

// NewKeyFile writes a file with new keys, for its owner alone. It overwrites
// nothing.
func NewKeyFile(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and a store may need it: choose another name", file)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("# Keys of an Afterbeep store. Without this file the store cannot be read:\n" +
		"# keep a copy elsewhere. The first key seals, those below it still open.\n" +
		keyLine(indexWord, randomBytes(keySize)) + keyLine(keyWord, randomBytes(keySize)))
	return errors.Join(err, f.Sync(), f.Close(), syncFolder(file))
}

// LockKeys keeps every other rotation of a key file away until the lock is
// closed: of two at once each would drop a key that the other's notes need.
func LockKeys(file string) (io.Closer, error) {
	dir, err := os.Open(filepath.Dir(file)) // the file itself is replaced
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another `keys rotate` is at %s: run this again when it has ended", file)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// AddKey puts a new first key into a key file and returns the file's text.
func AddKey(file string) ([]byte, error) { return rewriteKeys(file, addKey) }

func addKey(lines []string) []string {
	at := slices.IndexFunc(lines, isKey)
	return slices.Insert(lines, at, keyLine(keyWord, randomBytes(keySize)))
}

// DropKeys takes all keys but the first out of a key file.
func DropKeys(file string) error {
	_, err := rewriteKeys(file, dropKeys)
	return err
}

func dropKeys(lines []string) []string {
	after := slices.IndexFunc(lines, isKey) + 1
	return slices.Concat(lines[:after], slices.DeleteFunc(lines[after:], isKey))
}

// isKey tells the lines of a good key file that are keys.
func isKey(line string) bool {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	return len(words) > 0 && words[0] == keyWord
}

// rewriteKeys changes a key file in one step, so that a crash leaves the old
// one or the new one, and keeps its owner.
func rewriteKeys(file string, change func(lines []string) []string) ([]byte, error) {
	text, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	if _, err := parseKeys(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	text = []byte(strings.Join(change(slices.Collect(strings.Lines(string(text)))), ""))
	fresh := file + ".new"
	if err := writeLike(file, fresh, text); err != nil {
		_ = os.Remove(fresh) // it may never have been there
		return nil, fmt.Errorf("%s is left as it was, run this where it may be replaced: %w", file, err)
	}
	return text, syncFolder(file)
}

// writeLike writes fresh with the owner and mode of file and takes its place.
func writeLike(file, fresh string, text []byte) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && err == nil {
		err = errors.Join(f.Chown(int(owner.Uid), int(owner.Gid)), f.Chmod(st.Mode().Perm()))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}

// syncFolder makes the name of a file durable.
func syncFolder(file string) error {
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
