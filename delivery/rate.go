package delivery

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Rate is how many sends a channel may begin in a span of time, written 30/s,
// 20/m or 1000/h. The zero value sets no limit.
type Rate struct {
	Sends int
	Per   time.Duration
}

// maxRate is far above what any service takes, and far below an overflow.
const maxRate = 1_000_000

var errRate = errors.New("expected a number of sends a second, minute or hour, from 1 to 1000000, like 30/s, 20/m or 1000/h")

// UnmarshalText reads a rate; an empty text sets no limit.
func (r *Rate) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Rate{}
		return nil
	}
	number, unit, _ := strings.Cut(string(b), "/")
	sends, err := strconv.ParseUint(number, 10, 32)
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || !ok || sends == 0 || sends > maxRate {
		return errRate
	}
	*r = Rate{int(sends), per}
	return nil
}

// MarshalText writes a rate as UnmarshalText reads it.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes 30/s; "" for no limit.
func (r Rate) String() string {
	if !r.limits() {
		return ""
	}
	unit, ok := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
	if !ok { // a share of a rate
		unit = r.Per.String()
	}
	return strconv.Itoa(r.Sends) + "/" + unit
}

// Burst is how many sends may begin at once: a second's worth, and one at
// least.
func (r Rate) Burst() int { return max(1, int(r.perSecond())) }

// Every is the time from one send to the next.
func (r Rate) Every() time.Duration { return r.Per / time.Duration(max(1, r.Sends)) }

func (r Rate) limits() bool { return r.Sends > 0 && r.Per > 0 }

func (r Rate) perSecond() float64 { return float64(r.Sends) / r.Per.Seconds() }
