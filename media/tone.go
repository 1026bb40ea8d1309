package media

import "math"

// Beep is the tone a caller hears at the answer, as mono samples of rate Hz:
// 200 ms of 1,000 Hz with its peaks at -12 dBFS, faded in and out over 10 ms so
// that it does not click.
func Beep(rate int) []int16 {
	const peak = 0.25 * math.MaxInt16
	pcm := make([]int16, rate/5)
	fade := rate / 100
	for i := range pcm {
		level := 1.0
		if edge := min(i, len(pcm)-1-i); edge < fade {
			level = (1 - math.Cos(math.Pi*float64(edge)/float64(fade))) / 2
		}
		phase := 2 * math.Pi * 1000 * float64(i) / float64(rate)
		pcm[i] = int16(math.Round(peak * level * math.Sin(phase)))
	}
	return pcm
}
