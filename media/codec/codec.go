package codec

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
	// Decode appends the samples of one payload to pcm. A damaged payload is an
	// error and leaves pcm as it was.
	Decode(pcm []int16, payload []byte) ([]int16, error)
}

// Encoder turns mono 16-bit PCM into payloads.
type Encoder interface {
	// Encode appends the payload of one frame to payload.
	Encode(payload []byte, pcm []int16) ([]byte, error)
}
