package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

func TestOptionsValidate(t *testing.T) {
	trunks := byte(0)
	trunk := func(name, country string, from ...string) Trunk {
		tr := Trunk{Name: name, Country: country}
		for _, p := range from {
			tr.From = append(tr.From, netip.MustParsePrefix(p))
		}
		if from == nil {
			trunks++
			tr.From = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, trunks}), 32)}
		}
		return tr
	}
	for name, tt := range map[string]struct {
		change func(*Options)
		want   []string // the settings that are wrong, in order
	}{
		"the defaults":         {func(*Options) {}, nil},
		"nothing to listen on": {func(o *Options) { o.Listen = nil }, []string{"listen"}},
		"a host":               {func(o *Options) { o.Advertise = "sip-1.example.com" }, nil},
		"a host and port":      {func(o *Options) { o.Advertise = "sip.example.com:5080" }, nil},
		"an address":           {func(o *Options) { o.Advertise = "198.51.100.7" }, nil},
		"an address and port":  {func(o *Options) { o.Advertise = "[2001:db8::1]:5080" }, nil},
		"a URI":                {func(o *Options) { o.Advertise = "sip:sip.example.com" }, []string{"advertise"}},
		"a port too high":      {func(o *Options) { o.Advertise = "sip.example.com:65536" }, []string{"advertise"}},
		"a port alone":         {func(o *Options) { o.Advertise = ":5060" }, []string{"advertise"}},
		"every address":        {func(o *Options) { o.Advertise = "0.0.0.0" }, []string{"advertise"}},
		"too many colons":      {func(o *Options) { o.Advertise = "a:b:c" }, []string{"advertise"}},
		"countries":            {func(o *Options) { o.Trunks = []Trunk{trunk("a", "DE"), trunk("b", "fr"), trunk("c", "")} }, nil},
		"no country":           {func(o *Options) { o.Trunks = []Trunk{trunk("a", "49"), trunk("b", "Germany"), trunk("c", "XX")} }, []string{"trunks[0].country", "trunks[1].country", "trunks[2].country"}},
		"no name":              {func(o *Options) { o.Trunks = []Trunk{trunk("", "")} }, []string{"trunks[0].name"}},
		"a name twice":         {func(o *Options) { o.Trunks = []Trunk{trunk("a", ""), trunk("a", "")} }, []string{"trunks[1].name"}},
		"a network within":     {func(o *Options) { o.Trunks = []Trunk{trunk("a", "", "10.0.0.0/8"), trunk("b", "", "10.1.0.0/16")} }, nil},
		"a network twice": {func(o *Options) {
			o.Trunks = []Trunk{trunk("a", "", "10.0.0.0/8"), trunk("b", "", "::/0", "10.0.0.0/8")}
		}, []string{"trunks[1].from[1]"}},
		"an address of its net": {func(o *Options) { o.Trunks = []Trunk{trunk("a", "", "10.0.0.5/24", "10.0.0.6/32")} }, []string{"trunks[0].from[0]"}},
		"IPv4 dressed as IPv6":  {func(o *Options) { o.Trunks = []Trunk{trunk("a", "", "::ffff:10.0.0.0/104")} }, []string{"trunks[0].from[0]"}},
		"no source":             {func(o *Options) { o.Trunks = []Trunk{{Name: "a"}} }, []string{"trunks[0].from"}},
		"limits": {func(o *Options) {
			o.Limits = Limits{Calls: -1, Rate: -2, Callees: -3}
			o.Trunks = []Trunk{trunk("a", "", "10.0.0.0/8")}
			o.Trunks[0].Limits = Limits{Rate: -1}
		}, []string{"limits.calls", "limits.rate", "limits.callees", "trunks[0].limits.rate"}},
		"a realm in quotes": {func(o *Options) {
			o.Trunks = []Trunk{trunk("a", ""), trunk("b", "")}
			o.Trunks[0].Digest, o.Trunks[1].Digest = &Digest{Realm: "the PBX"}, &Digest{Realm: `the "PBX"`}
		}, []string{"trunks[1].digest.realm"}},
		"unknown numbers": {func(o *Options) {
			for i, unknown := range []Unknown{"", "480", "sip:{user}@pbx.example", "sips:nobody@[2001:db8::1]:5061", "302", "404", "sip:pbx.example", "tel:{user}", "sip:{number}@pbx", "sip:{user}@pbx>"} {
				o.Trunks = append(o.Trunks, trunk(string(rune('a'+i)), "", fmt.Sprintf("10.0.%d.0/24", i)))
				o.Trunks[i].Unknown = unknown
			}
		}, []string{"trunks[4].unknown", "trunks[5].unknown", "trunks[6].unknown", "trunks[7].unknown", "trunks[8].unknown", "trunks[9].unknown"}},
		"header policies": {func(o *Options) {
			o.Trunks = []Trunk{trunk("a", "", "10.0.0.0/16"), trunk("b", "", "10.1.0.0/16")}
			o.Trunks[0].Headers, o.Trunks[1].Headers = []string{"To", "diversion"}, []string{"from", "to", "TO"}
		}, []string{"trunks[1].headers[0]", "trunks[1].headers[2]"}},
		"message lamps": {func(o *Options) {
			o.Trunks = []Trunk{trunk("a", "", "10.0.0.0/16"), trunk("b", "", "10.1.0.0/16")}
			o.Trunks[0].MWI, o.Trunks[1].MWI = "sip:{mailbox}@192.0.2.1;transport=tcp", "sip:101@192.0.2.1"
		}, []string{"trunks[1].mwi"}},
		"what could not be read": {func(o *Options) { o.Trunks = []Trunk{{Name: "a", From: make([]netip.Prefix, 2)}} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := DefaultOptions()
			tt.change(&o)
			var got []error
			if joined, ok := o.Validate().(interface{ Unwrap() []error }); ok {
				got = joined.Unwrap()
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i, err := range got {
				s := (*settingError)(nil)
				if !errors.As(err, &s) {
					t.Fatalf("%v names no setting", err)
				}
				if key, expected := s.Setting(); key != tt.want[i] || expected == "" || err.Error() != "sip."+key+": "+expected {
					t.Errorf("got %v, want %s", err, tt.want[i])
				}
			}
		})
	}
}
