package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// A gateway that takes encrypted audio alone refuses a plain call with 488, and
// makes a note of an encrypted one; its call record says how it came.
func TestCallEncrypted(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	dir := t.TempDir()
	g := startGateway(t, configFile(t, dir, hook.URL, "srtp: required", "log: {call_records: calls.jsonl}"))
	place := func(flags ...string) (string, error) {
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs(append([]string{"call", "sip:" + reception + "@" + g.address("udp").String()}, flags...))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	if said, err := place(); err == nil || !strings.Contains(err.Error(), "488") {
		t.Errorf("a plain call: %v\n%s", err, said)
	}
	if said, err := place("--srtp"); err != nil {
		t.Fatalf("an encrypted call: %v\n%s", err, said)
	}
	if n := hook.next(t); n.Data.Kind != "voice" {
		t.Errorf("kind %s", n.Data.Kind)
	}
	until(t, "the call record says how it came", func() bool { // which follows the note
		records, err := os.ReadFile(dir + "/calls.jsonl")
		return err == nil && strings.Contains(string(records), `"srtp":"AEAD_AES_256_GCM"`)
	})
}
