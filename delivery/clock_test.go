package delivery

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClockGoesOnEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewClock()
		before := clock.Now()
		time.Sleep(90 * time.Minute)
		if passed := clock.Now().Sub(before); passed != 90*time.Minute {
			t.Errorf("after 90 minutes the clock is %s on", passed)
		}
		if clock.Now() != clock.Now().Round(0) {
			t.Error("the time has a monotonic reading: it does not compare with one from disk")
		}
	})
}
