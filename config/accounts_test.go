package config

import (
	"net/netip"
	"testing"
)

// An account is all a file must name for calls to come in from outside; what
// the file does say stands.
func TestAnAccountIsEnough(t *testing.T) {
	const account = `accounts: [{registrar: pbx.example, user: "500", password_file: testdata/admin.token}]`
	for name, tt := range map[string]struct {
		sip, media    string
		listen, audio string
	}{
		"an account alone":      {"{" + account + "}", "{}", "udp://0.0.0.0:0", "0.0.0.0"},
		"a PBX by IPv6":         {`{accounts: [{registrar: "[2001:db8::5]", user: "500"}]}`, "{}", "udp://[::]:0", "::"},
		"a PBX on this machine": {"{listen: udp://127.0.0.1:5070, " + account + "}", "{}", "udp://127.0.0.1:5070", "127.0.0.1"},
		"one address":           {"{listen: udp://192.0.2.10:5060, " + account + "}", "{}", "udp://192.0.2.10:5060", "192.0.2.10"},
		"a trunk too":           {"{trunks: [{name: a, from: 127.0.0.1}], " + account + "}", "{}", "udp://127.0.0.1:5060", "127.0.0.1"},
		"an audio address":      {"{" + account + "}", "{address: 192.0.2.10}", "udp://0.0.0.0:0", "192.0.2.10"},
		"an advertised one":     {"{" + account + "}", "{advertise: 127.0.0.9}", "udp://0.0.0.0:0", "127.0.0.1"},
		"no account":            {"{}", "{}", "udp://127.0.0.1:5060", "127.0.0.1"},
	} {
		c, err := Parse("afterbeep.yaml", []byte("sip: "+tt.sip+"\nmedia: "+tt.media), env)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.SIP.Listen[0].String() != tt.listen || c.Media.Address != netip.MustParseAddr(tt.audio) {
			t.Errorf("%s: listens at %v, audio at %v", name, c.SIP.Listen, c.Media.Address)
		}
		if len(c.SIP.Accounts) > 0 && c.SIP.Accounts[0].Password != "" && c.SIP.Accounts[0].Password != "open sesame, if you please" {
			t.Errorf("%s: the password is not the file's", name)
		}
	}
}
