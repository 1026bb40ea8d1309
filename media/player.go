package media

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/afterbeep/afterbeep/media/codec"
)

// Frames cuts a sound of any rate into the payloads of 20 ms that a caller
// sends; silence fills up the last.
func Frames(a Audio, c codec.Codec) ([][]byte, error) {
	a, err := resample(a, c.SampleRate)
	if err != nil {
		return nil, err
	}
	encoder, err := c.NewEncoder()
	if err != nil {
		return nil, err
	}
	size := c.SampleRate / 50
	pcm := make([]int16, (len(a.Samples)+size-1)/size*size)
	copy(pcm, a.Samples)
	frames := make([][]byte, 0, len(pcm)/size)
	for ; len(pcm) > 0; pcm = pcm[size:] {
		frame, err := encoder.Encode(nil, pcm[:size])
		if err != nil {
			return nil, fmt.Errorf("media: frame %d: %w", len(frames), err)
		}
		frames = append(frames, frame)
	}
	return frames, nil
}

// PacketWriter is what a stream is sent through; *net.UDPConn is one. The
// packet is reused once the call has returned.
type PacketWriter interface {
	WriteToUDPAddrPort(packet []byte, to netip.AddrPort) (int, error)
}

// Stream is RTP to be sent by a [Pacer], a packet each 20 ms.
type Stream struct {
	Conn        PacketWriter
	To          netip.AddrPort
	PayloadType uint8
	ClockRate   int // of the timestamp, Hz
	SSRC        uint32
	Sequence    uint16            // of the first packet
	Timestamp   uint32            // of the first packet
	Frames      [][]byte          // payloads; only read, so that many streams may share them
	Count       int               // how many packets, the frames going round; 0: each frame once
	Fault       func(n int) Fault // what befalls packet n, from 0, asked once for each in order; nil: nothing
}

// packets is how many there are to be sent.
func (s *Stream) packets() int {
	if s.Count == 0 || len(s.Frames) == 0 {
		return len(s.Frames)
	}
	return s.Count
}

// Fault is what befalls a packet on a network that is not perfect.
type Fault uint8

// The faults, to try whoever receives.
const (
	NoFault   Fault = iota
	Lose            // never sent
	Duplicate       // sent twice
	Swap            // sent after its successor
)

// RandomFaults makes a [Stream]'s faults by their probabilities, 0 to 1, the
// same ones for the same seed. It serves one stream.
func RandomFaults(seed uint64, lose, duplicate, swap float64) func(n int) Fault {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // faults are to be repeatable, not secret
	return func(int) Fault {
		switch p := random.Float64(); {
		case p < lose:
			return Lose
		case p < lose+duplicate:
			return Duplicate
		case p < lose+duplicate+swap:
			return Swap
		default:
			return NoFault
		}
	}
}
