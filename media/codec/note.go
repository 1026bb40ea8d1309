package codec

import "fmt"

// NoteEncoder makes the Opus packets of one voice note: 60 ms frames, mono,
// variable bitrate, tuned for speech, silence coded like anything else. It
// holds about 200 kB and belongs to one goroutine. A note gets a fresh one:
// one that was reset keeps traces of the note before.
type NoteEncoder struct {
	opus       *opusEncoder
	complexity int
	packet     []byte
}

// NewNoteEncoder makes an encoder for PCM of sampleRate (8, 12, 16, 24 or 48
// kHz) at bitrate bit/s.
func NewNoteEncoder(sampleRate, bitrate int) (*NoteEncoder, error) {
	e, err := newOpusEncoder(sampleRate, sampleRate*6/100, bitrate, 0)
	if err != nil {
		return nil, err
	}
	return &NoteEncoder{opus: e, packet: make([]byte, 0, opusMaxPacket)}, nil
}

// FrameSize is how many samples Encode takes: 60 ms at the encoder's rate.
func (e *NoteEncoder) FrameSize() int { return e.opus.state.FrameSize() }

// Lookahead is by how much what comes out lags behind what went in, in samples
// of 48 kHz: the pre-skip of the file (RFC 7845 §4.2).
func (e *NoteEncoder) Lookahead() int {
	return e.opus.state.Lookahead() * opusRate / e.opus.state.SampleRate()
}

// Encode makes the packet of one frame, valid until the next call. The
// complexity, 0 to 10, may differ from frame to frame. It does not allocate.
func (e *NoteEncoder) Encode(pcm []int16, complexity int) (packet []byte, err error) {
	if complexity != e.complexity {
		if err := e.opus.state.SetComplexity(complexity); err != nil {
			return nil, fmt.Errorf("codec: opus at complexity %d: %w", complexity, err)
		}
		e.complexity = complexity
	}
	return e.opus.Encode(e.packet, pcm)
}
