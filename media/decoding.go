package media

import (
	"fmt"
	"strings"

	"github.com/afterbeep/afterbeep/media/codec"
)

// streamKind says what the packets of a payload type are.
type streamKind byte

const (
	kindUnknown streamKind = iota
	kindAudio
	kindEvent
	kindNoise
)

// opusName is the codec whose packets a note is made of.
const opusName = "opus"

// decoding is a format in force with what it takes to decode it.
type decoding struct {
	Format
	kind  streamKind
	codec codec.Codec

	decoder  codec.Decoder // made when the first packet comes
	target   int           // rate of the note it was made for, Hz
	rate     int           // of its PCM, Hz
	resample *resampler    // nil where that is the same
	pcm      []int16       // before resampling
}

func newDecoding(f Format) *decoding {
	d := &decoding{Format: f}
	switch {
	case strings.EqualFold(f.Name, telephoneEvent):
		d.kind = kindEvent
	case strings.EqualFold(f.Name, comfortNoise):
		d.kind = kindNoise
	default:
		if c, ok := codec.Find(f.Name, f.ClockRate); ok {
			d.kind, d.codec = kindAudio, c
		}
	}
	return d
}

// forget drops the state of the decoder: the next packet is another stream's.
func (d *decoding) forget() {
	if d != nil {
		d.decoder = nil
	}
}

// decode appends the payload's samples at the note's rate to pcm and says how
// many ticks they last.
func (d *decoding) decode(pcm []int16, payload []byte, rate int) (out []int16, ticks int64, err error) {
	if d.decoder == nil || d.target != rate {
		if err := d.open(rate); err != nil {
			return pcm, 0, err
		}
	}
	if d.resample == nil {
		out, err = d.decoder.Decode(pcm, payload)
		return out, int64(len(out)-len(pcm)) * tickRate / int64(d.rate), err
	}
	if d.pcm, err = d.decoder.Decode(d.pcm[:0], payload); err != nil {
		return pcm, 0, err
	}
	return d.resample.Append(pcm, d.pcm), int64(len(d.pcm)) * tickRate / int64(d.rate), nil
}

// open makes the decoder: for the note's rate if it can, else a resampler
// behind it.
func (d *decoding) open(rate int) (err error) {
	d.target, d.rate, d.resample = rate, rate, nil
	if d.decoder, err = d.codec.NewDecoder(rate); err == nil {
		return nil
	}
	d.rate = d.codec.SampleRate
	if d.decoder, err = d.codec.NewDecoder(d.rate); err != nil {
		return fmt.Errorf("media: decoding %s: %w", d.Name, err)
	}
	d.resample, err = newResampler(d.rate, rate)
	return err
}

// copyable is the payload if it is an Opus packet, else nil.
func (d *decoding) copyable(payload []byte) []byte {
	if d.codec.Name != opusName {
		return nil
	}
	return payload
}
