package media

import (
	"math"
	"testing"

	"github.com/afterbeep/afterbeep/media/codec"
)

func TestFrames(t *testing.T) {
	for _, c := range codec.Codecs() {
		for _, rate := range []int{8000, 44100} {
			sound := sine(rate, 440, rate*101/200) // half a second and 5 ms
			frames, err := Frames(sound, c)
			if err != nil {
				t.Fatal(err)
			}
			if len(frames) != 26 {
				t.Errorf("%s from %d Hz: %d frames, want 26", c.Name, rate, len(frames))
			}
			decoder, err := c.NewDecoder(c.SampleRate)
			if err != nil {
				t.Fatal(err)
			}
			var pcm []int16
			for _, frame := range frames {
				if pcm, err = decoder.Decode(pcm, frame); err != nil {
					t.Fatal(err)
				}
			}
			if got := toneShare(pcm[len(pcm)/4:len(pcm)*3/4], 440, c.SampleRate); got < 0.95 {
				t.Errorf("%s from %d Hz: the tone is %.3f of what came", c.Name, rate, got)
			}
		}
	}
	if _, err := Frames(Audio{Rate: 47999, Samples: make([]int16, 10)}, codec.Codecs()[0]); err == nil {
		t.Error("an impossible rate passed")
	}
}

// toneShare is how much of the power is at one frequency.
func toneShare(pcm []int16, hz float64, rate int) float64 {
	var re, im, power float64
	for i, s := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re, im = re+float64(s)*cos, im+float64(s)*sin
		power += float64(s) * float64(s)
	}
	return 2 * (re*re + im*im) / float64(len(pcm)) / power
}

func TestBeepTone(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		pcm := Beep(rate)
		if len(pcm) != rate/5 {
			t.Errorf("%d Hz: %d samples", rate, len(pcm))
		}
		peak := 0.0
		for _, s := range pcm {
			peak = max(peak, math.Abs(float64(s)))
		}
		if db := 20 * math.Log10(peak/32767); db < -12.3 || db > -11.7 {
			t.Errorf("%d Hz: the peak lies at %.1f dBFS", rate, db)
		}
		if pcm[0] != 0 || pcm[len(pcm)-1] != 0 || math.Abs(float64(pcm[rate/1000])) > peak/10 {
			t.Errorf("%d Hz: it clicks", rate)
		}
		if got := toneShare(pcm, 1000, rate); got < 0.95 {
			t.Errorf("%d Hz: %.3f of it is at 1,000 Hz", rate, got)
		}
	}
}

func TestRandomFaults(t *testing.T) {
	a, b := RandomFaults(1, 0.05, 0.02, 0.1), RandomFaults(1, 0.05, 0.02, 0.1)
	count := map[Fault]int{}
	for i := range 10000 {
		fault := a(i)
		if fault != b(i) {
			t.Fatal("the same seed gives other faults")
		}
		count[fault]++
	}
	for fault, want := range map[Fault]int{Lose: 500, Duplicate: 200, Swap: 1000, NoFault: 8300} {
		if got := count[fault]; got < want*8/10 || got > want*12/10 {
			t.Errorf("fault %d: %d times, want about %d", fault, got, want)
		}
	}
}
