package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys are made, seal what the gateway keeps, and are turned beside the running
// gateway and on its store alone: after that the first file opens nothing.
func TestKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	said := run(t, "keys", "new", keys)
	if !strings.Contains(said, "key_file: "+keys) || !strings.Contains(said, "copy") {
		t.Errorf("keys new says %q", said)
	}
	hook := newReceiver(t)
	path := configFile(t, dir, hook.URL, "")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("{path: data}"), []byte("{path: data, key_file: keys}"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	gateway := startChild(t, path)
	leave(t, gateway.sip)
	list := run(t, "note", "list", "--config", path)
	said = run(t, "keys", "rotate", "--config", path, "--keep-old")
	if both, err := os.ReadFile(keys); err != nil || bytes.Count(both, []byte("\nkey ")) != 2 || !strings.Contains(said, "wrapped anew up to note "+noteID.FindString(list)) {
		t.Errorf("with the old key kept: %d bytes, %v; said %q", len(both), err, said)
	}
	gateway.kill()
	alone := strings.Replace(string(text), hook.URL, "http://127.0.0.1:1/", 1) // check need not ask the service

	said = run(t, "keys", "rotate", "--config", path)
	turned, err := os.ReadFile(keys)
	if err != nil || bytes.Count(turned, []byte("\nkey ")) != 1 || !strings.Contains(said, "the old keys are gone") {
		t.Errorf("turned: %d bytes, %v; said %q", len(turned), err, said)
	}
	if again := run(t, "note", "list", "--config", path); noteID.FindString(again) != noteID.FindString(list) || !strings.Contains(again, reception) {
		t.Errorf("before:\n%s\nafter:\n%s", list, again)
	}
	if lines, failed := checked(t, dir, alone); failed || !strings.Contains(lines, "ok store") {
		t.Errorf("check: %s", lines)
	}
	if err := os.WriteFile(keys, first, 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, failed := checked(t, dir, alone); !failed || !strings.Contains(lines, "does not hold the key") {
		t.Errorf("check with the first file: %s", lines)
	}
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	if lines, failed := checked(t, dir, alone); !failed || !strings.Contains(lines, "afterbeep keys new") {
		t.Errorf("check without a file: %s", lines)
	}
}

// Neither check nor a command seals in passing what the gateway has not yet.
func TestCommandsDoNotSeal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:1/", "")
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := run(t, "link", reception, "--config", path)
	run(t, "keys", "new", filepath.Join(dir, "keys"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed := bytes.Replace(text, []byte("{path: data}"), []byte("{path: data, key_file: keys}"), 1)
	if err := os.WriteFile(path, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, failed := checked(t, dir, string(sealed)); failed || !strings.Contains(lines, "which the next start seals") {
		t.Errorf("check: %s", lines)
	}
	if again := run(t, "link", reception, "--config", path); again != link {
		t.Errorf("the link was %q and is %q", link, again)
	}
	if lines, failed := checked(t, dir, string(text)); failed {
		t.Errorf("check without keys: %s", lines)
	}
}

// Where machines share the work, a key is turned in steps, beside the gateway.
func TestKeysInAFleet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	run(t, "keys", "new", keys)
	path := configFile(t, dir, "http://127.0.0.1:1/", "")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("{path: data}"), []byte("{path: data, key_file: keys, redis: 'redis://127.0.0.1:1'}"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                       "1. `keys rotate --only-add` on one",
		"--keep-old":             "1. `keys rotate --only-add` on one",
		"--no-new --keep-old":    "start the gateway first",
		"--no-new":               "start the gateway first",
		"--only-add --no-new":    "[no-new only-add] were all set",
		"--only-add --keep-olds": "unknown flag",
	} {
		cmd := root()
		cmd.SetArgs(append([]string{"keys", "rotate", "--config", path}, strings.Fields(args)...))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if said := run(t, "keys", "rotate", "--config", path, "--only-add"); !strings.Contains(said, "copy the file to every other machine") {
		t.Errorf("--only-add says %q", said)
	}
	if both, err := os.ReadFile(keys); err != nil || bytes.Count(both, []byte("\nkey ")) != 2 {
		t.Errorf("the file holds %d keys, %v", bytes.Count(both, []byte("\nkey ")), err)
	}
}
