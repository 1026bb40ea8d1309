package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChannelRegistration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "afterbeep.yaml")
	file := `channels:
  chat: {type: matrix, homeserver: "https://matrix.example", user: "@bot:example.org", password: p4ssword, appservice: {token: as-secret-word, hs_token: hs-secret-word}}
  crm: {type: webhook, url: "https://crm.example", secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD, attach: true}
`
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, "channel", "registration", "chat", "--config", path)
	for _, want := range []string{`as_token: "as-secret-word"`, `hs_token: "hs-secret-word"`, `@afterbeep_.*:example\\.org`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s has no %s", got, want)
		}
	}
	for name, want := range map[string]string{"crm": "nothing to register", "nobody": "it has chat, crm"} {
		if got := fails(t, "channel", "registration", name, "--config", path); !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}
