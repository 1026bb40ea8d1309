package media

import "time"

// note is the sound of a note in order: gaps are filled, all of it is measured
// and goes to the sink.
type note struct {
	rate    int // Hz
	sink    noteSink
	meter   *meter
	conceal *concealer
	noise   noise
	samples int64
	chunk   []int16 // 20 ms, for gaps
}

func newNote(rate int, s noteSink) *note {
	return &note{
		rate: rate, sink: s,
		meter: newMeter(rate), conceal: newConcealer(rate),
		chunk: make([]int16, rate/50),
	}
}

// duration is how long the note is so far.
func (n *note) duration() time.Duration {
	return time.Duration(n.samples) * time.Second / time.Duration(n.rate)
}

// sound adds what was heard; packet is the Opus packet it was decoded from, or
// nil. It may change pcm.
func (n *note) sound(pcm []int16, packet []byte) error {
	n.conceal.heard(pcm)
	n.meter.add(pcm)
	n.samples += int64(len(pcm))
	return n.sink.sound(pcm, packet)
}

// gap adds so many ticks of which nothing came: lost ones are concealed while
// that can be done, the rest is comfort noise or silence.
func (n *note) gap(ticks int64, lost bool) error {
	left := int(ticks * int64(n.rate) / tickRate)
	for left > 0 {
		pcm := n.chunk[:min(left, len(n.chunk))]
		if lost && n.conceal.left() > 0 {
			pcm = pcm[:min(len(pcm), n.conceal.left())]
			n.conceal.fill(pcm)
			n.meter.add(pcm)
		} else {
			n.conceal.quiet()
			n.noise.fill(pcm)
			n.meter.silence(len(pcm))
		}
		left -= len(pcm)
		n.samples += int64(len(pcm))
		if err := n.sink.gap(pcm); err != nil {
			return err
		}
	}
	return nil
}
