package codec

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/thesyncim/gopus"
	"golang.org/x/sys/cpu"
)

// formula is something like speech that no machine computes otherwise: a
// buzz of 100 Hz that swells and falls, with noise, in integers alone.
func formula(samples int) []int16 {
	pcm := make([]int16, samples)
	noise := uint32(1)
	for i := range pcm {
		noise = noise*1664525 + 1013904223
		buzz := i%80*200 - 8000
		swell := max(0, 100-abs(i%4000-2000)/20)
		pcm[i] = int16(buzz*swell/100 + int(noise>>24) - 128)
	}
	return pcm
}

func abs(i int) int { return max(i, -i) }

// The packets of a fixed input must not change when the library does, unless
// somebody looked: a note sounds as it did.
func TestNoteEncoderGolden(t *testing.T) {
	if runtime.GOARCH != "amd64" || !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		t.Skip("the checksums are those of amd64 with AVX2 and FMA; elsewhere floating point rounds otherwise")
	}
	golden := []struct {
		rate, bitrate, complexity int
		sum                       string
	}{
		{8000, 20000, 0, "70b9b019678dfc10"},
		{8000, 20000, 2, "cbd1488e9eb0b002"},
		{8000, 20000, 9, "8749660f77749fad"},
		{16000, 24000, 0, "05b1a85d6cc751a2"},
		{16000, 24000, 2, "df9c8eba8b2a7643"},
		{16000, 24000, 9, "fe8d454aef8601b3"},
	}
	for _, g := range golden {
		t.Run(fmt.Sprintf("%d_%d", g.rate, g.complexity), func(t *testing.T) {
			encoder, err := NewNoteEncoder(g.rate, g.bitrate)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.New()
			frame := encoder.FrameSize()
			for pcm := formula(4 * g.rate); len(pcm) >= frame; pcm = pcm[frame:] {
				packet, err := encoder.Encode(pcm[:frame], g.complexity)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = sum.Write(packet)
			}
			if got := fmt.Sprintf("%x", sum.Sum(nil)[:8]); got != g.sum {
				t.Errorf("packets sum to %s, want %s", got, g.sum)
			}
		})
	}
}

func TestNoteEncoder(t *testing.T) {
	for _, rate := range []int{8000, 12000, 16000, 24000, 48000} {
		encoder, err := NewNoteEncoder(rate, 24000)
		if err != nil {
			t.Fatal(err)
		}
		if got := encoder.FrameSize(); got != rate*60/1000 {
			t.Errorf("%d Hz: a frame of %d samples", rate, got)
		}
		if got := encoder.Lookahead(); got != 312 { // 6.5 ms
			t.Errorf("%d Hz: lookahead %d", rate, got)
		}
		packet, err := encoder.Encode(formula(encoder.FrameSize()), 5)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := PacketDuration(packet); err != nil || got != 2880 {
			t.Errorf("%d Hz: a packet of %d samples, %v", rate, got, err)
		}
		if _, err := encoder.Encode(formula(7), 5); err == nil {
			t.Errorf("%d Hz: a frame of 7 samples passed", rate)
		}
		if _, err := encoder.Encode(formula(encoder.FrameSize()), 11); err == nil {
			t.Errorf("%d Hz: complexity 11 passed", rate)
		}
	}
	if _, err := NewNoteEncoder(44100, 24000); err == nil {
		t.Error("44.1 kHz passed")
	}
	if _, err := NewNoteEncoder(8000, 0); err == nil {
		t.Error("no bitrate passed")
	}
}

func TestNoteEncoderDoesNotAllocate(t *testing.T) {
	encoder, err := NewNoteEncoder(8000, 24000)
	if err != nil {
		t.Fatal(err)
	}
	pcm, n := formula(30*8000), 0
	frame := encoder.FrameSize()
	allocs := testing.AllocsPerRun(400, func() {
		at := n * frame % (len(pcm) - frame)
		if _, err := encoder.Encode(pcm[at:at+frame], n%3); err != nil {
			t.Fatal(err)
		}
		n++
	})
	if allocs != 0 {
		t.Errorf("%v allocations a frame", allocs)
	}
}

func TestOpusDecoderRates(t *testing.T) {
	c := opus()
	payloads := encodeAll(t, c, formula(c.SampleRate))
	for _, rate := range []int{8000, 12000, 16000, 24000, 48000} {
		decoder, err := c.NewDecoder(rate)
		if err != nil {
			t.Fatal(err)
		}
		var pcm []int16
		for _, payload := range payloads {
			if pcm, err = decoder.Decode(pcm, payload); err != nil {
				t.Fatal(err)
			}
		}
		if len(pcm) != rate {
			t.Errorf("%d Hz: %d samples of a second", rate, len(pcm))
		}
	}
}

// A caller may send stereo whatever the answer asked for: RFC 7587 §6.1 calls
// stereo=0 a preference.
func TestOpusStereo(t *testing.T) {
	encoder, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: 48000, Channels: 2, Application: gopus.ApplicationAudio})
	if err != nil {
		t.Fatal(err)
	}
	mono := speech(t, 48000)
	both := make([]int16, 2*len(mono))
	for i, s := range mono {
		both[2*i], both[2*i+1] = s, s
	}
	decoder, err := opus().NewDecoder(48000)
	if err != nil {
		t.Fatal(err)
	}
	var back []int16
	for ; len(both) >= 1920; both = both[1920:] {
		packet, err := encoder.EncodeInt16Slice(both[:1920])
		if err != nil {
			t.Fatal(err)
		}
		if back, err = decoder.Decode(back, packet); err != nil {
			t.Fatal(err)
		}
	}
	if got := snr(mono, back, 48000); got < 12 {
		t.Errorf("stereo comes back as mono at %.1f dB", got)
	}
}

func TestPacketDuration(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		want   int // 0: an error
	}{
		{nil, 0},
		{[]byte{0x00}, 480},          // SILK NB 10 ms
		{[]byte{0x18}, 2880},         // SILK NB 60 ms
		{[]byte{0x19}, 5760},         // code 1: two of them
		{[]byte{0x1a}, 5760},         // code 2
		{[]byte{0x1b}, 0},            // code 3 without a count
		{[]byte{0x1b, 0x00}, 0},      // of none
		{[]byte{0x1b, 0x02}, 5760},   // of two
		{[]byte{0x1b, 0x03}, 0},      // 180 ms
		{[]byte{0x1b, 0xc2}, 5760},   // with the VBR and padding bits
		{[]byte{0x68}, 960},          // hybrid SWB 20 ms
		{[]byte{0x78}, 960},          // hybrid FB 20 ms
		{[]byte{0x80}, 120},          // CELT NB 2.5 ms
		{[]byte{0x83, 48}, 5760},     // 48 of them
		{[]byte{0x83, 49}, 0},        // 122.5 ms
		{[]byte{0xfc, 1, 2, 3}, 960}, // CELT FB 20 ms, stereo
	} {
		got, err := PacketDuration(c.packet)
		if got != c.want || (c.want == 0) != errors.Is(err, ErrPayload) {
			t.Errorf("PacketDuration(% x) = %d, %v; want %d", c.packet, got, err, c.want)
		}
	}
}

func TestLostPacket(t *testing.T) {
	for toc := range 256 {
		for samples := 120; samples <= opusLongest; samples += 120 {
			packet, err := LostPacket(nil, byte(toc), samples)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := PacketDuration(packet); err != nil || got != samples {
				t.Fatalf("TOC %#x: a packet of %d lasts %d, %v", toc, samples, got, err)
			}
			if packet[0]&4 != byte(toc)&4 {
				t.Fatalf("TOC %#x: a packet of %d changes the channels", toc, samples)
			}
			if silk := toc>>3 < 12; silk && samples%480 == 0 && packet[0]>>5 != byte(toc)>>5 && packet[0]>>3 >= 12 {
				t.Fatalf("TOC %#x: a packet of %d leaves SILK", toc, samples)
			}
		}
	}
	for _, c := range []struct {
		toc     byte
		samples int
		want    []byte
	}{
		{0x08, 960, []byte{0x08}},     // SILK NB 20 ms stays
		{0x0b, 2880, []byte{0x18}},    // 60 ms in one frame
		{0x08, 4800, []byte{0x0b, 5}}, // 100 ms in five
		{0x08, 600, []byte{0x83, 5}},  // 12.5 ms: CELT NB
		{0x6c, 600, []byte{0xc7, 5}},  // hybrid SWB, stereo: CELT SWB
	} {
		got, err := LostPacket([]byte{9}, c.toc, c.samples)
		if err != nil || !bytes.Equal(got[1:], c.want) {
			t.Errorf("LostPacket(%#x, %d) = % x, %v; want % x", c.toc, c.samples, got[1:], err, c.want)
		}
	}
	for _, samples := range []int{-120, 0, 100, 5880} {
		if got, err := LostPacket(nil, 0, samples); err == nil {
			t.Errorf("a packet of %d samples: % x", samples, got)
		}
	}
}

// A lost packet is concealed: what came before goes on for a while.
func TestLostPacketConceals(t *testing.T) {
	c := opus()
	decoder := newDecoder(t, c)
	for _, payload := range encodeAll(t, c, formula(2000)) {
		if _, err := decoder.Decode(nil, payload); err != nil {
			t.Fatal(err)
		}
	}
	packet, err := LostPacket(nil, 0x48, 960)
	if err != nil {
		t.Fatal(err)
	}
	pcm, err := decoder.Decode(nil, packet)
	if err != nil || len(pcm) != 320 {
		t.Fatalf("%d samples, %v", len(pcm), err)
	}
	loudest := int16(0)
	for _, s := range pcm {
		loudest = max(loudest, s)
	}
	if loudest < 1000 {
		t.Errorf("nothing was concealed: the loudest sample is %d", loudest)
	}
}
