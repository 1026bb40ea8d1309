package media

import (
	"math"
	"time"
)

const (
	waveformPoints = 64
	quietest       = -96.0 // dBFS, in place of minus infinity
)

// meter measures the PCM of a note in blocks of 20 ms, of which it keeps two
// bytes each.
type meter struct {
	rate   int
	floor  float64  // SpeechFloor as an amplitude
	levels []uint16 // RMS amplitude of each block

	n     int     // samples in the block so far
	sum   float64 // of their squares
	above int     // of them within sound above the floor
	since int     // samples since the last one above the floor

	loud   float64 // sum of squares of the blocks above the floor
	loudN  int64   // samples in them
	speech int64   // samples of sound above the floor
}

func newMeter(rate int) *meter {
	return &meter{
		rate: rate, floor: math.Pow(10, SpeechFloor/20) * (1 << 15),
		since:  rate,                    // as after a silence
		levels: make([]uint16, 0, 1500), // half a minute
	}
}

// block is how many samples 20 ms are.
func (m *meter) block() int { return m.rate / 50 }

// add measures pcm.
func (m *meter) add(pcm []int16) {
	block, floor := m.block(), int(math.Ceil(m.floor))
	for _, s := range pcm {
		v := int(s)
		m.sum += float64(v * v)
		m.n++
		m.since++
		if v >= floor || v <= -floor {
			// Zero crossings and pauses under 20 ms belong to the sound around them.
			m.above += 1
			if m.since <= block {
				m.above += m.since - 1
			}
			m.since = 0
		}
		if m.n == block {
			m.close()
		}
	}
}

// silence measures n samples that nobody made: gaps and comfort noise.
func (m *meter) silence(n int) {
	for ; n > 0; n-- {
		m.n++
		m.since++
		if m.n == m.block() {
			m.close()
		}
	}
}

// close ends a block. Only what lies in a block above the floor counts, lest
// the peaks of a soft noise be taken for speech.
func (m *meter) close() {
	if m.n == 0 {
		return
	}
	rms := math.Sqrt(m.sum / float64(m.n))
	m.levels = append(m.levels, uint16(rms))
	if rms >= m.floor {
		m.loud += m.sum
		m.loudN += int64(m.n)
		m.speech += int64(m.above)
	}
	m.n, m.sum, m.above = 0, 0, 0
}

// facts writes down what was measured. It ends the measuring.
func (m *meter) facts(f *Facts) {
	m.close()
	f.Speech = time.Duration(m.speech) * time.Second / time.Duration(m.rate)
	f.Loudness = quietest
	if m.loudN > 0 {
		f.Loudness = max(quietest, 10*math.Log10(m.loud/float64(m.loudN)/(1<<30)))
	}
	f.Waveform = m.waveform()
}

// waveform sums the levels up in waveformPoints, each the RMS of its part.
func (m *meter) waveform() []byte {
	var points [waveformPoints]float64
	loudest := 0.0
	for i := range points {
		from := i * len(m.levels) / waveformPoints
		to := max(from+1, (i+1)*len(m.levels)/waveformPoints)
		for _, level := range m.levels[from:to] {
			points[i] += float64(level) * float64(level) / float64(to-from)
		}
		points[i] = math.Sqrt(points[i])
		loudest = max(loudest, points[i])
	}
	waveform := make([]byte, waveformPoints)
	for i, p := range points {
		if loudest > 0 {
			waveform[i] = byte(math.Round(255 * p / loudest))
		}
	}
	return waveform
}
