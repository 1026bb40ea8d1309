package sip

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestHeaderValues(t *testing.T) {
	req := invite(t, "sip:vm@gw", "From: <sip:1@pbx>;tag=1", "t: <sip:2@pbx>",
		`Diversion: "a, b" <sip:1,2@pbx>;x="c,d" , , <sip:3@pbx>`, "k: timer,100rel", "Supported: path", "DIVERSION: <sip:4@pbx>")
	tests := map[string][]string{
		"diversion": {`"a, b" <sip:1,2@pbx>;x="c,d"`, "<sip:3@pbx>", "<sip:4@pbx>"},
		"Supported": {"timer", "100rel", "path"},
		"To":        {"<sip:2@pbx>"},
		"Missing":   nil,
	}
	for name, want := range tests {
		if got := headerValues(req, name); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	tests := []struct{ in, name, scheme, user, host, reason string }{
		{`<sip:101@pbx>;reason=no-answer`, "", "sip", "101", "pbx", "no-answer"},
		{`"A \"B\" <c>" <sips:101@pbx:5061> ; reason = "x;y"`, `A "B" <c>`, "sips", "101", "pbx", "x;y"},
		{`Anna Maria <sip:a%20b:secret@[2001:db8::1]:5060;transport=tcp>`, "Anna Maria", "sip", "a b", "2001:db8::1", ""},
		{`sip:101@pbx;reason=x`, "", "sip", "101", "pbx", "x"},
		{`sip:+49;verstat=No-TN-Validation@pbx;reason=x`, "", "sip", "+49", "pbx", "x"},
		{`sip:pbx;reason=x`, "", "sip", "", "pbx", "x"},
		{`TEL:+4930;reason=x`, "", "tel", "+4930", "", "x"},
		{`<tel:1234;phone-context=+49>;reason=x`, "", "tel", "1234", "", "x"},
		{`<sip:%zz@pbx>`, "", "sip", "%zz", "pbx", ""},
		{`<urn:service:sos>`, "", "urn", "", "", ""},
	}
	for _, tt := range tests {
		a, ok := parseAddress(tt.in)
		reason, _ := a.params.get("Reason")
		got := []string{a.name, a.uri.scheme, a.uri.user, a.uri.host, reason}
		if want := []string{tt.name, tt.scheme, tt.user, tt.host, tt.reason}; !ok || !slices.Equal(got, want) {
			t.Errorf("%s: got %q %v, want %q", tt.in, got, ok, want)
		}
	}
	for _, in := range []string{"", "<", "<>", `"a`, `"a" `, "<sip:101@pbx", "101", `"<sip:a@b>`, "<101>", `"a" sip:b@c`} {
		if a, ok := parseAddress(in); ok {
			t.Errorf("%q: %+v", in, a)
		}
	}
}

func TestURIParts(t *testing.T) {
	u, ok := parseURI("sip:+4930;verstat=TN-Validation-Passed@pbx;cause=486;x=a%20b?Reason=SIP%3Bcause%3D486%2CQ.850%3Bcause%3D17&reason=X")
	if !ok || u.cause() != 486 || u.param("X") != "a b" {
		t.Errorf("%+v", u)
	}
	if v, _ := u.userParams.get("verstat"); v != "TN-Validation-Passed" {
		t.Errorf("verstat %q", v)
	}
	want := []string{"SIP;cause=486", "Q.850;cause=17", "X"}
	if got := slices.Collect(u.header("Reason")); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{`"A \"B\"" <sip:1%20;x=y:p@[::1]:5060;a=b?c=d>;e="f;g"`, "tel:+49;phone-context=x", "sip:a", "<", `"\`, "a<b>c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := parseAddress(s)
		if !ok {
			return
		}
		if a.uri.scheme == "" || a.uri.scheme != strings.ToLower(a.uri.scheme) {
			t.Errorf("scheme %q", a.uri.scheme)
		}
		if !utf8.ValidString(a.name) || len(a.name) > maxText || strings.ContainsAny(a.name, "\r\n\t\x00") {
			t.Errorf("name %q", a.name)
		}
		a.params.get("e")
		a.uri.number("DE")
		for range a.uri.header("c") {
		}
	})
}

// FuzzSplit holds that no part is empty or padded, and that the parts are all
// there was but separators and space.
func FuzzSplit(f *testing.F) {
	f.Add(`"a, b" <c,d>, e ,,`)
	f.Add(`"a\`)
	f.Fuzz(func(t *testing.T, s string) {
		squeeze := strings.NewReplacer(",", "", " ", "", "\t", "")
		all := ""
		for part := range splitOutside(s, ',') {
			if part == "" || strings.TrimSpace(part) != part {
				t.Errorf("part %q", part)
			}
			all += part
		}
		trimmed := strings.Join(strings.Fields(squeeze.Replace(s)), "")
		if strings.Join(strings.Fields(squeeze.Replace(all)), "") != trimmed {
			t.Errorf("%q became %q", s, all)
		}
	})
}
