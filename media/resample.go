package media

import (
	"fmt"
	"math"
	"slices"
)

// The low-pass filter of a resampler: everything above half the lower rate is
// gone, everything below 0.9 of that is untouched.
const (
	resamplePass      = 0.9
	resampleRejection = 95.0 // dB
	resamplePhases    = 640  // at most so many of them: 44.1 kHz to 8 kHz takes 80
)

// resampler changes the rate of mono PCM, block by block, by a polyphase
// filter: the filter that would smooth the signal at from*up Hz is split into
// up phases, of which each output sample needs one.
type resampler struct {
	up, down int         // to/from in lowest terms
	phases   [][]float32 // up of them, each to be multiplied with as many input samples
	past     []float32   // the end of the input so far, one sample short of a phase
	next     int         // where the next output sample lies, in steps of 1/up input sample from the next input
	delay    int         // by how many output samples what comes out lags behind
}

// newResampler makes a resampler between two rates in Hz. It fails for rates
// that are not positive or whose ratio takes large numbers.
func newResampler(from, to int) (*resampler, error) {
	if from <= 0 || to <= 0 {
		return nil, fmt.Errorf("media: no resampling from %d to %d Hz", from, to)
	}
	divisor := gcd(from, to)
	r := &resampler{up: to / divisor, down: from / divisor}
	if r.up > resamplePhases || r.down > resamplePhases {
		return nil, fmt.Errorf("media: no resampling from %d to %d Hz: use a rate like 8000, 16000, 44100 or 48000", from, to)
	}
	filter := r.lowPass()
	taps := ((len(filter)+r.up-1)/r.up + 3) &^ 3 // dot takes four at a time
	r.phases = make([][]float32, r.up)
	for phase := range r.phases {
		r.phases[phase] = make([]float32, taps)
		for k := range taps {
			if i := phase + k*r.up; i < len(filter) {
				r.phases[phase][taps-1-k] = float32(filter[i]) // reversed: the newest sample comes last
			}
		}
	}
	r.past = make([]float32, taps-1)
	return r, nil
}

// lowPass designs the filter at from*up Hz: a sinc under a Kaiser window
// (Oppenheim and Schafer, Discrete-Time Signal Processing, §7.5), with its
// middle on an output sample.
func (r *resampler) lowPass() []float64 {
	nyquist := 1 / float64(max(r.up, r.down)) // half the lower rate, 1 being half of from*up
	width := (1 - resamplePass) * nyquist * math.Pi
	half := (resampleRejection - 8) / (2.285 * width) / 2
	r.delay = int(math.Ceil(half / float64(r.down)))
	middle := r.delay * r.down
	cutoff := (1 + resamplePass) / 2 * nyquist
	beta := 0.1102 * (resampleRejection - 8.7)
	filter := make([]float64, 2*middle+1)
	for i := range filter {
		x := float64(i - middle)
		window := bessel(beta*math.Sqrt(1-x*x/float64(middle*middle))) / bessel(beta)
		filter[i] = float64(r.up) * cutoff * sinc(cutoff*x) * window
	}
	return filter
}

// Append resamples in and appends what comes of it to out: up/down as many
// samples over the whole of a stream. in and out must not overlap.
func (r *resampler) Append(out, in []int16) []int16 {
	past := len(r.past)
	for _, s := range in {
		r.past = append(r.past, float32(s))
	}
	for ; r.next < len(in)*r.up; r.next += r.down {
		at := r.next / r.up
		phase := r.phases[r.next%r.up]
		out = append(out, round16(dot(phase, r.past[at:])))
	}
	r.next -= len(in) * r.up
	r.past = slices.Delete(r.past, 0, len(r.past)-past)
	return out
}

// dot multiplies a phase, a multiple of four long, with as many samples. Four
// sums do not wait for each other: that is three times as fast as one.
func dot(phase, input []float32) float32 {
	var a, b, c, d float32
	for ; len(phase) >= 4 && len(input) >= 4; phase, input = phase[4:], input[4:] {
		a += phase[0] * input[0]
		b += phase[1] * input[1]
		c += phase[2] * input[2]
		d += phase[3] * input[3]
	}
	return a + b + c + d
}

// resample changes the rate of a whole sound, which stays in its place and as
// long as it was.
func resample(a Audio, rate int) (Audio, error) {
	if a.Rate == rate {
		return a, nil
	}
	r, err := newResampler(a.Rate, rate)
	if err != nil {
		return Audio{}, err
	}
	length := (len(a.Samples)*r.up + r.down - 1) / r.down
	tail := (r.delay+1)*r.down/r.up + 1 // silence that pushes the rest out
	out := r.Append(make([]int16, 0, length+r.delay+2), a.Samples)
	out = r.Append(out, make([]int16, tail))
	return Audio{Rate: rate, Samples: out[r.delay : r.delay+length]}, nil
}

func round16(x float32) int16 {
	return int16(min(max(math.Round(float64(x)), math.MinInt16), math.MaxInt16))
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is the modified Bessel function of the first kind and order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
