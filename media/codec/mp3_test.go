package codec

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
)

// Frames stand for themselves: each begins with its header and has the same
// size. Encoders side by side do not disturb each other.
func TestMP3Encoder(t *testing.T) {
	pcm := formula(20 * MP3Frame)
	var files [4][]byte
	var encoding sync.WaitGroup
	for i := range files {
		encoding.Go(func() {
			e := NewMP3Encoder()
			for at := 0; at < len(pcm); at += MP3Frame {
				frame, err := e.Encode(pcm[at : at+MP3Frame])
				if err != nil || len(frame) != 144 || binary.BigEndian.Uint32(frame) != 0xfff348c4 {
					t.Errorf("%d bytes, % x, %v", len(frame), frame[:min(4, len(frame))], err)
				}
				files[i] = append(files[i], frame...)
			}
		})
	}
	encoding.Wait()
	for _, f := range files[1:] {
		if !bytes.Equal(f, files[0]) {
			t.Error("the same sound gave another file")
		}
	}
	if _, err := NewMP3Encoder().Encode(pcm[:MP3Frame-1]); err == nil {
		t.Error("a frame that is not whole")
	}
}

// The loudest sound there is does not turn over.
func TestMP3EncoderAtFullScale(t *testing.T) {
	e := NewMP3Encoder()
	square := make([]int16, MP3Frame)
	for i := range square {
		square[i] = -32768
		if i/8%2 == 0 {
			square[i] = 32767
		}
	}
	for range 10 {
		if frame, err := e.Encode(square); err != nil || len(frame) != 144 {
			t.Fatalf("%d bytes, %v", len(frame), err)
		}
	}
}

// The first frame says how much of the file is sound, as players read it.
func TestMP3Info(t *testing.T) {
	info := MP3Info(16000, 30)
	if len(info) != 144 || binary.BigEndian.Uint32(info) != 0xfff348c4 || string(info[13:17]) != "Info" || string(info[29:33]) != "LAME" {
		t.Fatalf("% x", info)
	}
	frames, size := binary.BigEndian.Uint32(info[21:]), binary.BigEndian.Uint32(info[25:])
	delays := int(binary.BigEndian.Uint32(info[49:]) & 0xffffff)
	if frames != 30 || size != 31*144 || delays>>12 != 528 || delays&0xfff != 30*576-528-16000 {
		t.Errorf("%d frames, %d bytes, delay %d, filling %d", frames, size, delays>>12, delays&0xfff)
	}
}
