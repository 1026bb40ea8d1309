package media

import (
	"math"
	"testing"
)

// A tone of any pitch goes on in phase, fades, and ends in silence.
func TestConceal(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		for _, hz := range []float64{80, 125, 200, 333, 450} {
			sound := func(from, n int) []int16 {
				pcm := make([]int16, n)
				for i := range pcm {
					at := 2 * math.Pi * hz * float64(from+i) / float64(rate)
					pcm[i] = int16(8000*math.Sin(at) + 3000*math.Sin(3*at))
				}
				return pcm
			}
			c := newConcealer(rate)
			c.heard(sound(0, rate/10))
			frame := rate / 50
			lost := make([]int16, frame)
			c.fill(lost)
			if got := snr(sound(rate/10, frame), lost); got < 12 {
				t.Errorf("%d Hz, %.0f Hz: the first 20 ms are made up at %.1f dB", rate, hz, got)
			}
			last := power(lost)
			for range 3 {
				c.fill(lost)
				if p := power(lost); p >= last {
					t.Errorf("%d Hz, %.0f Hz: it does not fade", rate, hz)
				} else {
					last = p
				}
			}
			if c.left() != 0 {
				t.Errorf("%d samples are left after 80 ms", c.left())
			}
			c.fill(lost)
			if p := power(lost); p != 0 {
				t.Errorf("%d Hz, %.0f Hz: it never ends: %.1f", rate, hz, p)
			}
			heard := sound(0, frame)
			c.heard(heard)
			if differences(heard, sound(0, frame)) > concealJoin*c.ms || c.left() != concealEnd*c.ms {
				t.Errorf("%d Hz, %.0f Hz: what comes after is changed, or no new gap can be filled", rate, hz)
			}
		}
	}
	c := newConcealer(8000)
	lost := make([]int16, 160)
	c.fill(lost) // nothing was heard before
	if power(lost) != 0 {
		t.Error("something was made of nothing")
	}
}

func TestNoise(t *testing.T) {
	for _, below := range []byte{0, 30, 45, 60, 78} {
		var n noise
		n.level(below | 0x80) // the top bit means nothing (RFC 3389 §3.1)
		pcm := make([]int16, 16000)
		n.fill(pcm)
		want := -float64(max(below, noiseLoudest))
		if got := 10 * math.Log10(power(pcm)/(1<<30)); math.Abs(got-want) > 0.7 {
			t.Errorf("level %d: %.1f dBFS, want %.0f", below, got, want)
		}
	}
}
