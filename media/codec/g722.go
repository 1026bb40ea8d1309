package codec

import (
	"slices"

	lib "github.com/gotranspile/g722"
)

// g722 is G.722 at 64 kbit/s: a byte is two samples of 16 kHz. Its RTP clock
// runs at 8 kHz nevertheless, an old mistake that had to stay (RFC 3551 §4.5.2).
func g722() Codec {
	const name, rate = "G722", 16000
	return Codec{
		Name: name, PayloadType: 9, ClockRate: 8000, Channels: 1, SampleRate: rate,
		NewDecoder: func(sampleRate int) (Decoder, error) {
			if sampleRate != rate {
				return nil, rateError(name, sampleRate)
			}
			return g722Decoder{lib.NewDecoder(lib.Rate64000, 0)}, nil
		},
		NewEncoder: func() (Encoder, error) {
			return g722Encoder{lib.NewEncoder(lib.Rate64000, 0)}, nil
		},
	}
}

// g722Decoder predicts each sample from those before it: one serves one stream.
type g722Decoder struct{ state *lib.Decoder }

func (d g722Decoder) Decode(pcm []int16, payload []byte) ([]int16, error) {
	if len(payload) == 0 {
		return pcm, ErrPayload
	}
	n := len(pcm)
	pcm = slices.Grow(pcm, 2*len(payload))
	n += d.state.Decode(pcm[n:n+2*len(payload)], payload)
	return pcm[:n], nil
}

type g722Encoder struct{ state *lib.Encoder }

func (e g722Encoder) Encode(payload []byte, pcm []int16) ([]byte, error) {
	if len(pcm)%2 != 0 {
		return payload, frameError("G722", len(pcm))
	}
	n := len(payload)
	payload = slices.Grow(payload, len(pcm)/2)
	n += e.state.Encode(payload[n:n+len(pcm)/2], pcm)
	return payload[:n], nil
}
