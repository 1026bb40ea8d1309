package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
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

func TestCheckTarget(t *testing.T) {
	for _, tc := range []struct {
		kind, target, says string // "" for nothing wrong
	}{
		{"webhook", "crm", ""},
		{"webhook", "crm:1", "crm:1: the targets of crm have no address: write crm alone"},
		{"sms", "crm:+4930123456", ""},
		{"sms", "crm:anna", "crm:anna: expected a number like +4930123456, or none for the mailbox's own"},
	} {
		var to delivery.Target
		if err := to.UnmarshalText([]byte(tc.target)); err != nil {
			t.Fatal(err)
		}
		said := ""
		if err := checkTarget(config.Channel{Type: tc.kind, Options: channel.Table()[tc.kind]()}, to); err != nil {
			said = err.Error()
		}
		if said != tc.says {
			t.Errorf("%s: %q, want %q", tc.target, said, tc.says)
		}
	}
}
