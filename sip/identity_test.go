package sip

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"
)

// invite builds a request of the given Request-URI and header lines.
func invite(tb testing.TB, requestURI string, lines ...string) *sipmsg.Request {
	tb.Helper()
	text := "INVITE " + requestURI + " SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK1\r\nCall-ID: a@b\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
	for _, line := range lines {
		text += line + "\r\n"
	}
	return parse(tb, []byte(text+"Content-Length: 0\r\n\r\n"))
}

// captured reads a request from testdata, where lines end as in any text file.
func captured(tb testing.TB, name string) *sipmsg.Request {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "invite", name))
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
}

func parse(tb testing.TB, text []byte) *sipmsg.Request {
	tb.Helper()
	msg, err := sipmsg.NewParser().ParseSIP(text)
	if err != nil {
		tb.Fatal(err)
	}
	req, ok := msg.(*sipmsg.Request)
	if !ok {
		tb.Fatalf("a %T", msg)
	}
	return req
}

func german() *Trunk { return &Trunk{Name: "pbx", Country: "DE"} }

func TestCaptured(t *testing.T) {
	first := german()
	first.Mailbox = "first"
	tests := []struct {
		file    string
		trunk   *Trunk
		callees []Callee
		caller  Caller
	}{
		{
			"asterisk.sip", german(),
			[]Callee{
				{"101", "", "missed", "diversion"},
				{"voicemail", "", "missed", "request-uri"},
			},
			Caller{Number: "+493098765432", Name: `Jan M"uller`},
		},
		{
			"freeswitch.sip", german(),
			[]Callee{{"1001", "", "", "request-uri"}},
			Caller{Number: "1000", Name: "Extension 1000"},
		},
		{
			"kamailio.sip", german(),
			[]Callee{{"bob", "", "busy", "target"}},
			Caller{Number: "alice", Name: "Alice"},
		},
		{
			"ims.sip", german(),
			[]Callee{
				{"+4930111222", "+4930111222", "missed", "target"},
				{"+4930111000", "+4930111000", "forwarded", "history-info"},
				{"voicemail", "", "missed", "request-uri"},
			},
			Caller{Number: "+4917612345678", Name: "Marta Quaas", Trust: "verified"},
		},
		{
			"cisco.sip", german(),
			[]Callee{
				{"2001", "", "missed", "diversion"},
				{"2000", "", "forwarded", "diversion"},
				{"5999", "", "missed", "request-uri"},
			},
			Caller{Number: "2005", Name: "Reception"},
		},
		{
			"cisco.sip", first,
			[]Callee{
				{"2000", "", "forwarded", "diversion"},
				{"2001", "", "missed", "diversion"},
				{"5999", "", "forwarded", "request-uri"},
			},
			Caller{Number: "2005", Name: "Reception"},
		},
		{
			"sbc.sip", german(),
			[]Callee{
				{"030777888", "+4930777888", "unreachable", "history-info"},
				{"+4930999000", "+4930999000", "unreachable", "request-uri"},
			},
			Caller{Private: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.file+" "+tt.trunk.Mailbox, func(t *testing.T) {
			req := captured(t, tt.file)
			if got := callees(req, tt.trunk); !slices.Equal(got, tt.callees) {
				t.Errorf("callees\n got %+v\nwant %+v", got, tt.callees)
			}
			if got := caller(req, tt.trunk); got != tt.caller {
				t.Errorf("caller\n got %+v\nwant %+v", got, tt.caller)
			}
		})
	}
}

func TestCallees(t *testing.T) {
	const from, to = "From: <sip:1@pbx>;tag=1", "To: <sip:vm@gw>"
	tests := []struct {
		name  string
		uri   string
		lines []string
		want  []Callee
	}{
		{
			"cause alone says why",
			"sip:101@gw;cause=480",
			[]string{to},
			[]Callee{{"101", "", "declined", "request-uri"}, {"vm", "", "declined", "to"}},
		},
		{
			"an escaped target",
			"sip:vm@gw;cause=302;target=sip%3A%2B4930123456%3Bphone-context%3D%2B49%40pbx",
			[]string{to},
			[]Callee{{"+4930123456", "+4930123456", "forwarded", "target"}, {"vm", "", "forwarded", "request-uri"}},
		},
		{
			"a translated service number diverts nobody",
			"sip:101@gw;target=sip:0800123456%40pbx;cause=380",
			[]string{to, "History-Info: <sip:0800123456@pbx>;index=1,<sip:101@gw;cause=380>;index=1.1;mp=1"},
			[]Callee{{"101", "", "", "request-uri"}, {"vm", "", "", "to"}},
		},
		{
			"the reason of Diversion serves a target without cause",
			"sip:vm@gw;target=tel:+4930123456",
			[]string{to, `Diversion: <sip:+4930123456@pbx>;reason="User-Busy"`},
			[]Callee{{"+4930123456", "+4930123456", "busy", "target"}, {"vm", "", "busy", "request-uri"}},
		},
		{
			"each diversion keeps its own reason",
			"sip:vm@gw",
			[]string{to, "History-Info: <sip:101@pbx>;index=1,<sip:102@pbx>;index=1.1;mp=1,<sip:vm@gw>;index=1.1.1;mp=1.1", "Diversion: <sip:102@pbx>;reason=no-answer", "Diversion: <sip:101@pbx>;reason=unconditional"},
			[]Callee{
				{"102", "", "missed", "history-info"},
				{"101", "", "forwarded", "history-info"},
				{"vm", "", "missed", "request-uri"},
			},
		},
		{
			"History-Info out of order, cause without mp",
			"sip:vm@gw",
			[]string{to, "History-Info: <sip:vm@gw;cause=408>;index=1.10", "History-Info: <sip:c@192.0.2.1>;index=1.9;rc=1, <sip:101@pbx>;index=1"},
			[]Callee{{"101", "", "missed", "history-info"}, {"vm", "", "missed", "request-uri"}},
		},
		{
			"History-Info without indexes",
			"sip:vm@gw",
			[]string{to, "History-Info: <sip:101@pbx>, <sip:vm@gw;cause=486>"},
			[]Callee{{"101", "", "busy", "history-info"}, {"vm", "", "busy", "request-uri"}},
		},
		{
			"rc in a circle",
			"sip:vm@gw",
			[]string{to, "History-Info: <sip:101@pbx?Reason=SIP%3Bcause%3D408>;index=1;rc=1.1, <sip:102@pbx>;index=1.1;rc=1"},
			[]Callee{{"101", "", "missed", "history-info"}, {"vm", "", "missed", "request-uri"}},
		},
		{
			"a diversion without reason, hidden or unreadable",
			"sip:vm@gw",
			[]string{to, "Diversion: <sip:anonymous@anonymous.invalid>;reason=unavailable, 101, <sip:101@pbx>", "Diversion: <sip:102@pbx, <sip:103@pbx>"},
			[]Callee{{"101", "", "unreachable", "diversion"}, {"vm", "", "unreachable", "request-uri"}},
		},
		{
			"a reason that says nothing",
			"sip:vm@gw",
			[]string{to, "Diversion: <sip:101@pbx>;reason=unknown"},
			[]Callee{{"101", "", "", "diversion"}, {"vm", "", "", "request-uri"}},
		},
		{
			"P-Called-Party-ID before Request-URI and To",
			"sip:pilot@gw",
			[]string{"t: <sip:102@gw>", "P-Called-Party-ID: <sip:101@pbx>"},
			[]Callee{{"101", "", "", "p-called-party-id"}, {"pilot", "", "", "request-uri"}, {"102", "", "", "to"}},
		},
		{
			"tel in the Request-URI",
			"tel:030-123456;phone-context=+49",
			[]string{to},
			[]Callee{{"030-123456", "+4930123456", "", "request-uri"}, {"vm", "", "", "to"}},
		},
		{
			"the same number written twice",
			"sip:+4930123456@gw",
			[]string{"To: <sip:030123456@gw>"},
			[]Callee{{"+4930123456", "+4930123456", "", "request-uri"}, {"030123456", "+4930123456", "", "to"}},
		},
		{
			"the raw user part wins over its number",
			"sip:030123456@gw",
			[]string{"To: <sip:+4930123456@gw>"},
			[]Callee{{"030123456", "+4930123456", "", "request-uri"}},
		},
		{"nobody", "sip:gw", []string{"To: <sip:gw>"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := callees(invite(t, tt.uri, append(tt.lines, from)...), german())
			if !slices.Equal(got, tt.want) {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestCalleesAreBounded(t *testing.T) {
	var entries []string
	for range 2000 {
		entries = append(entries, "<sip:"+strings.Repeat("1", len(entries)%20)+"@pbx>")
	}
	req := invite(t, "sip:vm@gw", "To: <sip:vm@gw>", "From: <sip:1@pbx>;tag=1", "Diversion: "+strings.Join(entries, ","))
	if got := callees(req, german()); len(got) != maxCallees {
		t.Errorf("%d candidates", len(got))
	}
	if got := addresses(req, "Diversion"); len(got) != maxAddresses {
		t.Errorf("%d addresses", len(got))
	}
}

func TestEveryReason(t *testing.T) {
	causes := map[string]string{
		"408": "missed", "486": "busy", "503": "unreachable", "302": "forwarded",
		"480": "declined", "487": "declined", "404": "", "380": "", "600": "", "x": "",
	}
	for cause, want := range causes {
		req := invite(t, "sip:vm@gw;target=sip:101%40pbx;cause="+cause, "To: <sip:101@gw>", "From: <sip:1@pbx>;tag=1")
		list := callees(req, german())
		i := slices.IndexFunc(list, func(c Callee) bool { return c.User == "101" })
		if i < 0 || list[i].Reason != want {
			t.Errorf("cause %s: %+v, want %q", cause, list, want)
		}
	}
	reasons := map[string]string{
		"no-answer": "missed", "user-busy": "busy", "unavailable": "unreachable", "out-of-service": "unreachable",
		"unconditional": "forwarded", "deflection": "declined", "unknown": "", "follow-me": "", "": "",
	}
	for reason, want := range reasons {
		req := invite(t, "sip:vm@gw", "To: <sip:vm@gw>", "From: <sip:1@pbx>;tag=1", "Diversion: <sip:101@pbx>;reason="+reason)
		if got := callees(req, german())[0]; got.User != "101" || got.Reason != want {
			t.Errorf("reason %s: %+v, want %q", reason, got, want)
		}
	}
}

func TestCaller(t *testing.T) {
	const to, from = "To: <sip:vm@gw>", `From: "Anna" <sip:101@pbx>;tag=1`
	no := false
	stranger := german()
	stranger.Trusted = &no
	tests := []struct {
		name  string
		trunk *Trunk
		lines []string
		want  Caller
	}{
		{"From", german(), []string{from}, Caller{Number: "101", Name: "Anna"}},
		{"asserted, sip and tel", german(), []string{from, "P-Asserted-Identity: \"Bea\" <sip:bea@pbx>,<tel:+49-30-123456>"}, Caller{Number: "+4930123456", Name: "Bea"}},
		{"asserted, tel without brackets", german(), []string{from, "P-Asserted-Identity: tel:030123456"}, Caller{Number: "+4930123456"}},
		{"asserted, parameters in the user part", german(), []string{from, "P-Asserted-Identity: sip:+4930123456;verstat=TN-Validation-Passed;npdi@pbx;user=phone"}, Caller{Number: "+4930123456", Trust: "verified"}},
		{"asserted is better than remote", german(), []string{from, "Remote-Party-ID: <sip:102@pbx>", "P-Asserted-Identity: <sip:103@pbx>"}, Caller{Number: "103"}},
		{"remote", german(), []string{from, "Remote-Party-ID: \"Cleo\" <sip:102@pbx>;party=calling;privacy=off"}, Caller{Number: "102", Name: "Cleo"}},
		{"remote, the called party", german(), []string{from, "Remote-Party-ID: <sip:102@pbx>;party=called"}, Caller{Number: "101", Name: "Anna"}},
		{"preferred is never believed", german(), []string{from, "P-Preferred-Identity: <sip:666@pbx>"}, Caller{Number: "101", Name: "Anna"}},
		{"an unusable identity", german(), []string{from, "P-Asserted-Identity: urn:uuid:1, <sip:pbx>"}, Caller{Number: "101", Name: "Anna"}},
		{"not believed", stranger, []string{from, "P-Asserted-Identity: <sip:103@pbx>", "Remote-Party-ID: <sip:102@pbx>"}, Caller{Number: "101", Name: "Anna"}},
		{"a name that is the number", german(), []string{`From: "030 123456" <sip:030123456@pbx>;tag=1`}, Caller{Number: "+4930123456"}},
		{"a name with control characters", german(), []string{"From: \"A\u202e\tnna\x07\" <sip:101@pbx>;tag=1"}, Caller{Number: "101", Name: "Anna"}},
		{"privacy none", german(), []string{from, "Privacy: none"}, Caller{Number: "101", Name: "Anna"}},
		{"privacy id", german(), []string{from, "Privacy: critical;ID"}, Caller{Private: true}},
		{"privacy user", german(), []string{from, "Privacy: user"}, Caller{Private: true}},
		{"privacy header", stranger, []string{from, "Privacy: session ; header"}, Caller{Private: true}},
		{"privacy history", german(), []string{from, "Privacy: history"}, Caller{Number: "101", Name: "Anna"}},
		{"remote privacy=full", german(), []string{from, "Remote-Party-ID: <sip:102@pbx>;privacy=Full"}, Caller{Private: true}},
		{"remote privacy=name", german(), []string{from, "Remote-Party-ID: \"Cleo\" <sip:102@pbx>;privacy=name"}, Caller{Number: "102"}},
		{"remote privacy=uri", german(), []string{from, "Remote-Party-ID: \"Cleo\" <sip:102@pbx>;privacy=uri"}, Caller{Private: true}},
		{"anonymous From, asserted number", german(), []string{`From: "Anonymous" <sip:c8oqz84zk7z@anonymous.invalid>;tag=1`, "P-Asserted-Identity: <sip:+4930123456@pbx>"}, Caller{Private: true}},
		{"anonymous user", german(), []string{`f: <sip:Anonymous@192.0.2.1:5060>;tag=1`}, Caller{Private: true}},
		{"anonymous without a user", german(), []string{`From: "Anonymous" <sip:192.0.2.1>;tag=1`}, Caller{Private: true}},
		{"restricted", german(), []string{`From: "Restricted" <sip:restricted@192.0.2.1>;tag=1`, "P-Asserted-Identity: <sip:103@pbx>"}, Caller{Private: true}},
		{"unavailable", german(), []string{`From: "Unavailable" <sip:unavailable@unknown.invalid>;tag=1`}, Caller{Private: true}},
		{"unknown", german(), []string{`From: "Door" <sip:Unknown@pbx>;tag=1`}, Caller{Private: true}},
		{"unknown, but asserted", german(), []string{"From: <sip:unknown@pbx>;tag=1", "P-Asserted-Identity: <sip:103@pbx>"}, Caller{Number: "103"}},
		{"a name like that with a number", german(), []string{`From: "Unknown" <sip:101@pbx>;tag=1`}, Caller{Number: "101", Name: "Unknown"}},
		{"nobody", german(), []string{"From: <sip:pbx>;tag=1"}, Caller{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := caller(invite(t, "sip:vm@gw", append(tt.lines, to)...), tt.trunk); got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// FuzzIdentity reads hostile headers: nothing may panic, no bound be passed
// and no private caller be named.
func FuzzIdentity(f *testing.F) {
	f.Add("<sip:101@pbx>;reason=no-answer", "<sip:101@pbx?Reason=SIP%3Bcause%3D486>;index=1,<sip:vm@gw;cause=486>;index=1.1;mp=1", `"A" <tel:+4930123456>`, "id")
	f.Add(`"a\`, "<sip:a@b>;index=1;rc=1", "sip:;@", "none")
	f.Add(`"<,>;" <sip:%zz@[::1]:5060;x>;reason="no-answer`, "<sip:a@b>;index=9999999999999999999.1", "tel:", ";;")
	f.Fuzz(func(t *testing.T, diversion, historyInfo, asserted, privacy string) {
		req := sipmsg.NewRequest(sipmsg.INVITE, sipmsg.Uri{Scheme: "sip", User: "vm", Host: "gw"})
		for name, value := range map[string]string{
			"Diversion": diversion, "History-Info": historyInfo, "P-Asserted-Identity": asserted, "From": asserted, "Privacy": privacy,
		} {
			req.AppendHeader(sipmsg.NewHeader(name, value))
		}
		list := callees(req, german())
		if len(list) == 0 || len(list) > maxCallees {
			t.Errorf("%d candidates", len(list))
		}
		for _, c := range list {
			if c.User == "" || len(c.User) > maxText || c.Header == "" {
				t.Errorf("%+v", c)
			}
		}
		if c := caller(req, german()); c.Private && (c.Number != "" || c.Name != "") || len(c.Name) > maxText {
			t.Errorf("%+v", c)
		}
	})
}

func BenchmarkIdentity(b *testing.B) {
	req, trunk := captured(b, "ims.sip"), german()
	b.ReportAllocs()
	for b.Loop() {
		callees(req, trunk)
		caller(req, trunk)
	}
}
