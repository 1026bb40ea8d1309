package config

import (
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/sip"
)

func TestBlocks(t *testing.T) {
	m := Mailbox{Blocked: []string{"03055501234", "7042", "private"}}
	for _, tt := range []struct {
		caller  sip.Caller
		country string
		want    bool
	}{
		{sip.Caller{Number: "+493055501234"}, "DE", true},
		{sip.Caller{Number: "+493055501234"}, "", false}, // a number without a country is nobody's there
		{sip.Caller{Number: "7042"}, "DE", true},
		{sip.Caller{Number: "7043"}, "DE", false},
		{sip.Caller{Private: true}, "DE", true},
		{sip.Caller{}, "DE", true},
		{sip.Caller{Number: "private"}, "DE", true},
	} {
		if got := m.Blocks(tt.caller, tt.country); got != tt.want {
			t.Errorf("%+v in %q: %v, want %v", tt.caller, tt.country, got, tt.want)
		}
	}
	if open := (&Mailbox{Blocked: []string{"7042"}}); open.Blocks(sip.Caller{Private: true}, "DE") {
		t.Error("private callers are blocked unasked")
	}
}

// Users of a PBX have names, of which some are close to the words for nobody.
func TestBlockedNames(t *testing.T) {
	for caller, ok := range map[string]bool{
		"holden": true, "hayden": true, "linden": true, "privat": false, "hiden": false, "anonymou": false, "Restricted": false,
	} {
		_, err := Parse("afterbeep.yaml", []byte("mailboxes: [{number: 101, blocked: ["+caller+"]}]\n"), nil)
		if got := err == nil || !strings.Contains(err.Error(), "blocked[0]"); got != ok {
			t.Errorf("%s: %v", caller, err)
		}
	}
}
