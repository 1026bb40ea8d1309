package media

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options is the `media` part of the configuration file.
type Options struct {
	Address     netip.Addr    `yaml:"address" help:"IP address the RTP sockets are bound to; 127.0.0.1 hears this machine only"`
	Advertise   PublicAddr    `yaml:"advertise" help:"IP address that peers reach, where it differs from the bound one (NAT, containers)"`
	Ports       PortRange     `yaml:"ports" help:"UDP ports for RTP, first and last; a call takes an even port, and the odd one after it where RTCP comes apart"`
	Beep        bool          `yaml:"beep" help:"a short beep when the call is answered"`
	MaxDuration time.Duration `yaml:"max_duration" least:"1s" help:"a recording ends after this time"`
	NoRTP       time.Duration `yaml:"no_rtp" least:"1s" help:"a call ends when no audio came for this time"`
	SRTP        SRTP          `yaml:"srtp" enum:"off|optional|required" help:"encrypted audio, with keys by SDES or DTLS: off refuses it, optional takes what is offered, required refuses plain audio"`

	// Codecs restricts what is offered and answered to these encoding names;
	// none means every codec there is. The test caller sets it.
	Codecs []string `yaml:"-"`
}

// DefaultOptions binds to loopback.
func DefaultOptions() Options {
	return Options{
		Address:     netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		Ports:       PortRange{First: 20000, Last: 29999},
		Beep:        true,
		MaxDuration: 3 * time.Minute,
		NoRTP:       10 * time.Second,
		SRTP:        SRTPOptional,
	}
}

// Validate returns everything that is wrong with the options, joined, or nil.
func (o Options) Validate() error {
	var wrong []error
	complain := func(key, format string, args ...any) {
		wrong = append(wrong, &settingError{key, fmt.Sprintf(format, args...)})
	}
	switch told := o.advertised(); {
	case !o.Address.IsValid() || o.Address.IsMulticast():
		complain("address", "expected the IP address of an interface of this machine, like 192.0.2.10")
	case told.IsUnspecified():
		complain("advertise", "expected the IP address that peers reach, because address is %s, which means every interface", o.Address)
	case told.Is4() != o.Address.Is4():
		complain("advertise", "%s and address %s must both be IPv4 or both IPv6", told, o.Address)
	}
	if o.Ports.pairs() == 0 {
		complain("ports", "%s holds no even port from 1024 to 65534; expected FIRST-LAST, like 20000-29999", o.Ports)
	}
	switch {
	case o.MaxDuration <= 0:
		complain("max_duration", "expected a time above zero, like 3m")
	case o.MaxDuration > LongestNote():
		complain("max_duration", "expected %s or less: at Opus's lowest bitrate, %d kbit/s, a longer note is over %d kB",
			LongestNote(), bitrateLeast/1000, NoteBytes>>10)
	}
	if o.NoRTP <= 0 {
		complain("no_rtp", "expected a time above zero, like 10s")
	}
	if known := []SRTP{"", SRTPOff, SRTPOptional, SRTPRequired}; !slices.Contains(known, o.SRTP) {
		complain("srtp", "expected off, optional or required")
	}
	return errors.Join(wrong...)
}

// LongestNote is how long a note can get within NoteBytes.
func LongestNote() time.Duration {
	seconds := bitrateShare * NoteBytes * 8 / bitrateLeast
	return time.Duration(seconds) * time.Second
}

// settingError is a mistake in one setting.
type settingError struct{ key, expected string }

// Error names the setting with its part.
func (e *settingError) Error() string { return "media." + e.key + ": " + e.expected }

// Setting is the key below `media`, and what was expected there.
func (e *settingError) Setting() (key, expected string) { return e.key, e.expected }

// advertised is the address that stands in our session descriptions.
func (o Options) advertised() netip.Addr {
	if o.Advertise.IsValid() {
		return o.Advertise.Addr
	}
	return o.Address
}

// PublicAddr is an IP address, or the zero value where none is given.
type PublicAddr struct{ netip.Addr }

// UnmarshalText reads an IP address or nothing. A host name is refused: it
// would have to be resolved anew for each call.
func (p *PublicAddr) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*p = PublicAddr{}
		return nil
	}
	addr, err := netip.ParseAddr(string(b))
	switch {
	case err != nil:
		return errors.New("host names are not resolved: expected an IP address that peers reach, like 203.0.113.7")
	case addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast():
		return errors.New("expected an IP address that peers reach, like 203.0.113.7")
	}
	p.Addr = addr.Unmap()
	return nil
}

// PortRange is the UDP ports for RTP, from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// UnmarshalText reads FIRST-LAST.
func (r *PortRange) UnmarshalText(b []byte) error {
	first, last, ok := strings.Cut(string(b), "-")
	lo, errFirst := strconv.ParseUint(strings.TrimSpace(first), 10, 32)
	hi, errLast := strconv.ParseUint(strings.TrimSpace(last), 10, 32)
	switch {
	case !ok || errFirst != nil || errLast != nil:
		return errors.New("expected FIRST-LAST, like 20000-29999")
	case hi > math.MaxUint16 || lo > math.MaxUint16:
		return errors.New("expected ports up to 65535, like 20000-29999")
	case lo > hi:
		return errors.New("expected the lower port first, like 20000-29999")
	}
	r.First, r.Last = uint16(lo), uint16(hi)
	return nil
}

// MarshalText writes FIRST-LAST.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes FIRST-LAST.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// leastPort is the first port that needs no privilege.
const leastPort = 1024

// even is the first even port of the range.
func (r PortRange) even() int { return (int(r.First) + 1) &^ 1 }

// pairs counts the even ports of the range (RFC 3550 §11: RTP on even ports).
func (r PortRange) pairs() int {
	if r.First < leastPort || r.First > r.Last {
		return 0
	}
	return (int(r.Last) - r.even() + 2) / 2
}
