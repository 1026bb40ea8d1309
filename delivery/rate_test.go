package delivery

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"":          {},
		"30/s":      {30, time.Second},
		"20/m":      {20, time.Minute},
		"1000/h":    {1000, time.Hour},
		"1000000/s": {1_000_000, time.Second},
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want || r.String() != text {
			t.Errorf("%q: %+v, %q, %v", text, r, r, err)
		}
	}
	for _, text := range []string{"30", "/s", "30/", "30/d", "0/s", "-1/s", "1.5/s", "1000001/s", "30/s/m", " 30/s", "30 / s", "+30/s"} {
		if err := new(Rate).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a rate", text)
		}
	}
	for rate, want := range map[Rate]struct {
		burst int
		every time.Duration
	}{
		{30, time.Second}:      {30, time.Second / 30},
		{20, time.Minute}:      {1, 3 * time.Second},
		{7200, time.Hour}:      {2, 500 * time.Millisecond},
		{30, 3 * time.Second}:  {10, 100 * time.Millisecond}, // a third of 30/s
		{1, 24 * time.Hour}:    {1, 24 * time.Hour},
		{1_000_000, time.Hour}: {277, 3600 * time.Microsecond},
	} {
		if rate.Burst() != want.burst || rate.Every() != want.every {
			t.Errorf("%s: bursts of %d, one every %v", rate, rate.Burst(), rate.Every())
		}
	}
}

func FuzzRate(f *testing.F) {
	for _, text := range []string{"", "30/s", "20/m", "1000/h", "0/s", "1/2/s", "99999999999999999999/s"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, again Rate
		if r.UnmarshalText(text) != nil {
			return
		}
		if r.limits() && (r.Burst() < 1 || r.Every() <= 0) {
			t.Errorf("%q: bursts of %d, one every %v", text, r.Burst(), r.Every())
		}
		written, err := r.MarshalText()
		if err != nil || again.UnmarshalText(written) != nil || again != r {
			t.Errorf("%q is written %q: %+v, %v", text, written, again, err)
		}
	})
}

func TestLocalLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l LocalLimiter
		take := func(channel string, n int) (int, time.Duration) {
			t.Helper()
			granted, wait, err := l.Take(t.Context(), channel, Rate{10, time.Second}, n)
			if err != nil || (granted == 0) != (wait > 0) {
				t.Errorf("granted %d, wait %v, error %v", granted, wait, err)
			}
			return granted, wait
		}
		if granted, _ := take("crm", 4); granted != 4 {
			t.Errorf("granted %d of the burst", granted)
		}
		if granted, _ := take("crm", 100); granted != 6 {
			t.Errorf("granted %d of what was left", granted)
		}
		_, wait := take("crm", 1)
		if wait.Round(time.Microsecond) != 100*time.Millisecond {
			t.Errorf("the next one in %v", wait)
		}
		if granted, _ := take("bot", 10); granted != 10 {
			t.Errorf("another channel got %d", granted)
		}
		time.Sleep(wait)
		if granted, _ := take("crm", 100); granted != 1 {
			t.Errorf("granted %d when one was due", granted)
		}
	})
}

func TestIDsOfATime(t *testing.T) {
	at := time.Now().Truncate(time.Millisecond)
	id := NewID()
	if minted := MintedAt(id); minted.Before(at) || minted.After(time.Now()) {
		t.Errorf("minted at %v, not %v", minted, at)
	}
	if first := FirstID(MintedAt(id)); !ValidID(first) || first > id || first <= FirstID(MintedAt(id).Add(-time.Millisecond)) {
		t.Errorf("the first id of %s is %s", id, first)
	}
	if id >= FirstID(MintedAt(id).Add(time.Millisecond)) {
		t.Error("an id is above the first of the next millisecond")
	}
	for _, wrong := range []string{"", "0", "not an id at all, but long"} {
		if at := MintedAt(wrong); !at.IsZero() {
			t.Errorf("%q was minted at %v", wrong, at)
		}
	}
}
