package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	check(t, NewKeyFile(file))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := NewKeyFile(file); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second time: %v", err)
	}
	before := ringOf(t, file)
	text, err := AddKey(file)
	check(t, err)
	added := ringOf(t, file)
	if len(added.keys) != 2 || !bytes.Equal(added.keys[1].key, before.keys[0].key) || !bytes.Equal(added.index, before.index) {
		t.Errorf("%d keys, the old one is not behind the new one", len(added.keys))
	}
	if onDisk, err := os.ReadFile(file); err != nil || !bytes.Equal(onDisk, text) || !bytes.HasPrefix(text, []byte("# Keys")) {
		t.Errorf("the file holds %d bytes, %v", len(onDisk), err)
	}
	check(t, DropKeys(file))
	if left := ringOf(t, file); len(left.keys) != 1 || !bytes.Equal(left.keys[0].key, added.keys[0].key) || !bytes.Equal(left.index, before.index) {
		t.Errorf("%d keys are left", len(left.keys))
	}
	if left, err := filepath.Glob(file + "?*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func ringOf(t *testing.T, file string) keyring {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	k, err := parseKeys(text)
	check(t, err)
	return k
}

func TestKeyFileIsRefused(t *testing.T) {
	good := testIndex + testKey
	tests := map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"open to others": {good, 0o640, "chmod 600"},
		"empty":          {"# nothing\n", 0o600, "there is no key in it"},
		"no index":       {testKey, 0o600, "there is no index in it"},
		"two indexes":    {good + otherIndex, 0o600, "line 3: a second index"},
		"another word":   {good + "\nsecret " + testKey[4:], 0o600, "line 4: expected `index BASE64`"},
		"no base64":      {testIndex + "key secret\n", 0o600, "line 2: expected 32 bytes in base64"},
		"a short key":    {testIndex + "key AAAA\n", 0o600, "line 2: expected 32 bytes in base64"},
		"two words":      {testIndex + strings.TrimSpace(testKey) + " and more\n", 0o600, "line 2: expected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := writeKeys(t, tt.text)
			check(t, os.Chmod(file, tt.mode))
			path := filepath.Join(t.TempDir(), "store")
			_, err := Open(Options{Path: path, KeyFile: file}, quiet())
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a store was made")
			}
		})
	}
	_, err := Open(Options{Path: t.TempDir(), KeyFile: filepath.Join(t.TempDir(), "none")}, quiet())
	if err == nil || !strings.Contains(err.Error(), "afterbeep keys new") {
		t.Errorf("a file that is missing: %v", err)
	}
}

// FuzzKeys: what is taken holds keys, and turning it keeps what it held.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(testIndex + testKey))
	f.Add([]byte("# a comment\n\n" + testKey + "  " + testIndex + otherKey + "# key\n#key x"))
	f.Add([]byte("key\nindex\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseKeys(text)
		if err != nil {
			return
		}
		lines := addKey(slices.Collect(strings.Lines(string(text))))
		more, err := parseKeys([]byte(strings.Join(lines, "")))
		if err != nil || len(more.keys) != len(k.keys)+1 || !slices.EqualFunc(more.keys[1:], k.keys, sameKey) {
			t.Fatalf("with a key more: %d keys after %d, %v", len(more.keys), len(k.keys), err)
		}
		one, err := parseKeys([]byte(strings.Join(dropKeys(lines), "")))
		if err != nil || len(one.keys) != 1 || !sameKey(one.keys[0], more.keys[0]) || !bytes.Equal(one.index, k.index) {
			t.Fatalf("with the first key alone: %d, %v", len(one.keys), err)
		}
	})
}

func sameKey(a, b fileKey) bool { return bytes.Equal(a.key, b.key) }

// Of two rotations at once the second one does not begin.
func TestKeysAreLocked(t *testing.T) {
	file := writeKeys(t, testIndex+testKey)
	first, err := LockKeys(file)
	check(t, err)
	if _, err := LockKeys(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the second: %v", err)
	}
	_, err = AddKey(file)
	check(t, errors.Join(err, first.Close()))
	again, err := LockKeys(file)
	check(t, err)
	check(t, again.Close())
}

// A key file of another user names the way out. Root may read all: there the
// words alone are checked.
func TestKeyFileOfAnotherUser(t *testing.T) {
	file := writeKeys(t, testIndex+testKey)
	err := unreadable(file, &fs.PathError{Op: "open", Path: file, Err: fs.ErrPermission})
	if os.Geteuid() != 0 {
		check(t, os.Chmod(file, 0))
		err = CheckKeyFile(file)
	}
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), file+" may not be read by this user") || !strings.Contains(err.Error(), "sudo -u") {
		t.Errorf("%v", err)
	}
}
