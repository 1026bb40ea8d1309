package media

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/afterbeep/afterbeep/media/codec"
)

// MP3Type is the MIME type of what MP3 makes.
const MP3Type = "audio/mpeg"

// maxMP3 is the longest note that becomes an MP3 file, in samples: an hour.
const maxMP3 = 3600 * codec.MP3Rate

// MP3 makes an MP3 file (32 kbit/s, 16 kHz, mono) of a note's Ogg Opus file, for
// players that know no Opus. It plays exactly as long as the note.
func MP3(ctx context.Context, note io.Reader) ([]byte, error) {
	from, err := newOggReader(note)
	if err != nil {
		return nil, err
	}
	opus, _ := codec.Find(opusName, opusClock)
	decoder, err := opus.NewDecoder(codec.MP3Rate)
	if err != nil {
		return nil, err
	}
	to := newMP3File()
	for {
		packet, err := from.next()
		if errors.Is(err, io.EOF) {
			return to.close()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if err := to.add(from, decoder, packet); err != nil {
			return nil, err
		}
	}
}

// mp3File is an MP3 file in the making.
type mp3File struct {
	encoder *codec.MP3Encoder
	file    []byte
	pcm     []int16 // decoded, not yet a whole frame
	decoded int     // samples, with those that the file of the note says to drop
	samples int     // of the note
	frames  int
}

func newMP3File() *mp3File {
	return &mp3File{encoder: codec.NewMP3Encoder(), file: codec.MP3Info(0, 0)}
}

// add decodes a packet and encodes what of it belongs to the note. A damaged
// one counts as silence.
func (f *mp3File) add(from *oggReader, decoder codec.Decoder, packet []byte) error {
	const ticks = opusClock / codec.MP3Rate // of the granule position in a sample
	length, err := codec.PacketDuration(packet)
	if err != nil {
		return nil //nolint:nilerr // it stands for no time
	}
	before := len(f.pcm)
	if f.pcm, err = decoder.Decode(f.pcm, packet); err != nil {
		f.pcm = append(f.pcm, make([]int16, length/ticks)...)
	}
	start := f.decoded
	f.decoded += len(f.pcm) - before
	if skip := min(from.head.PreSkip/ticks, f.decoded) - start; skip > 0 { // RFC 7845 §4.2
		f.pcm = append(f.pcm[:before], f.pcm[before+skip:]...)
	}
	if end := int(from.granule / ticks); from.last && f.decoded > end { // RFC 7845 §4.4
		f.pcm = f.pcm[:max(before, len(f.pcm)-(f.decoded-end))]
		f.decoded = max(start, end)
	}
	if f.samples += len(f.pcm) - before; f.samples > maxMP3 {
		return errors.New("media: the note is too long for an MP3 file")
	}
	return f.encode()
}

// encode encodes the whole frames there are.
func (f *mp3File) encode() error {
	rest := f.pcm
	for ; len(rest) >= codec.MP3Frame; rest = rest[codec.MP3Frame:] {
		frame, err := f.encoder.Encode(rest[:codec.MP3Frame])
		if err != nil {
			return err
		}
		f.file = append(f.file, frame...)
		f.frames++
	}
	f.pcm = append(f.pcm[:0], rest...)
	return nil
}

// close pushes the last sample through encoder and decoder, and says at the
// file's start how long it is.
func (f *mp3File) close() ([]byte, error) {
	if f.samples == 0 {
		return nil, fmt.Errorf("%w: it holds no sound", errNote)
	}
	behind := codec.MP3Delay + codec.MP3Frame - 1
	behind -= (len(f.pcm) + behind) % codec.MP3Frame
	f.pcm = append(f.pcm, make([]int16, behind)...)
	if err := f.encode(); err != nil {
		return nil, err
	}
	copy(f.file, codec.MP3Info(f.samples, f.frames))
	return f.file, nil
}
