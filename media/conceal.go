package media

import "math"

// Gaps are filled in two ways: what was lost by repeating the last pitch
// period while it fades, what was never sent by silence or comfort noise.
const (
	concealHold = 20 // ms at full level …
	concealEnd  = 80 // … and silent by then
	concealLow  = 15 // ms, the longest pitch period: 67 Hz
	concealHigh = 2  // ms, the shortest: 500 Hz
	concealLook = 10 // ms compared to find it
	concealJoin = 4  // ms over which what comes next is faded in
)

// concealer makes up sound for packets that were lost: the speech of the last
// moment goes on.
type concealer struct {
	ms     int     // samples in a millisecond
	past   []int16 // the last concealLow+concealLook ms heard, oldest first
	period int     // samples, found at the start of a gap
	made   int     // samples made up since; 0 outside a gap
}

func newConcealer(rate int) *concealer {
	ms := rate / 1000
	return &concealer{ms: ms, past: make([]int16, (concealLow+concealLook)*ms)}
}

// heard joins pcm to what was made up before it, and remembers its end.
func (c *concealer) heard(pcm []int16) {
	if c.made > 0 {
		join := min(concealJoin*c.ms, len(pcm))
		for i := range join {
			made := int(c.next())
			pcm[i] = int16((made*(join-i) + int(pcm[i])*i) / join)
		}
		c.made = 0
	}
	if n := len(c.past); len(pcm) >= n {
		copy(c.past, pcm[len(pcm)-n:])
	} else {
		copy(c.past, c.past[len(pcm):])
		copy(c.past[n-len(pcm):], pcm)
	}
}

// quiet forgets what was heard: a silence was sent, and nothing goes on in it.
func (c *concealer) quiet() {
	c.made = 0
	clear(c.past)
}

// left is how many samples it can make up before it falls silent.
func (c *concealer) left() int { return concealEnd*c.ms - c.made }

// fill continues what was heard last into pcm.
func (c *concealer) fill(pcm []int16) {
	if c.made == 0 {
		c.period = c.pitch()
	}
	for i := range pcm {
		pcm[i] = c.next()
	}
}

// next repeats one sample of the last period, fading.
func (c *concealer) next() int16 {
	s := int(c.past[len(c.past)-c.period+c.made%c.period])
	gain := min(max(0, c.left()), (concealEnd-concealHold)*c.ms)
	c.made++
	return int16(s * gain / ((concealEnd - concealHold) * c.ms))
}

// pitch finds the lag at which the past is most like itself.
func (c *concealer) pitch() int {
	window := concealLook * c.ms
	last := c.past[len(c.past)-window:]
	best, most := concealLow*c.ms, 0.0
	for lag := concealHigh * c.ms; lag <= concealLow*c.ms; lag++ {
		before := c.past[len(c.past)-window-lag:]
		var alike, energy int64
		for i, s := range last {
			alike += int64(s) * int64(before[i])
			energy += int64(before[i]) * int64(before[i])
		}
		if alike <= 0 {
			continue
		}
		if score := float64(alike) * float64(alike) / float64(energy); score > most {
			best, most = lag, score
		}
	}
	return best
}

// noiseLoudest is the loudest comfort noise that is believed, in dB below full
// scale: rooms are quieter.
const noiseLoudest = 30

// noise is comfort noise (RFC 3389), dull as that of a room: white noise
// through one pole.
type noise struct {
	amplitude int32  // of the white noise; 0 is silence
	seed      uint32 // of a xorshift generator: every rendering makes the same
	last      int32
}

// level sets the noise by the first byte of a payload: dB below full scale
// (RFC 3389 §3.1). What else the payload holds, a spectrum, is passed over.
func (n *noise) level(b byte) {
	below := max(float64(b&0x7f), noiseLoudest)
	// Uniform noise of amplitude a has an RMS of a/√3, the pole y += (x-y)/2 divides it by √3 again.
	n.amplitude = int32(math.Round(3 * (1 << 15) * math.Pow(10, -below/20)))
}

func (n *noise) fill(pcm []int16) {
	if n.amplitude == 0 {
		clear(pcm)
		return
	}
	if n.seed == 0 {
		n.seed = 1
	}
	for i := range pcm {
		n.seed ^= n.seed << 13
		n.seed ^= n.seed >> 17
		n.seed ^= n.seed << 5
		white := int64(int32(n.seed)) * int64(n.amplitude) >> 31
		n.last += (int32(white) - n.last) / 2
		pcm[i] = int16(n.last)
	}
}
