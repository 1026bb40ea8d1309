package codec

import "github.com/zaf/g711"

// pcmu is G.711 µ-law (RFC 3551 §4.5.14), a byte a sample.
func pcmu() Codec {
	const name, rate = "PCMU", 8000
	return Codec{
		Name: name, PayloadType: 0, ClockRate: rate, Channels: 1, SampleRate: rate,
		NewDecoder: func(sampleRate int) (Decoder, error) {
			if sampleRate != rate {
				return nil, rateError(name, sampleRate)
			}
			return ulaw{}, nil
		},
		NewEncoder: func() (Encoder, error) { return ulaw{}, nil },
	}
}

// ulaw has no state: each byte stands for itself, and each value is a sample.
type ulaw struct{}

func (ulaw) Decode(pcm []int16, payload []byte) ([]int16, error) {
	if len(payload) == 0 {
		return pcm, ErrPayload
	}
	for _, b := range payload { // the library's call for whole slices allocates
		pcm = append(pcm, g711.DecodeUlawFrame(b))
	}
	return pcm, nil
}

func (ulaw) Encode(payload []byte, pcm []int16) ([]byte, error) {
	for _, s := range pcm {
		payload = append(payload, g711.EncodeUlawFrame(s))
	}
	return payload, nil
}
