package codec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Codec is an audio codec that a leg can answer with.
type Codec struct {
	Name        string // SDP encoding name (RFC 3551, 7587), matched without regard to case
	PayloadType int    // static payload type (RFC 3551), or -1 for a dynamic one
	ClockRate   int    // of the RTP timestamp, Hz
	Channels    int    // as the rtpmap says; 1 where it says nothing
	SampleRate  int    // of the PCM decoded, Hz

	// NewDecoder makes a decoder whose PCM has the given rate, SampleRate or a
	// rate the codec supports itself.
	NewDecoder func(sampleRate int) (Decoder, error)
	// NewEncoder makes an encoder for 20 ms frames of SampleRate, mono: the
	// beep and the test caller use it.
	NewEncoder func() (Encoder, error)
}

// Decoder turns payloads into mono 16-bit PCM. It keeps state from one payload
// to the next and belongs to one goroutine.
type Decoder interface {
	// Decode appends the samples of one payload to pcm. A damaged payload is
	// [ErrPayload] and leaves pcm as it was; so is an empty one. It allocates
	// only where pcm lacks the room.
	Decode(pcm []int16, payload []byte) ([]int16, error)
}

// Encoder turns mono 16-bit PCM into payloads.
type Encoder interface {
	// Encode appends the payload of one frame to payload.
	Encode(payload []byte, pcm []int16) ([]byte, error)
}

// ErrPayload says that a payload cannot have come from an encoder.
var ErrPayload = errors.New("codec: the payload is damaged")

// Codecs is the table, the one that sounds best first.
func Codecs() []Codec {
	return []Codec{opus(), g722(), pcmu(), pcma()}
}

// Find looks a codec up by the encoding name and clock rate (Hz) of an rtpmap.
func Find(name string, clockRate int) (Codec, bool) {
	all := Codecs()
	i := slices.IndexFunc(all, func(c Codec) bool {
		return strings.EqualFold(c.Name, name) && c.ClockRate == clockRate // RFC 4855 §3: names know no case
	})
	if i < 0 {
		return Codec{}, false
	}
	return all[i], true
}

// rateError says that a codec cannot decode to the rate asked for.
func rateError(name string, sampleRate int) error {
	return fmt.Errorf("codec: %s does not decode to %d Hz", name, sampleRate)
}

// frameError says that an encoder was given a frame of the wrong length.
func frameError(name string, samples int) error {
	return fmt.Errorf("codec: %s does not encode a frame of %d samples", name, samples)
}
