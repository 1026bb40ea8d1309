package media

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// chunk makes a RIFF chunk.
func chunk(id string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(id), uint32(len(body)))
	b = append(b, body...)
	return append(b, make([]byte, len(body)%2)...)
}

// riff puts chunks into a WAVE file.
func riff(chunks ...[]byte) []byte {
	body := append([]byte("WAVE"), slices.Concat(chunks...)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// wavFormat makes a chunk "fmt ".
func wavFormat(tag, channels uint16, rate uint32, bits uint16, more ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, tag)
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, rate*uint32(channels)*uint32(bits)/8)
	b = binary.LittleEndian.AppendUint16(b, channels*bits/8)
	b = binary.LittleEndian.AppendUint16(b, bits)
	return chunk("fmt ", append(b, more...))
}

// withSize changes the size that a chunk says it has.
func withSize(chunk []byte, size uint32) []byte {
	binary.LittleEndian.PutUint32(chunk[4:], size)
	return chunk
}

// writeWAV makes a file of 16-bit PCM.
func writeWAV(a Audio) []byte {
	var pcm []byte
	for _, s := range a.Samples {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(s))
	}
	return riff(wavFormat(1, 1, uint32(a.Rate), 16), chunk("data", pcm))
}

func TestReadWAV(t *testing.T) {
	pcm := []byte{1, 0, 0xff, 0xff, 0, 0x80, 0xff, 0x7f}
	samples := []int16{1, -1, -32768, 32767}
	extensible := append([]byte{22, 0, 16, 0, 4, 0, 0, 0, 1, 0}, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	for _, c := range []struct {
		name string
		file []byte
		want Audio
	}{
		{"PCM", riff(wavFormat(1, 1, 8000, 16), chunk("data", pcm)), Audio{8000, samples}},
		{"any rate", riff(wavFormat(1, 1, 44100, 16), chunk("data", pcm)), Audio{44100, samples}},
		{"stereo", riff(wavFormat(1, 2, 48000, 16), chunk("data", pcm)), Audio{48000, []int16{0, 0}}},
		{"stereo, half a frame at the end", riff(wavFormat(1, 2, 48000, 16), chunk("data", pcm[:6])), Audio{48000, []int16{0}}},
		{"A-law", riff(wavFormat(6, 1, 8000, 8, 0, 0), chunk("data", []byte{0xd5, 0x55, 0xaa})), Audio{8000, []int16{8, -8, 32256}}},
		{"µ-law", riff(wavFormat(7, 1, 8000, 8), chunk("data", []byte{0xff, 0x7f, 0x80, 0x00})), Audio{8000, []int16{0, 0, 32124, -32124}}},
		{"extensible", riff(wavFormat(0xfffe, 1, 16000, 16, extensible...), chunk("data", pcm)), Audio{16000, samples}},
		{"odd chunks", riff(chunk("LIST", []byte("odd")), wavFormat(1, 1, 8000, 16), chunk("fact", make([]byte, 4)), chunk("junk", nil), chunk("data", pcm), chunk("LIST", []byte("x"))), Audio{8000, samples}},
		{"a stream of size 0", riff(wavFormat(1, 1, 8000, 16), withSize(chunk("data", pcm), 0)), Audio{8000, samples}},
		{"a stream by ffmpeg", riff(wavFormat(1, 1, 8000, 16), withSize(chunk("data", pcm), 0xffffffff)), Audio{8000, samples}},
		{"a stream by sox", riff(wavFormat(1, 1, 8000, 16), withSize(chunk("data", pcm), 0x7fffffdb)), Audio{8000, samples}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadWAV(bytes.NewReader(c.file))
			if err != nil {
				t.Fatal(err)
			}
			if got.Rate != c.want.Rate || !slices.Equal(got.Samples, c.want.Samples) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestReadWAVRefuses(t *testing.T) {
	pcm := chunk("data", make([]byte, 8))
	for _, c := range []struct {
		name, complaint string
		file            []byte
	}{
		{"nothing", "does not begin", nil},
		{"an MP3", "does not begin", []byte("ID3\x03 and so on and on")},
		{"no sound", "ends before its sound", riff(wavFormat(1, 1, 8000, 16))},
		{"a cut chunk", `ends in its chunk "LIST"`, riff(withSize(chunk("LIST", []byte("abcd")), 400))},
		{"sound first", "before its format", riff(pcm, wavFormat(1, 1, 8000, 16))},
		{"a short format", "a format of 4 bytes", riff(chunk("fmt ", make([]byte, 4)), pcm)},
		{"24 bits", "format 0x1 with 24 bits", riff(wavFormat(1, 1, 8000, 24), pcm)},
		{"GSM", "format 0x31 with 0 bits", riff(wavFormat(0x31, 1, 8000, 0), pcm)},
		{"float", "format 0x3 with 32 bits", riff(wavFormat(3, 1, 8000, 32), pcm)},
		{"5.1", "6 channels", riff(wavFormat(1, 6, 48000, 16), pcm)},
		{"no channel", "0 channels", riff(wavFormat(1, 0, 48000, 16), pcm)},
		{"no rate", "a rate of 0 Hz", riff(wavFormat(1, 1, 0, 16), pcm)},
		{"cut short", "8 of 100 bytes", riff(wavFormat(1, 1, 8000, 16), withSize(chunk("data", make([]byte, 8)), 100))},
		{"empty", "no sound", riff(wavFormat(1, 1, 8000, 16), chunk("data", nil))},
		{"empty G.711", "no sound", riff(wavFormat(7, 1, 8000, 8), chunk("data", nil))},
	} {
		if a, err := ReadWAV(bytes.NewReader(c.file)); err == nil || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("%s: %+v, %v; want %q", c.name, a, err, c.complaint)
		}
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add(writeWAV(Audio{8000, []int16{1, 2, 3}}))
	f.Add(riff(chunk("LIST", []byte("odd")), wavFormat(7, 2, 8000, 8), chunk("data", make([]byte, 9))))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadWAV(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := ReadWAV(bytes.NewReader(writeWAV(a)))
		if err != nil || again.Rate != a.Rate || !slices.Equal(again.Samples, a.Samples) {
			t.Fatalf("%d Hz, %d samples, come back as %d Hz, %d (%v)", a.Rate, len(a.Samples), again.Rate, len(again.Samples), err)
		}
	})
}
