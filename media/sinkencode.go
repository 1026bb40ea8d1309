package media

import (
	"io"
	"time"

	"github.com/afterbeep/afterbeep/media/codec"
)

// encoded is the work that an encoder did for a note.
type encoded struct {
	frames map[int]int   // by complexity
	cpu    time.Duration // of the processor
}

// longestFrame is more than any frame takes: what is above is a mismeasure.
const longestFrame = 20 * time.Millisecond

// encodeSink encodes PCM to Opus in frames of 60 ms.
type encodeSink struct {
	encoder    *codec.NoteEncoder
	ogg        *oggWriter
	complexity func() int
	encoded    func(cpu time.Duration)
	work       encoded
	ticks      int64 // in a sample
	samples    int64
	frame      []int16 // the part of a frame that is there
}

func newEncodeSink(w io.Writer, rate int, o RenderOptions) (noteSink, error) {
	encoder, err := codec.NewNoteEncoder(rate, o.Bitrate)
	if err != nil {
		return nil, err
	}
	ogg, err := newOggWriter(w, oggHead{Serial: oggSerial(), InputRate: rate, PreSkip: encoder.Lookahead()})
	if err != nil {
		return nil, err
	}
	return &encodeSink{
		encoder: encoder, ogg: ogg,
		complexity: o.Complexity, encoded: o.Encoded, work: encoded{frames: make(map[int]int)},
		ticks: tickRate / int64(rate),
		frame: make([]int16, 0, encoder.FrameSize()),
	}, nil
}

func (s *encodeSink) sound(pcm []int16, _ []byte) error {
	s.samples += int64(len(pcm))
	return s.encode(pcm)
}

func (s *encodeSink) gap(pcm []int16) error { return s.sound(pcm, nil) }

// encode cuts pcm into frames.
func (s *encodeSink) encode(pcm []int16) error {
	for len(pcm) > 0 {
		n := min(len(pcm), cap(s.frame)-len(s.frame))
		s.frame = append(s.frame, pcm[:n]...)
		pcm = pcm[n:]
		if len(s.frame) < cap(s.frame) {
			return nil
		}
		complexity := s.complexity()
		began := cpuTime()
		packet, err := s.encoder.Encode(s.frame, complexity)
		if err != nil {
			return err
		}
		cpu := min(max(0, cpuTime()-began), longestFrame)
		s.work.frames[complexity]++
		s.work.cpu += cpu
		s.encoded(cpu)
		if err := s.ogg.WritePacket(packet, len(s.frame)*int(s.ticks)); err != nil {
			return err
		}
		s.frame = s.frame[:0]
	}
	return nil
}

// close pushes the last sample out of the encoder, which runs late by its
// lookahead, and ends the file after it (RFC 7845 §4.4).
func (s *encodeSink) close() (encoded, error) {
	lookahead := (s.encoder.Lookahead() + int(s.ticks) - 1) / int(s.ticks)
	frame := cap(s.frame)
	zeros := (frame - (len(s.frame)+lookahead)%frame) % frame
	if err := s.encode(make([]int16, lookahead+zeros)); err != nil {
		return encoded{}, err
	}
	return s.work, s.ogg.Close(s.samples * s.ticks)
}
