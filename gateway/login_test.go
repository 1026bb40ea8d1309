package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// Who set a digest tests it with the program's own calls, and is told what is
// wrong with a login.
func TestCallsLogIn(t *testing.T) {
	t.Setenv(passwordVariable, "") // and nothing beside this test sees what it sets
	hook := newReceiver(t)
	path := configFile(t, t.TempDir(), hook.URL, "")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("country: DE"), []byte("country: DE, digest: {user: pbx, password: open sesame}"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	target := "sip:" + reception + "@" + startGateway(t, path).address("udp").String()
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}

	for want, args := range map[string][]string{
		"401 Unauthorized: this machine's trunk has a digest: give its user with --user": {"call", target},
		"401 Unauthorized: the user or the password is wrong: compare --user":            {"call", target, "--user", "pbx", "--password", "sesame"},
	} {
		if said, err := run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", args[2:], err, said)
		}
	}
	t.Setenv(passwordVariable, "open sesame")
	if said, err := run("call", target, "--user", "pbx"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if n := hook.next(t); n.Data.Kind != "voice" {
		t.Errorf("kind %s", n.Data.Kind)
	}
	said, err := run("bench", target, "--calls", "3", "--duration", "500ms", "--user", "pbx", "--password", "open sesame")
	if err != nil || strings.Contains(said, "401") {
		t.Errorf("%v\n%s", err, said)
	}
	for range 3 {
		hook.next(t)
	}
}
