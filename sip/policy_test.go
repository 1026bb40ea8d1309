package sip

import (
	"slices"
	"testing"
)

// Each trunk says which header names the mailbox, and in which order. The
// reason is read wherever it stands.
func TestHeaderPolicy(t *testing.T) {
	lines := []string{
		"To: <sip:106@gw>", "From: <sip:1@pbx>;tag=1",
		"Diversion: <sip:103@pbx>;reason=user-busy, <sip:113@pbx>;reason=no-answer",
		"History-Info: <sip:102@pbx>;index=1, <sip:vm@gw;cause=486>;index=1.1;mp=1",
		"P-Called-Party-ID: <sip:104@pbx>",
	}
	const uri = "sip:105@gw;target=sip:101%40pbx;cause=486"
	for name, tt := range map[string]struct {
		trunk Trunk
		want  []string
	}{
		"as it comes":         {Trunk{}, []string{"101", "102", "103", "113", "104", "105", "106"}},
		"one alone":           {Trunk{Headers: []string{"to"}}, []string{"106"}},
		"another order":       {Trunk{Headers: []string{"request-uri", "diversion"}}, []string{"105", "103", "113"}},
		"the first diversion": {Trunk{Headers: []string{"Diversion"}, Mailbox: "first"}, []string{"113", "103"}},
		"the last diversion":  {Trunk{Headers: []string{"diversion"}, Mailbox: "last"}, []string{"103", "113"}},
	} {
		var got []string
		for _, c := range callees(invite(t, uri, lines...), &tt.trunk) {
			got = append(got, c.User)
			if c.Reason != "busy" && c.User != "113" {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// verstat counts from a believed trunk alone, and for the number that is shown.
func TestTrust(t *testing.T) {
	no := false
	asserted := func(verstat string) string {
		return "P-Asserted-Identity: <sip:+4930123456;verstat=" + verstat + "@pbx;user=phone>"
	}
	plain := "From: <sip:030123456@pbx>;tag=1"
	for name, tt := range map[string]struct {
		lines     []string
		untrusted bool
		want      string
	}{
		"passed":              {[]string{plain, asserted("TN-Validation-Passed")}, false, "verified"},
		"in any case":         {[]string{plain, asserted("tn-validation-PASSED")}, false, "verified"},
		"failed":              {[]string{plain, asserted("TN-Validation-Failed")}, false, "doubtful"},
		"not validated":       {[]string{plain, asserted("No-TN-Validation")}, false, ""},
		"full attestation":    {[]string{plain, asserted("TN-Validation-Passed-A")}, false, "verified"},
		"partial attestation": {[]string{plain, asserted("TN-Validation-Passed-B")}, false, ""},
		"a word of its own":   {[]string{plain, asserted("ok")}, false, ""},
		"not believed":        {[]string{"From: <sip:+4930123456;verstat=TN-Validation-Passed@pbx>;tag=1"}, true, ""},
		"in the From":         {[]string{"From: <sip:+4930123456;verstat=TN-Validation-Passed@pbx>;tag=1"}, false, "verified"},
		"of a tel URI":        {[]string{plain, "P-Asserted-Identity: <tel:+4930123456;verstat=TN-Validation-Failed>"}, false, "doubtful"},
		"behind the host":     {[]string{plain, "P-Asserted-Identity: <sip:+4930123456@pbx;verstat=TN-Validation-Passed>"}, false, "verified"},
		"of another number":   {[]string{"From: <sip:+4940999;verstat=TN-Validation-Passed@pbx>;tag=1", "P-Asserted-Identity: <sip:+4930123456@pbx>"}, false, ""},
		"two that disagree":   {[]string{"From: <sip:+4930123456;verstat=TN-Validation-Failed@pbx>;tag=1", asserted("TN-Validation-Passed")}, false, "doubtful"},
		"of a private caller": {[]string{plain, asserted("TN-Validation-Passed"), "Privacy: id"}, false, ""},
	} {
		trunk := german()
		if tt.untrusted {
			trunk.Trusted = &no
		}
		if got := caller(invite(t, "sip:vm@gw", append(tt.lines, "To: <sip:vm@gw>")...), trunk); got.Trust != tt.want {
			t.Errorf("%s: %+v, want %q", name, got, tt.want)
		}
	}
}

// A trunk may refuse those who hide their number, whoever they call.
func TestAnonymousCallers(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"", "accept", "refuse"} {
		ts := serveTest(t, func(s *Server) { s.trunks.find(loopback).Anonymous = policy }, nil)
		p := newRawPeer(t, ts, "127.0.0.1")
		for _, user := range []string{"101", "404"} {
			c := p.newCall()
			c.user, c.extra = user, []string{"Privacy: id"}
			want := map[bool]string{true: "433", false: map[string]string{"101": "200", "404": "480"}[user]}[policy == "refuse"]
			c.send("INVITE")
			answer := p.expect("SIP/2.0 "+want, "INVITE")
			if want == "200" {
				c.toTag = answer.toTag()
				c.ack("")
				c.bye()
			}
		}
		shown := p.newCall()
		shown.establish()
		shown.bye()
	}
}
