package main

import (
	"testing"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
)

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
