package codec

import "github.com/zaf/g711"

// pcma is G.711 A-law (RFC 3551 §4.5.14), a byte a sample.
func pcma() Codec {
	const name, rate = "PCMA", 8000
	return Codec{
		Name: name, PayloadType: 8, ClockRate: rate, Channels: 1, SampleRate: rate,
		NewDecoder: func(sampleRate int) (Decoder, error) {
			if sampleRate != rate {
				return nil, rateError(name, sampleRate)
			}
			return alaw{}, nil
		},
		NewEncoder: func() (Encoder, error) { return alaw{}, nil },
	}
}

// alaw has no state: each byte stands for itself, and each value is a sample.
type alaw struct{}

func (alaw) Decode(pcm []int16, payload []byte) ([]int16, error) {
	if len(payload) == 0 {
		return pcm, ErrPayload
	}
	for _, b := range payload { // the library's call for whole slices allocates
		pcm = append(pcm, g711.DecodeAlawFrame(b))
	}
	return pcm, nil
}

func (alaw) Encode(payload []byte, pcm []int16) ([]byte, error) {
	for _, s := range pcm {
		payload = append(payload, g711.EncodeAlawFrame(s))
	}
	return payload, nil
}
