package delivery

import (
	"testing"
	"time"
)

func TestBackoffBounds(t *testing.T) {
	for attempt, limit := range map[int]time.Duration{
		0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 3: 20 * time.Second,
		10: 2560 * time.Second, 11: time.Hour, 12: time.Hour, 1000: time.Hour,
	} {
		var least, most time.Duration = limit, 0
		for range 5000 {
			d := backoff(attempt)
			least, most = min(least, d), max(most, d)
		}
		if least < 0 || most >= limit {
			t.Errorf("attempt %d waits %v to %v, want [0, %v)", attempt, least, most, limit)
		}
		if least > limit/50 || most < limit-limit/50 { // full jitter fills the range
			t.Errorf("attempt %d waits only %v to %v of %v", attempt, least, most, limit)
		}
	}
}

func TestNextTry(t *testing.T) {
	for _, tc := range []struct {
		after, left time.Duration
		least, most time.Duration
		ok          bool
	}{
		{0, time.Hour, 0, 5 * time.Second, true},
		{time.Minute, time.Hour, time.Minute, time.Minute, true},
		{time.Hour, time.Hour, 0, 0, false},
		{0, time.Nanosecond, 0, time.Nanosecond, true}, // the last try falls on the deadline
		{0, 0, 0, 0, false},
		{0, -time.Hour, 0, 0, false},
	} {
		got, ok := nextTry(1, tc.after, tc.left)
		if ok != tc.ok || got < tc.least || got > tc.most {
			t.Errorf("nextTry(1, %v, %v) = %v, %v", tc.after, tc.left, got, ok)
		}
	}
}
