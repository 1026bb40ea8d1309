package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/sip"
)

// What the network says of a caller's number reaches everyone who shows it: the
// receiver, the inbox page, the operator.
func TestNumberIsVouchedFor(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	path := configFile(t, t.TempDir(), hook.URL, "")
	g := startGateway(t, path)
	token, err := g.store.LinkFor(t.Context(), reception)
	if err != nil {
		t.Fatal(err)
	}
	said := &sound{audio: audioOf(speech(t, time.Second)), coded: map[string][][]byte{}}
	for _, tt := range []struct{ verstat, trust, shown string }{
		{"TN-Validation-Passed", "verified", "number verified"},
		{"TN-Validation-Failed", "doubtful", "the number may be spoofed"},
		{"No-TN-Validation", "", ""},
	} {
		r := sip.Request{From: "+491705550101", Headers: map[string][]string{
			"P-Asserted-Identity": {"<sip:+491705550101;verstat=" + tt.verstat + "@carrier.invalid;user=phone>"},
		}}
		if _, err := testCaller(t).leaveMessage(t.Context(), io.Discard, fmt.Sprintf("sip:%s@%s", reception, g.address("udp")), r, said); err != nil {
			t.Fatal(err)
		}
		n := hook.next(t)
		if n.Data.Caller.Trust != tt.trust {
			t.Errorf("%s: the receiver gets %q", tt.verstat, n.Data.Caller.Trust)
		}
		_, inbox := g.ask(t, "GET", "/inbox/"+token+"/notes?limit=1")
		if has := strings.Contains(string(inbox), `"trust":"`+tt.trust+`"`); has != (tt.trust != "") {
			t.Errorf("%s: the inbox gets %s", tt.verstat, inbox)
		}
		life := run(t, "note", "show", n.Data.ID, "--config", path)
		if !strings.Contains(life, tt.shown) || (tt.shown == "" && strings.Contains(life, "number")) {
			t.Errorf("%s: the operator reads\n%s", tt.verstat, life)
		}
	}
}
