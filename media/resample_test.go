package media

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// sine makes a tone at nine tenths of full scale.
func sine(rate int, hz float64, samples int) Audio {
	a := Audio{Rate: rate, Samples: make([]int16, samples)}
	for i := range a.Samples {
		a.Samples[i] = int16(math.Round(29490 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return a
}

// level is the RMS in dB relative to that of sine.
func level(samples []float64) float64 {
	var sum float64
	for _, s := range samples {
		sum += s * s
	}
	return 10 * math.Log10(sum/float64(len(samples))/(29490*29490/2)+1e-12)
}

// What comes out is the tone itself, where it was, better than 80 dB; and
// nothing of a tone that the new rate cannot hold.
func TestResample(t *testing.T) {
	for _, c := range []struct{ from, to int }{
		{8000, 16000},
		{8000, 48000},
		{16000, 8000},
		{16000, 48000},
		{24000, 8000},
		{24000, 16000},
		{32000, 8000},
		{32000, 16000},
		{44100, 8000},
		{44100, 16000},
		{48000, 8000},
		{48000, 16000},
	} {
		t.Run(fmt.Sprintf("%d_%d", c.from, c.to), func(t *testing.T) {
			nyquist := float64(min(c.from, c.to)) / 2
			for _, share := range []float64{0.1, 0.5, 0.88} {
				hz := nyquist * share
				got, err := resample(sine(c.from, hz, c.from/10), c.to)
				if err != nil {
					t.Fatal(err)
				}
				want := sine(c.to, hz, c.to/10)
				if len(got.Samples) != len(want.Samples) || got.Rate != c.to {
					t.Fatalf("%d samples of %d Hz, want %d", len(got.Samples), got.Rate, len(want.Samples))
				}
				edge := c.to / 50
				var wrong []float64
				for i := edge; i < len(want.Samples)-edge; i++ {
					wrong = append(wrong, float64(got.Samples[i])-float64(want.Samples[i]))
				}
				if off := level(wrong); off > -80 {
					t.Errorf("a tone of %.0f Hz is wrong by %.1f dB", hz, off)
				}
			}
			for hz := nyquist * 1.01; hz < float64(c.from)/2; hz *= 1.7 {
				got, err := resample(sine(c.from, hz, c.from/10), c.to)
				if err != nil {
					t.Fatal(err)
				}
				var alias []float64
				for _, s := range got.Samples[c.to/50 : len(got.Samples)-c.to/50] {
					alias = append(alias, float64(s))
				}
				if left := level(alias); left > -80 {
					t.Errorf("of a tone of %.0f Hz %.1f dB are left", hz, left)
				}
			}
		})
	}
}

// Blocks of any size give what the whole gives.
func TestResamplerBlocks(t *testing.T) {
	for _, rates := range [][2]int{{8000, 16000}, {48000, 8000}, {44100, 16000}, {24000, 16000}} {
		in := sine(rates[0], 700, rates[0]).Samples
		whole, err := newResampler(rates[0], rates[1])
		if err != nil {
			t.Fatal(err)
		}
		want := whole.Append(nil, in)
		if len(want) != rates[1] {
			t.Errorf("%v: a second has %d samples", rates, len(want))
		}
		blocks, err := newResampler(rates[0], rates[1])
		if err != nil {
			t.Fatal(err)
		}
		var got []int16
		for size := 0; len(in) > 0; size = (size*7 + 1) % 500 {
			n := min(size, len(in))
			got = blocks.Append(got, in[:n])
			in = in[n:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: blocks give something else", rates)
		}
	}
}

func TestResamplerDoesNotAllocate(t *testing.T) {
	r, err := newResampler(8000, 16000)
	if err != nil {
		t.Fatal(err)
	}
	in, out := sine(8000, 700, 160).Samples, make([]int16, 0, 320)
	r.Append(out, in)
	if allocs := testing.AllocsPerRun(50, func() { r.Append(out, in) }); allocs != 0 {
		t.Errorf("%v allocations a block", allocs)
	}
}

// A full-scale square overshoots: it must be clipped, not wrapped.
func TestResampleClips(t *testing.T) {
	square := Audio{Rate: 8000, Samples: make([]int16, 800)}
	for i := range square.Samples {
		square.Samples[i] = math.MinInt16
		if i/20%2 == 0 {
			square.Samples[i] = math.MaxInt16
		}
	}
	got, err := resample(square, 16000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1500 {
		if at := i%80 - 40; i > 40 && (at < -4 || at > 4) && i%40 > 4 && i%40 < 36 {
			if high := i/40%2 == 0; high != (got.Samples[i] > 0) {
				t.Fatalf("sample %d is %d", i, got.Samples[i])
			}
		}
	}
}

func TestResamplerRefuses(t *testing.T) {
	for _, rates := range [][2]int{{0, 8000}, {8000, 0}, {-8000, 8000}, {47999, 8000}, {8000, 7919}} {
		if _, err := newResampler(rates[0], rates[1]); err == nil {
			t.Errorf("%v passed", rates)
		}
	}
}

func BenchmarkResample8to16(b *testing.B) {
	r, err := newResampler(8000, 16000)
	if err != nil {
		b.Fatal(err)
	}
	in, out := sine(8000, 700, 160).Samples, make([]int16, 0, 320)
	for b.Loop() {
		r.Append(out, in)
	}
}
