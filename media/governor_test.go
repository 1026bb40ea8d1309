package media

import (
	"testing"
	"testing/synctest"
	"time"
)

// Seconds of a processor for a second of 8 kHz audio at complexity 0.
const (
	quietCore = 0.00145
	noisyCore = 0.0022
)

// work plays so many seconds of that many calls on two processors: each call's
// second of audio is a turn. One turn in ten is interrupted for long.
func work(g *governor, calls, seconds int, core float64) (e effort, changes int) {
	for range seconds {
		for i := range calls {
			now := g.decide(calls, 0)
			if now != e && e != (effort{}) {
				changes++
			}
			e = now
			busy := core * e.cost * 60 / 1000 * 17 // 17 frames of 60 ms
			if i%10 == 3 {
				busy *= 8
			}
			g.observe(time.Duration(busy*float64(time.Second)), 17, e)
		}
		time.Sleep(time.Second)
	}
	return e, changes
}

func TestGovernor(t *testing.T) {
	for _, test := range []struct {
		calls int
		core  float64
		want  int
	}{
		{1, noisyCore, 9},
		{20, noisyCore, 9},
		{100, quietCore, 2},
		{200, noisyCore, 2}, // the usual one at the least
		{200, 1.8 * noisyCore, 2},
		{500, noisyCore, 0},
		{1000, quietCore, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGovernor(2)
			e, _ := work(g, test.calls, 20, test.core)
			if e.complexity != test.want {
				t.Errorf("%d calls at %g: complexity %d, want %d", test.calls, test.core, e.complexity, test.want)
			}
			if _, changes := work(g, test.calls, 60, test.core); changes > 0 {
				t.Errorf("%d calls at %g: it changed %d times in a minute", test.calls, test.core, changes)
			}
		})
	}
}

// It gives way at once, and comes back step by step when there has been room
// for a while.
func TestGovernorComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGovernor(2)
		if e := g.decide(2000, 0); e.complexity != 2 {
			t.Errorf("one decision: complexity %d", e.complexity)
		}
		if e := g.decide(2000, 0); e.complexity != 0 {
			t.Errorf("two decisions: complexity %d", e.complexity)
		}
		for second, want := range []int{0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 9} {
			if e := g.decide(10, 0); e.complexity != want {
				t.Errorf("after %d s: complexity %d, want %d", second, e.complexity, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// Turns that come late tell more than any estimate.
func TestGovernorLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGovernor(2)
		time.Sleep(time.Minute)
		for range 100 { // a hundred late turns at once are one sign
			g.decide(10, 2*governorLate)
		}
		if e := g.decide(10, 0); e.complexity != 2 {
			t.Errorf("complexity %d after one burst of late turns", e.complexity)
		}
		time.Sleep(time.Second)
		if e := g.decide(10, 2*governorLate); e.complexity != 0 {
			t.Errorf("complexity %d after another", e.complexity)
		}
		if _, frames := g.stats(); len(frames) != 0 {
			t.Errorf("frames %v", frames)
		}
	})
}
