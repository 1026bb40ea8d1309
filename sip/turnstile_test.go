package sip

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"
)

// TestTurnstile: the response repeats what it must, however the request is
// written, and goes where it must.
func TestTurnstile(t *testing.T) {
	const plain = "INVITE sip:101@gw SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:101@gw>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	from := netip.MustParseAddrPort("198.51.100.7:6000")
	for name, tt := range map[string]struct {
		old, with string
		via       string // of the response, all of them
		to        string // where it goes; "" when the parser is asked
	}{
		"rport":          {"", "", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7", "198.51.100.7:6000"},
		"no rport":       {";rport", "", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;received=198.51.100.7", "198.51.100.7:5070"},
		"no port":        {":5070;branch=z9hG4bK1;rport", ";branch=1", "SIP/2.0/UDP 192.0.2.1;branch=1;received=198.51.100.7", "198.51.100.7:5060"},
		"IPv6":           {"192.0.2.1:5070;branch=z9hG4bK1;rport", "[2001:db8::1]", "SIP/2.0/UDP [2001:db8::1];received=198.51.100.7", "198.51.100.7:5060"},
		"forged":         {";rport", ";received=192.0.2.9;rport=9", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7", "198.51.100.7:6000"},
		"many lines":     {";rport\r\n", ";rport\r\nv: SIP/2.0/TCP b\r\nVIA : SIP/2.0/TLS c, SIP/2.0/UDP d\r\n", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7|SIP/2.0/TCP b|SIP/2.0/TLS c, SIP/2.0/UDP d", "198.51.100.7:6000"},
		"a list":         {";rport\r\n", ";rport, SIP/2.0/TCP b\r\n", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7, SIP/2.0/TCP b", "198.51.100.7:6000"},
		"compact":        {"From: <sip:a@b>;tag=1\r\nTo: <sip:101@gw>\r\nCall-ID:", "f: <sip:a@b>;tag=1\r\nt : <sip:101@gw>\r\ni:", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7", "198.51.100.7:6000"},
		"folded":         {"To: <sip:101@gw>", "To:\r\n <sip:101@gw>\r\n\t;x=y", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7", "198.51.100.7:6000"},
		"a tag in a URI": {"<sip:101@gw>", "<sip:101@gw;tag=x>", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=6000;received=198.51.100.7", "198.51.100.7:6000"},
		"within a call":  {"<sip:101@gw>", "<sip:101@gw>; TAG = x", "", ""},
		"another method": {"INVITE sip", "OPTIONS sip", "", ""},
		"no To":          {"To:", "X-To:", "", ""},
		"no Via":         {"Via:", "X-Via:", "", ""},
		"a strange Via":  {"SIP/2.0/UDP 192.0.2.1:5070", "somewhere", "", ""},
		"a strange port": {":5070", ":x", "", ""},
		"cut off":        {"\r\n\r\n", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(plain, tt.old, tt.with, 1)
			o, ok := readOutline([]byte(text))
			var response []byte
			var to netip.AddrPort
			if ok = ok && strings.HasPrefix(text, "INVITE ") && rawTag(o.to) == nil; ok {
				response, to, ok = o.refuse(nil, tooFast, 7, from)
			}
			if !ok {
				if tt.to != "" {
					t.Fatal("not read")
				}
				return
			}
			if to.String() != tt.to {
				t.Errorf("goes to %s, want %q", to, tt.to)
			}
			m := parseMessage(string(response))
			if got := strings.Join(m.headers["via"], "|"); got != tt.via {
				t.Errorf("Via\n%s, want\n%s", got, tt.via)
			}
			msg, err := newParser().ParseSIP(response)
			if err != nil {
				t.Fatalf("%v in\n%s", err, response)
			}
			res := msg.(*sipmsg.Response)
			if res.StatusCode != 503 || tagParam(res.To().Params) != "turned-0000000000000007" || tagParam(res.From().Params) != "1" ||
				res.CallID().Value() != "c" || res.CSeq().Value() != "1 INVITE" {
				t.Errorf("got\n%s", response)
			}
		})
	}
}

// FuzzTurnstile: whatever comes from a trunk, what is sent back is SIP that
// says 503, and no line of it is the sender's invention.
func FuzzTurnstile(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "invite", "*.sip"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no captured INVITEs: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")))
	}
	from := netip.MustParseAddrPort("198.51.100.7:6000")
	f.Fuzz(func(t *testing.T, datagram []byte) {
		o, ok := readOutline(datagram)
		if !ok {
			return
		}
		_ = rawTag(o.to)
		response, to, ok := o.refuse(nil, tooMany, 1, from)
		if !ok {
			return
		}
		if to.Addr() != from.Addr() || to.Port() == 0 {
			t.Errorf("goes to %s", to)
		}
		if !bytes.HasPrefix(response, []byte("SIP/2.0 503 ")) || !bytes.HasSuffix(response, []byte("\r\nContent-Length: 0\r\n\r\n")) {
			t.Errorf("got %q", response)
		}
		if len(response) > len(datagram)+512 {
			t.Errorf("%d bytes for %d", len(response), len(datagram))
		}
		if n := bytes.Count(response, []byte("\r\n\r\n")); n != 1 {
			t.Errorf("%d ends in %q", n, response)
		}
	})
}
