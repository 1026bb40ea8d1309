package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/media/codec"
)

// An MP3 file plays what the note plays: as long, as loud, the same sound, and
// ffmpeg finds no fault in it.
func TestMP3Plays(t *testing.T) {
	for name, call := range map[string]func(c *caller){
		"narrowband":    func(c *caller) { c.say(3210) },
		"wideband":      func(c *caller) { c.use(9); c.say(990) },
		"copied packet": func(c *caller) { c.use(111); c.say(1500); c.wait(333); c.say(700) },
		"a moment":      func(c *caller) { c.say(320) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCaller(t, allCodecs)
			call(c)
			facts, note := renderFile(t, c.tape(), cheap)
			file, err := MP3(t.Context(), bytes.NewReader(note))
			if err != nil {
				t.Fatal(err)
			}
			want, got := decodeFile(t, note, codec.MP3Rate), playMP3(t, file, facts.Duration)
			if len(got) != len(want) {
				t.Fatalf("%d samples for %d", len(got), len(want))
			}
			level := 10 * math.Log10(energy(got)/energy(want))
			s := snr(want, got)
			t.Logf("%d bytes, %.2f dB louder, %.1f dB", len(file), level, s)
			if math.Abs(level) > 0.2 || s < 20 {
				t.Errorf("%.2f dB louder, %.1f dB above the noise", level, s)
			}
		})
	}
}

// playMP3 decodes a file by ffmpeg, which must have nothing to say about it, and
// checks the length that ffprobe tells by its frames.
func playMP3(t *testing.T, file []byte, length time.Duration) []int16 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "note.mp3")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, "ffprobe", "-v", "warning", "-show_entries", "stream=codec_name,sample_rate,channels,start_time,duration", "-of", "csv=p=0", path)
	fields := strings.Split(strings.TrimSpace(out), ",")
	if len(fields) != 5 || fields[0] != "mp3" || fields[1] != "16000" || fields[2] != "1" {
		t.Fatalf("ffprobe: %q", out)
	}
	start, err1 := strconv.ParseFloat(fields[3], 64) // the encoder's delay, which no player plays
	end, err2 := strconv.ParseFloat(fields[4], 64)
	if err := errors.Join(err1, err2); err != nil || math.Abs(end-start-length.Seconds()) > 0.05 {
		t.Errorf("ffprobe says %s s to %s s, the note lasts %v", fields[3], fields[4], length)
	}
	raw := path + ".raw"
	if out := run(t, "ffmpeg", "-v", "warning", "-i", path, "-f", "s16le", raw); out != "" {
		t.Errorf("ffmpeg: %s", out)
	}
	pcm, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]int16, len(pcm)/2)
	if _, err := binary.Decode(pcm, binary.LittleEndian, samples); err != nil {
		t.Fatal(err)
	}
	return samples
}

func energy(pcm []int16) (sum float64) {
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum
}

// What is cut, torn or no note at all makes no file.
func TestMP3OfWhatIsNoNote(t *testing.T) {
	note := encodeNote(t, 8000)
	flipped := bytes.Clone(note)
	flipped[len(flipped)-1] ^= 1
	for name, file := range map[string][]byte{
		"nothing": {}, "text": []byte(strings.Repeat("no note", 20)), "headers alone": note[:47+29],
		"cut": note[:len(note)/2], "a flipped bit": flipped,
	} {
		if mp3, err := MP3(t.Context(), bytes.NewReader(file)); !errors.Is(err, errNote) || mp3 != nil {
			t.Errorf("%s: %d bytes, %v", name, len(mp3), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := MP3(ctx, bytes.NewReader(note)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRenderAudio(t *testing.T) {
	tone := Audio{Rate: 8000, Samples: make([]int16, 12345)}
	for i := range tone.Samples {
		tone.Samples[i] = int16(8000 * math.Sin(float64(i)/4))
	}
	var file bytes.Buffer
	facts, err := RenderAudio(tone, &file, RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	heard := decodeFile(t, file.Bytes(), 8000)
	if len(heard) != 12345 || facts.Duration != 12345*time.Second/8000 || facts.Bytes != int64(file.Len()) || !facts.Spoken() || len(facts.Waveform) != waveformPoints {
		t.Errorf("%d samples, %+v", len(heard), facts)
	}
	if s := snr(tone.Samples, heard); s < 10 {
		t.Errorf("%.1f dB", s)
	}
	if facts, err := RenderAudio(tone, &bytes.Buffer{}, RenderOptions{MaxDuration: time.Second}); err != nil || facts.Duration != time.Second {
		t.Errorf("no longer than it may get: %v, %v", facts.Duration, err)
	}
	if _, err := RenderAudio(Audio{Rate: 44100, Samples: tone.Samples}, &file, RenderOptions{}); err == nil {
		t.Error("a rate that Opus does not know")
	}
}

func BenchmarkMP3(b *testing.B) {
	c := newCaller(b, pcmuOnly)
	c.say(180_000)
	_, note := renderFile(b, c.tape(), cheap)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MP3(b.Context(), bytes.NewReader(note)); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzMP3(f *testing.F) {
	c := newCaller(f, allCodecs)
	c.use(111)
	c.say(100)
	_, note := renderFile(f, c.tape(), cheap)
	f.Add(note)
	f.Add(note[:60])
	f.Fuzz(func(t *testing.T, file []byte) {
		mp3, err := MP3(t.Context(), bytes.NewReader(mended(file)))
		if err == nil && len(mp3)%144 != 0 {
			t.Errorf("%d bytes are no whole frames", len(mp3))
		}
	})
}

// mended puts the right checksums in, so that fuzzing comes past them.
func mended(file []byte) []byte {
	file = bytes.Clone(file)
	for at := 0; at+27 <= len(file); {
		size := 27 + int(file[at+26])
		if at+size > len(file) {
			break
		}
		for _, n := range file[at+27 : at+size] {
			size += int(n)
		}
		if at+size > len(file) {
			break
		}
		clear(file[at+22 : at+26])
		binary.LittleEndian.PutUint32(file[at+22:], oggChecksum(file[at:at+size]))
		at += size
	}
	return file
}
