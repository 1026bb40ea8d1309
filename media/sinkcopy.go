package media

import (
	"bytes"
	"fmt"

	"github.com/afterbeep/afterbeep/media/codec"
)

// copySink copies Opus packets as they came. Gaps become packets with nothing
// in them, which a decoder conceals (RFC 7845 §4.1); what came in another codec
// is encoded into the same stream.
type copySink struct {
	out     *bytes.Buffer
	limit   int64 // bytes
	ogg     *oggWriter
	ticks   int64 // in a sample
	toc     byte  // first byte of the last packet
	wanted  int64 // ticks, how long the note is
	written int64 // ticks of packets written
	last    int64 // ticks of the last of them
	scratch []byte

	encoder codec.Encoder // made when another codec comes
	frame   []int16       // the part of a 20 ms frame that is there
}

const (
	copyStep    = tickRate / 400 // the shortest Opus packet, in ticks
	copyPreSkip = 312            // ticks by which what encoders send runs late at its start: 6.5 ms, the same in all of them but for low delay
)

func newCopySink(out *bytes.Buffer, rate int, limit int64) (noteSink, error) {
	ogg, err := newOggWriter(out, oggHead{Serial: oggSerial(), InputRate: rate, PreSkip: copyPreSkip})
	if err != nil {
		return nil, err
	}
	return &copySink{
		out: out, limit: limit, ogg: ogg, ticks: tickRate / int64(rate),
		frame: make([]int16, 0, rate/50),
	}, nil
}

func (s *copySink) sound(pcm []int16, packet []byte) error {
	if packet == nil {
		return s.encode(pcm)
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.wanted += int64(len(pcm)) * s.ticks
	return s.write(packet)
}

func (s *copySink) gap(pcm []int16) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.wanted += int64(len(pcm)) * s.ticks
	return s.lose((s.wanted - s.written) / copyStep * copyStep)
}

// lose writes so many ticks of nothing.
func (s *copySink) lose(ticks int64) (err error) {
	if ticks <= 0 {
		return nil
	}
	if s.scratch, err = codec.LostPacket(s.scratch[:0], s.toc, int(ticks)); err != nil {
		return err
	}
	return s.write(s.scratch)
}

func (s *copySink) write(packet []byte) error {
	length, err := codec.PacketDuration(packet)
	if err != nil {
		return err
	}
	s.toc = packet[0]
	s.last = int64(length)
	s.written += s.last
	if err := s.ogg.WritePacket(packet, length); err != nil {
		return err
	}
	return s.fits()
}

func (s *copySink) fits() error {
	if int64(s.out.Len()) > s.limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrNoCopy, s.out.Len(), s.limit)
	}
	return nil
}

// encode cuts the PCM of another codec into frames of 20 ms.
func (s *copySink) encode(pcm []int16) (err error) {
	if s.encoder == nil {
		opus, _ := codec.Find(opusName, tickRate)
		if s.encoder, err = opus.NewEncoder(); err != nil {
			return err
		}
	}
	s.wanted += int64(len(pcm)) * s.ticks
	for len(pcm) > 0 {
		n := min(len(pcm), cap(s.frame)-len(s.frame))
		s.frame = append(s.frame, pcm[:n]...)
		pcm = pcm[n:]
		if len(s.frame) < cap(s.frame) {
			return nil
		}
		if s.scratch, err = s.encoder.Encode(s.scratch[:0], s.frame); err != nil {
			return err
		}
		s.frame = s.frame[:0]
		if err := s.write(s.scratch); err != nil {
			return err
		}
	}
	return nil
}

// flush encodes a frame begun, filled up with silence: the next gap is shorter
// by that.
func (s *copySink) flush() error {
	if len(s.frame) == 0 {
		return nil
	}
	missing := cap(s.frame) - len(s.frame)
	err := s.encode(make([]int16, missing))
	s.wanted -= int64(missing) * s.ticks
	return err
}

// close ends the file to the sample. What the sender's encoder still held never
// came; packets of nothing, multiples of 2.5 ms, stand for it, and what they
// hold beyond the end is cut off by players (RFC 7845 §4.4). It is a part of the
// last packet, and at most a frame: where frames that were filled up, one at
// each change of codec, have come to more, the caller's last words would go.
func (s *copySink) close() (encoded, error) {
	if err := s.flush(); err != nil {
		return encoded{}, err
	}
	short := copyPreSkip + s.wanted - s.written
	for short > 0 {
		step := min((short+copyStep-1)/copyStep*copyStep, tickRate/50)
		if err := s.lose(step); err != nil {
			return encoded{}, err
		}
		short -= step
	}
	if -short >= min(s.last, tickRate/50) {
		return encoded{}, fmt.Errorf("%w: %v longer than the call", ErrNoCopy, duration(-short))
	}
	if err := s.ogg.Close(s.wanted); err != nil {
		return encoded{}, err
	}
	return encoded{}, s.fits()
}
