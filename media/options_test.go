package media

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestOptionsValidate(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	tests := map[string]struct {
		change func(*Options)
		want   string // in the error; "" for none
	}{
		"no address":      {func(o *Options) { o.Address = netip.Addr{} }, "media.address"},
		"multicast":       {func(o *Options) { o.Address = netip.MustParseAddr("224.0.0.1") }, "media.address"},
		"every interface": {func(o *Options) { o.Address = netip.IPv4Unspecified() }, "media.advertise"},
		"every interface, told": {func(o *Options) {
			o.Address, o.Advertise.Addr = netip.IPv4Unspecified(), netip.MustParseAddr("203.0.113.7")
		}, ""},
		"families differ":        {func(o *Options) { o.Advertise.Addr = netip.MustParseAddr("2001:db8::1") }, "media.advertise"},
		"no even port":           {func(o *Options) { o.Ports = PortRange{20001, 20001} }, "media.ports"},
		"one even port":          {func(o *Options) { o.Ports = PortRange{20001, 20002} }, ""},
		"ports upside down":      {func(o *Options) { o.Ports = PortRange{30000, 20000} }, "media.ports"},
		"privileged ports":       {func(o *Options) { o.Ports = PortRange{10, 20} }, "media.ports"},
		"no time to record":      {func(o *Options) { o.MaxDuration = 0 }, "media.max_duration"},
		"as long as a note gets": {func(o *Options) { o.MaxDuration = LongestNote() }, ""},
		"longer than that":       {func(o *Options) { o.MaxDuration = LongestNote() + 1 }, "media.max_duration: expected 11m4s or less"},
		"encrypted at times":     {func(o *Options) { o.SRTP = "sometimes" }, "media.srtp"},
		"no time to be heard in": {func(o *Options) { o.NoRTP = -1 }, "media.no_rtp"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := DefaultOptions()
			tt.change(&o)
			err := o.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, again := NewEngine(o, quietLog()); (again == nil) != (err == nil) {
				t.Errorf("NewEngine says %v, Validate %v", again, err)
			}
		})
	}
}

// All mistakes come back at once, each with its setting.
func TestOptionsValidateTellsAll(t *testing.T) {
	o := Options{Address: netip.IPv4Unspecified()}
	var keys []string
	for _, err := range o.Validate().(interface{ Unwrap() []error }).Unwrap() {
		if s := (*settingError)(nil); errors.As(err, &s) {
			key, _ := s.Setting()
			keys = append(keys, key)
		}
	}
	if want := []string{"advertise", "ports", "max_duration", "no_rtp"}; !slices.Equal(keys, want) {
		t.Errorf("mistakes in %v, want %v", keys, want)
	}
}

func TestNewEngineUnknownCodec(t *testing.T) {
	o := DefaultOptions()
	o.Codecs = []string{"PCMU", "speex"}
	if _, err := NewEngine(o, quietLog()); err == nil || !strings.Contains(err.Error(), "speex") {
		t.Errorf("error %v, want one that names speex", err)
	}
}

func TestPortRangeText(t *testing.T) {
	for text, want := range map[string]PortRange{
		"20000-29999":   {20000, 29999},
		"20000 - 20000": {20000, 20000},
	} {
		var r PortRange
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
	for text, want := range map[string]string{
		"": "FIRST-LAST", "20000": "FIRST-LAST", "a-b": "FIRST-LAST", "-5": "FIRST-LAST", "1-2-3": "FIRST-LAST",
		"2-1": "the lower port first", "1-70000": "up to 65535", "70000-70001": "up to 65535",
	} {
		var r PortRange
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if b, err := (PortRange{20000, 29999}).MarshalText(); err != nil || string(b) != "20000-29999" {
		t.Errorf("written as %s, %v", b, err)
	}
}

func TestPublicAddrText(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"203.0.113.7":         "203.0.113.7",
		"2001:db8::7":         "2001:db8::7",
		"::ffff:203.0.113.70": "203.0.113.70",
	} {
		var p PublicAddr
		if err := p.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if b, err := p.MarshalText(); err != nil || string(b) != want {
			t.Errorf("%q: written as %q, %v", text, b, err)
		}
	}
	for _, text := range []string{"media.example.com", "0.0.0.0", "224.0.0.1", "fe80::1%eth0", "1.2.3"} {
		var p PublicAddr
		if err := p.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "IP address") {
			t.Errorf("%q: error %v, want one that asks for an IP address", text, err)
		}
	}
}
