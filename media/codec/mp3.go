package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"

	shine "github.com/braheezy/shine-mp3/pkg/mp3"
)

// MP3 as every mail client plays it: MPEG-2 layer III (ISO/IEC 13818-3), mono.
// At these rates each frame has the same whole number of 32-bit words, and
// none refers to another.
const (
	MP3Rate    = 16000 // of the PCM, Hz
	MP3Frame   = 576   // samples of a frame (13818-3 §2.4.3.1: one granule)
	mp3Bitrate = 32    // kbit/s: speech comes out with 34 dB between it and the noise
	mp3Bytes   = MP3Frame * mp3Bitrate * 1000 / 8 / MP3Rate
)

// MP3Delay is by how much a decoder's output lags behind what went into the
// encoder, in samples: 528 in the encoder, 529 in every decoder.
const MP3Delay = mp3EncoderDelay + mp3DecoderDelay

const (
	mp3EncoderDelay = 528
	mp3DecoderDelay = 529
)

// MP3Encoder makes the frames of one MP3 file. It holds about 250 kB and
// belongs to one goroutine.
type MP3Encoder struct {
	shine *shine.Encoder
	frame [MP3Frame + 1]int16 // shine's pointer runs one past the frame
	out   bytes.Buffer
}

// NewMP3Encoder makes an encoder for PCM of MP3Rate.
func NewMP3Encoder() *MP3Encoder {
	e := &MP3Encoder{shine: shine.NewEncoder(MP3Rate, 1)}
	// shine sets itself up for 128 kbit/s, which no MPEG-2 frame of 16 kHz needs.
	e.shine.Mpeg.Bitrate = mp3Bitrate
	e.shine.Mpeg.BitrateIndex = mp3BitrateIndex
	e.shine.Mpeg.WholeSlotsPerFrame = mp3Bytes
	e.shine.Mpeg.FracSlotsPerFrame = 0
	e.shine.Mpeg.Slot_lag = 0
	return e
}

// Encode makes the frame of MP3Frame samples, valid until the next call.
func (e *MP3Encoder) Encode(pcm []int16) ([]byte, error) {
	if len(pcm) != MP3Frame {
		return nil, frameError("MP3", len(pcm))
	}
	for i, s := range pcm {
		e.frame[i] = int16(int(s) * 8 / 9) // shine's own gain is 9/8 at every frequency
	}
	e.out.Reset()
	if err := e.shine.Write(&e.out, e.frame[:MP3Frame]); err != nil { // one frame: it would pass over every second one of more
		return nil, fmt.Errorf("codec: MP3: %w", err)
	}
	return e.out.Bytes(), nil
}

// The header of a frame (13818-3 §2.4.2.3, ISO/IEC 11172-3 §2.4.1.3).
const (
	mp3BitrateIndex = 4 // 32 kbit/s
	mp3SideInfo     = 9 // bytes of side information behind the header, mono
)

// MP3Info is the frame that begins a file: silence to an old player, and to the
// others how many of the samples were meant, so that they play neither the
// delay before nor the filling after them. samples is of what was encoded,
// frames how many frames follow.
func MP3Info(samples, frames int) []byte {
	frame := make([]byte, mp3Bytes)
	copy(frame, []byte{0xff, 0xf3, mp3BitrateIndex<<4 | 2<<2, 0xc4}) // MPEG-2, layer III, no CRC; 16 kHz; mono, original
	tag := append(frame[:4+mp3SideInfo], "Info"...)
	tag = binary.BigEndian.AppendUint32(tag, 3) // with the two that follow
	tag = binary.BigEndian.AppendUint32(tag, uint32(frames))
	tag = binary.BigEndian.AppendUint32(tag, uint32((frames+1)*mp3Bytes))
	tag = append(tag, "LAME3.100"...) // whose fields these are: players read them by this name alone
	tag = append(tag, make([]byte, 12)...)
	filling := max(0, min(frames*MP3Frame-mp3EncoderDelay-samples, 1<<12-1))
	delays := []byte{mp3EncoderDelay >> 4, byte(mp3EncoderDelay&15)<<4 | byte(filling>>8), byte(filling)} // 12 bits each
	copy(frame[len(tag):], delays)
	return frame
}
