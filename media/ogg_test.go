package media

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/deploy/peertest"
	"github.com/afterbeep/afterbeep/media/codec"
)

// writeOgg makes a file of packets that last so many samples each.
func writeOgg(t *testing.T, head oggHead, packets [][]byte, each int, total int64) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := newOggWriter(&file, head)
	if err != nil {
		t.Fatal(err)
	}
	for _, packet := range packets {
		if err := w.WritePacket(packet, each); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(total); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestOggRoundTrip(t *testing.T) {
	head := oggHead{Serial: 0xfeedbeef, InputRate: 8000, PreSkip: 312}
	for _, c := range []struct {
		name  string
		sizes []int // of the packets, bytes, going round
		count int
		each  int // samples of 48 kHz
		cut   int64
		pages []int // packets that end on each page
	}{
		{"one", []int{60}, 1, 2880, 2000, []int{1}},
		{"a second", []int{60}, 50, 960, 0, []int{50}},
		{"a packet more", []int{60}, 51, 960, 0, []int{50, 1}},
		{"60 ms", []int{150, 254, 255, 256, 0, 510}, 40, 2880, 2567, []int{16, 16, 8}},
		{"more segments than a page has", []int{255 * 10}, 50, 960, 1, []int{23, 23, 4}},
		{"a packet longer than a page", []int{10, 255 * 255, 255*600 + 3}, 4, 5760, 3, []int{1, 0, 1, 0, 0, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var packets [][]byte
			for i := range c.count {
				packets = append(packets, bytes.Repeat([]byte{byte(i + 1)}, c.sizes[i%len(c.sizes)]))
			}
			total := int64(c.count*c.each) - c.cut - int64(head.PreSkip)
			f, err := readOgg(bytes.NewReader(writeOgg(t, head, packets, c.each, total)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Head != head || f.Vendor != "afterbeep" {
				t.Errorf("headers %+v, %q", f.Head, f.Vendor)
			}
			if !slices.EqualFunc(f.Packets, packets, bytes.Equal) {
				t.Error("other packets came back")
			}
			if f.Samples() != total {
				t.Errorf("it plays %d samples, want %d", f.Samples(), total)
			}
			var ends []int
			granule := 0
			for i, page := range f.Pages {
				ends = append(ends, page.Ends)
				granule += page.Ends * c.each
				want := int64(granule)
				switch last := i == len(f.Pages)-1; {
				case last:
					want -= c.cut
				case page.Ends == 0:
					want = oggNoEnd
				}
				if page.Granule != want || page.Last != (i == len(f.Pages)-1) {
					t.Errorf("page %d: %+v, want granule %d", i, page, want)
				}
			}
			if !slices.Equal(ends, c.pages) {
				t.Errorf("packets on pages %v, want %v", ends, c.pages)
			}
		})
	}
}

func TestOggCloseRefuses(t *testing.T) {
	for _, c := range []struct {
		packets int
		total   int64
	}{
		{0, 0}, {0, 100}, // no audio
		{1, -312},           // of no length
		{1, 2880 - 311},     // longer than the packets
		{17, 16*2880 - 312}, // nothing left of the last page
	} {
		w, err := newOggWriter(io.Discard, oggHead{PreSkip: 312})
		if err != nil {
			t.Fatal(err)
		}
		for range c.packets {
			if err := w.WritePacket([]byte{0x18}, 2880); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(c.total); err == nil {
			t.Errorf("%d packets passed as %d samples", c.packets, c.total)
		}
	}
}

// full fails after so many writes.
type full int

var errFull = errors.New("no room")

func (f *full) Write(b []byte) (int, error) {
	if *f--; *f < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestOggWriterFails(t *testing.T) {
	for room := range full(4) {
		left := room
		w, err := newOggWriter(&left, oggHead{})
		for range 51 {
			if err == nil {
				err = w.WritePacket([]byte{0x08}, 960)
			}
		}
		if err == nil {
			err = w.Close(51 * 960)
		}
		if !errors.Is(err, errFull) {
			t.Errorf("with room for %d pages: %v", room, err)
		}
	}
}

func TestOggDoesNotAllocate(t *testing.T) {
	w, err := newOggWriter(io.Discard, oggHead{})
	if err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, 300)
	write := func() {
		for range 51 {
			if err := w.WritePacket(packet, 960); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	if allocs := testing.AllocsPerRun(20, write); allocs != 0 {
		t.Errorf("%v allocations a page", allocs)
	}
}

// The same polynomial and start as CRC-32/CKSUM, whose check value is 0x765e7680
// because it inverts the result.
func TestOggChecksum(t *testing.T) {
	if got := oggChecksum([]byte("123456789")); got != ^uint32(0x765e7680) {
		t.Errorf("checksum %#x", got)
	}
}

func FuzzOgg(f *testing.F) {
	var file bytes.Buffer
	w, err := newOggWriter(&file, oggHead{Serial: 1, InputRate: 8000, PreSkip: 312})
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(w.WritePacket([]byte{0x18, 1, 2}, 2880), w.Close(100)); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes(), uint16(3), uint16(960))
	f.Add(bytes.Repeat([]byte{7}, 1500), uint16(700), uint16(5760))
	f.Add([]byte("OggS"), uint16(0), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, size, each uint16) {
		if _, err := readOgg(bytes.NewReader(b)); err != nil && !errors.Is(err, errOgg) {
			t.Fatal(err)
		}
		var packets [][]byte // whatever packets go in come out
		for rest := b; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			packets = append(packets, bytes.Repeat(rest[:n], 1+int(rest[0])))
			rest = rest[n:]
		}
		if len(packets) == 0 || len(packets) > 200 {
			return
		}
		duration := int(each)%5760 + 1
		total := int64(len(packets) * duration)
		got, err := readOgg(bytes.NewReader(writeOgg(t, oggHead{}, packets, duration, total)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got.Packets, packets, bytes.Equal) || got.Samples() != total {
			t.Fatalf("%d packets of %d samples: other packets or %d samples came back", len(packets), duration, got.Samples())
		}
	})
}

// run runs a program and gives what it printed, both ways.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	peertest.Needs(t, name)
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// opusinfo, ffprobe and ffmpeg find no fault in a file, and its length exact.
func TestOggPeers(t *testing.T) {
	for _, samples := range []int{160, 8000, 12345, 8 * 8000} { // of 8 kHz
		t.Run(strconv.Itoa(samples), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "note.ogg")
			total := int64(samples) * 6
			if err := os.WriteFile(file, encodeNote(t, samples), 0o600); err != nil {
				t.Fatal(err)
			}
			info := run(t, "opusinfo", file)
			if strings.Contains(info, "WARNING") || strings.Contains(info, "ERROR") {
				t.Errorf("opusinfo:\n%s", info)
			}
			for _, want := range []string{"Pre-skip: 312", "Original sample rate: 8000 Hz", "Encoded with afterbeep"} {
				if !strings.Contains(info, want) {
					t.Errorf("opusinfo lacks %q:\n%s", want, info)
				}
			}
			raw := file + ".raw"
			if out := run(t, "ffmpeg", "-v", "warning", "-i", file, "-f", "s16le", "-ar", "48000", raw); out != "" {
				t.Errorf("ffmpeg: %s", out)
			}
			if stat, err := os.Stat(raw); err != nil || stat.Size() != 2*total {
				t.Errorf("ffmpeg decoded %d samples, want %d (%v)", stat.Size()/2, total, err)
			}
			// The container's length begins before the pre-skip, as ffprobe has it.
			out := run(t, "ffprobe", "-v", "error", "-show_entries", "stream=duration_ts", "-of", "csv=p=0", file)
			if got, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64); err != nil || got-total != 0 && got-total != 312 {
				t.Errorf("ffprobe says %q, want %d", out, total)
			}
		})
	}
}

// encodeNote makes a whole note of a tone.
func encodeNote(t *testing.T, samples int) []byte {
	t.Helper()
	encoder, err := codec.NewNoteEncoder(8000, 20000)
	if err != nil {
		t.Fatal(err)
	}
	frame := encoder.FrameSize()
	lookahead := encoder.Lookahead() * 8000 / opusClock
	pcm := make([]int16, (samples+lookahead+frame-1)/frame*frame)
	for i := range samples {
		pcm[i] = int16(i % 20 * 800)
	}
	var packets [][]byte
	for ; len(pcm) > 0; pcm = pcm[frame:] {
		packet, err := encoder.Encode(pcm[:frame], 2)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, bytes.Clone(packet))
	}
	return writeOgg(t, oggHead{Serial: 7, InputRate: 8000, PreSkip: encoder.Lookahead()}, packets, 2880, int64(samples)*6)
}
