package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/afterbeep/afterbeep/media/codec"
)

// Audio is mono sound.
type Audio struct {
	Rate    int // Hz
	Samples []int16
}

// waveExtensible says that the format proper stands further on.
const waveExtensible = 0xfffe

// waveFormats are the formats of sound that are read (RFC 2361).
var waveFormats = map[uint16]struct {
	bits   int // a sample
	decode func(b []byte) ([]int16, error)
}{
	0x0001: {16, decodePCM},
	0x0006: {8, func(b []byte) ([]int16, error) { return decodeG711("PCMA", b) }},
	0x0007: {8, func(b []byte) ([]int16, error) { return decodeG711("PCMU", b) }},
}

// errWAV begins every complaint about a file.
var errWAV = errors.New("the WAV file")

// waveFormat is what a chunk "fmt " says.
type waveFormat struct {
	tag      uint16
	channels int
	rate     int // Hz
	bits     int // a sample
}

// ReadWAV reads a RIFF WAVE file: 16-bit PCM or G.711, at any rate, mono or
// stereo, of which the mean is taken. Unknown chunks are passed over; the sizes
// that programs write into a pipe are taken as "until the end". The error says
// what about the file is not so.
func ReadWAV(r io.Reader) (Audio, error) {
	var riff [12]byte
	if _, err := io.ReadFull(r, riff[:]); err != nil || string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return Audio{}, fmt.Errorf("%w does not begin as one: make one of another format with `ffmpeg -i FILE message.wav`", errWAV)
	}
	var format *waveFormat
	for {
		id, size, err := readChunkHeader(r)
		if err != nil {
			return Audio{}, fmt.Errorf("%w ends before its sound: %w", errWAV, err)
		}
		switch {
		case id == "fmt ":
			if format, err = readFormat(r, size); err != nil {
				return Audio{}, err
			}
		case id == "data" && format == nil:
			return Audio{}, fmt.Errorf("%w has its sound before its format", errWAV)
		case id == "data":
			return readSamples(r, size, *format)
		default:
			if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil { // chunks lie at even places
				return Audio{}, fmt.Errorf("%w ends in its chunk %q: %w", errWAV, id, err)
			}
		}
	}
}

func readChunkHeader(r io.Reader) (id string, size int64, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", 0, err
	}
	return string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:])), nil
}

func readFormat(r io.Reader, size int64) (*waveFormat, error) {
	b, err := io.ReadAll(io.LimitReader(r, size+size%2))
	if err != nil || len(b) < 16 {
		return nil, fmt.Errorf("%w has a format of %d bytes", errWAV, len(b))
	}
	f := &waveFormat{
		tag:      binary.LittleEndian.Uint16(b),
		channels: int(binary.LittleEndian.Uint16(b[2:])),
		rate:     int(binary.LittleEndian.Uint32(b[4:])),
		bits:     int(binary.LittleEndian.Uint16(b[14:])),
	}
	if f.tag == waveExtensible && len(b) >= 26 {
		f.tag = binary.LittleEndian.Uint16(b[24:]) // the first two bytes of the subformat's GUID
	}
	if known, ok := waveFormats[f.tag]; !ok || f.bits != known.bits {
		return nil, fmt.Errorf("%w has format %#x with %d bits, not 16-bit PCM or G.711: "+
			"ffmpeg -i IN.wav -ac 1 -c:a pcm_s16le OUT.wav makes one", errWAV, f.tag, f.bits)
	}
	if f.channels < 1 || f.channels > 2 {
		return nil, fmt.Errorf("%w has %d channels, not one or two", errWAV, f.channels)
	}
	if f.rate < 4000 || f.rate > 384000 {
		return nil, fmt.Errorf("%w has a rate of %d Hz", errWAV, f.rate)
	}
	return f, nil
}

func readSamples(r io.Reader, size int64, f waveFormat) (Audio, error) {
	const endless = 0x7f000000 // sox and ffmpeg write different large numbers into a pipe
	streamed := size == 0 || size >= endless
	if !streamed {
		r = io.LimitReader(r, size)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return Audio{}, fmt.Errorf("%w cannot be read: %w", errWAV, err)
	}
	if !streamed && int64(len(b)) < size {
		return Audio{}, fmt.Errorf("%w is cut short: %d of %d bytes of sound", errWAV, len(b), size)
	}
	samples, err := waveFormats[f.tag].decode(b)
	if err != nil {
		return Audio{}, err
	}
	if f.channels == 2 {
		samples = mixDown(samples)
	}
	if len(samples) == 0 {
		return Audio{}, fmt.Errorf("%w holds no sound", errWAV)
	}
	return Audio{Rate: f.rate, Samples: samples}, nil
}

func decodePCM(b []byte) ([]int16, error) {
	samples := make([]int16, len(b)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return samples, nil
}

func decodeG711(name string, b []byte) ([]int16, error) {
	if len(b) == 0 {
		return nil, nil
	}
	c, ok := codec.Find(name, 8000)
	if !ok {
		return nil, fmt.Errorf("%w needs the codec %s", errWAV, name)
	}
	decoder, err := c.NewDecoder(c.SampleRate)
	if err != nil {
		return nil, err
	}
	return decoder.Decode(make([]int16, 0, len(b)), b)
}

// mixDown takes the mean of left and right.
func mixDown(stereo []int16) []int16 {
	mono := stereo[:len(stereo)/2]
	for i := range mono {
		mono[i] = int16((int(stereo[2*i]) + int(stereo[2*i+1])) / 2)
	}
	return mono
}
