package sip

import (
	"strings"
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"
)

func TestElsewhere(t *testing.T) {
	tests := []struct {
		reason string
		want   bool
	}{
		{"", false},
		{`SIP;cause=200;text="Call completed elsewhere"`, true},
		{`sip ;text="a, b"; Cause=200`, true},
		{"Q.850;cause=26", true},
		{`Q.850;cause=16;text="x",SIP;cause=200`, true},
		{"q.850 ; cause = 26 ; text=x", true},
		{"SIP;cause=26", false},
		{"Q.850;cause=200", false},
		{"SIP;cause=487", false},
		{"SIP;cause=", false},
		{`X;text="SIP;cause=200"`, false},
		{";cause=200", false},
	}
	for _, tt := range tests {
		lines := []string{"From: <sip:1@pbx>;tag=1", "To: <sip:vm@gw>"}
		if tt.reason != "" {
			lines = append(lines, "Reason: "+tt.reason)
		}
		if got := elsewhere(invite(t, "sip:vm@gw", lines...)); got != tt.want {
			t.Errorf("%q: %v", tt.reason, got)
		}
	}
}

func TestQReason(t *testing.T) {
	if got, want := qReason(16, "Normal call clearing"), `Q.850;cause=16;text="Normal call clearing"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := qReason(102, "a \"b\" \\ \r\nX: y"), `Q.850;cause=102;text="a \"b\" \\   X: y"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzReason reads hostile values and holds that what is written reads back.
func FuzzReason(f *testing.F) {
	f.Add(`SIP;cause=200;text="x"`, 16)
	f.Add(`";\"`, -1)
	f.Fuzz(func(t *testing.T, s string, code int) {
		c, ok := parseReason(s)
		if ok == (c.protocol == "") {
			t.Errorf("%+v %v", c, ok)
		}
		written := qReason(code, s)
		if strings.ContainsAny(written, "\r\n") {
			t.Errorf("a line break in %q", written)
		}
		if back, _ := parseReason(written); back != (cause{"Q.850", code}) {
			t.Errorf("%q read back as %+v", written, back)
		}
		text, _ := params(strings.TrimPrefix(written, "Q.850")).get("text")
		if want := strings.NewReplacer("\r", " ", "\n", " ").Replace(s); text != want {
			t.Errorf("text %q, want %q", text, want)
		}
	})
}

// TestPhraseOf: what a peer says in its own words names nobody in a log.
func TestPhraseOf(t *testing.T) {
	for said, want := range map[string]string{
		"Not Found": "Not Found", "No such extension 101": "", "Not here, ask bob@pbx": "", "": "", "Bad\x00\nthing": "Badthing",
	} {
		if got := phraseOf(&sipmsg.Response{StatusCode: 404, Reason: said}); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
	for _, err := range []error{&StatusError{404, ""}, &RegisterError{Registrar: "192.0.2.1:5060", Code: 404}} {
		if text := err.Error(); strings.Contains(text, "404 ") {
			t.Errorf("%q", text)
		}
	}
}
