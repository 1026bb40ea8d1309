package media

import (
	"math"
	"testing"
	"time"
)

// tone is a sine of 400 Hz at a level in dBFS.
func tone(ms int, dBFS float64) []int16 {
	const rate = 8000
	pcm := make([]int16, rate*ms/1000)
	peak := math.Sqrt2 * 32768 * math.Pow(10, dBFS/20)
	for i := range pcm {
		pcm[i] = int16(math.Round(peak * math.Sin(2*math.Pi*400*float64(i)/rate)))
	}
	return pcm
}

func TestMeter(t *testing.T) {
	for _, test := range []struct {
		name     string
		add      func(m *meter)
		loudness float64
		speech   time.Duration
	}{
		{"silence", func(m *meter) { m.silence(8000) }, -96, 0},
		{"nothing", func(*meter) {}, -96, 0},
		{"a tone", func(m *meter) { m.add(tone(1000, -20)) }, -20, time.Second},
		{"just above the floor", func(m *meter) { m.add(tone(1000, -54.5)) }, -54.5, time.Second},
		{"just below the floor", func(m *meter) { m.add(tone(1000, -55.5)) }, -96, 0},
		{"a tone in silence", func(m *meter) {
			m.silence(4000)
			m.add(tone(100, -30))
			m.silence(4000)
		}, -30, 100 * time.Millisecond},
		{"not in step with the blocks", func(m *meter) {
			m.silence(4100)
			m.add(tone(500, -10))
			m.silence(1)
		}, -10.1, 500 * time.Millisecond},
		{"a click", func(m *meter) {
			m.silence(800)
			m.add([]int16{20000})
			m.silence(7199)
		}, -26.3, 0},
	} {
		m := newMeter(8000)
		test.add(m)
		var f Facts
		m.facts(&f)
		if math.Abs(f.Loudness-test.loudness) > 0.1 || (f.Speech-test.speech).Abs() > time.Millisecond {
			t.Errorf("%s: %.2f dBFS, %v of sound; want %.1f, %v", test.name, f.Loudness, f.Speech, test.loudness, test.speech)
		}
	}
}

func TestWaveform(t *testing.T) {
	m := newMeter(8000)
	for i := range waveformPoints {
		peak := 100 * (i + 1)
		for j := range 3 * m.block() {
			m.add([]int16{int16(peak - 2*peak*(j%2))})
		}
	}
	for i, p := range m.waveform() {
		if want := math.Round(255 * float64(i+1) / waveformPoints); math.Abs(float64(p)-want) > 1 {
			t.Errorf("point %d is %d, want %.0f", i, p, want)
		}
	}
	for blocks := range 100 { // shorter notes repeat points, none is left out
		m := newMeter(8000)
		m.add(tone(20*blocks, -20))
		w := m.waveform()
		if len(w) != waveformPoints || blocks > 0 && (w[0] < 250 || w[waveformPoints-1] < 250) || blocks == 0 && w[0] != 0 {
			t.Fatalf("%d blocks: % x", blocks, w)
		}
	}
}
