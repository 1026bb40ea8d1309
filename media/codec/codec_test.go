package codec

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// speech gives real speech at the codec's rate, whole 20 ms frames of it.
func speech(t *testing.T, sampleRate int) []int16 {
	t.Helper()
	file := "/usr/share/asterisk/sounds/en_US_f_Allison/demo-congrats.wav" // 8 kHz, package asterisk-core-sounds-en-wav
	if sampleRate > 8000 {
		file = "/usr/share/sounds/alsa/Front_Center.wav" // 48 kHz, package alsa-utils
	}
	b, err := os.ReadFile(file)
	if err != nil {
		peertest.Missing(t, file)
	}
	b = b[44:] // both files have the shortest of headers
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	if sampleRate > 8000 {
		pcm = decimate(pcm, 48000/sampleRate)
	}
	pcm = pcm[:min(len(pcm), 5*sampleRate)]
	frame := sampleRate / 50
	return pcm[:len(pcm)/frame*frame]
}

// decimate averages by, roughly but well enough to have something to encode.
func decimate(pcm []int16, by int) []int16 {
	out := make([]int16, len(pcm)/by)
	for i := range out {
		sum := 0
		for _, s := range pcm[i*by : (i+1)*by] {
			sum += int(s)
		}
		out[i] = int16(sum / by)
	}
	return out
}

// snr compares what came back with what was sent, in dB, at the delay from 0
// to 20 ms that fits best.
func snr(sent, back []int16, sampleRate int) float64 {
	best := math.Inf(-1)
	for delay := range sampleRate / 50 {
		var signal, noise float64
		for i := range min(len(sent), len(back)-delay) {
			s := float64(sent[i])
			d := s - float64(back[i+delay])
			signal, noise = signal+s*s, noise+d*d
		}
		best = max(best, 10*math.Log10(signal/noise))
	}
	return best
}

// encodeAll cuts pcm into 20 ms frames and encodes them.
func encodeAll(t *testing.T, c Codec, pcm []int16) [][]byte {
	t.Helper()
	encoder, err := c.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var payloads [][]byte
	for frame := c.SampleRate / 50; len(pcm) >= frame; pcm = pcm[frame:] {
		payload, err := encoder.Encode(nil, pcm[:frame])
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, payload)
	}
	return payloads
}

// newDecoder makes a decoder at the codec's own rate.
func newDecoder(t *testing.T, c Codec) Decoder {
	t.Helper()
	decoder, err := c.NewDecoder(c.SampleRate)
	if err != nil {
		t.Fatal(err)
	}
	return decoder
}

// decodeAll decodes with one decoder or, if fresh, with one for each payload.
func decodeAll(t *testing.T, c Codec, payloads [][]byte, fresh bool) []int16 {
	t.Helper()
	var pcm []int16
	decoder := newDecoder(t, c)
	for i, payload := range payloads {
		if fresh {
			decoder = newDecoder(t, c)
		}
		var err error
		if pcm, err = decoder.Decode(pcm, payload); err != nil {
			t.Fatalf("payload %d: %v", i, err)
		}
	}
	return pcm
}

// What each codec must reach, and how much worse it is when every payload gets
// a decoder that knows nothing of those before.
var quality = map[string]struct{ snr, memory float64 }{
	"PCMU": {snr: 35},
	"PCMA": {snr: 35},
	"G722": {snr: 20, memory: 10},
	"opus": {snr: 8, memory: 3},
}

func TestRoundTrip(t *testing.T) {
	for _, c := range Codecs() {
		t.Run(c.Name, func(t *testing.T) {
			want, ok := quality[c.Name]
			if !ok {
				t.Fatal("add the codec to the table quality")
			}
			sent := speech(t, c.SampleRate)
			payloads := encodeAll(t, c, sent)
			back := decodeAll(t, c, payloads, false)
			if len(back) != len(sent) {
				t.Fatalf("%d samples came back of %d", len(back), len(sent))
			}
			got := snr(sent, back, c.SampleRate)
			t.Logf("%.1f dB", got)
			if got < want.snr {
				t.Errorf("round trip %.1f dB, want %.1f", got, want.snr)
			}
			if want.memory == 0 {
				return
			}
			forgetful := snr(sent, decodeAll(t, c, payloads, true), c.SampleRate)
			if got-forgetful < want.memory {
				t.Errorf("a decoder keeps no state: %.1f dB with it, %.1f dB without", got, forgetful)
			}
		})
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	for _, c := range Codecs() {
		t.Run(c.Name, func(t *testing.T) {
			payloads := encodeAll(t, c, speech(t, c.SampleRate))
			decoder := newDecoder(t, c)
			pcm := make([]int16, 0, c.SampleRate/50)
			i := 0
			allocs := testing.AllocsPerRun(len(payloads)-1, func() {
				if _, err := decoder.Decode(pcm, payloads[i%len(payloads)]); err != nil {
					t.Fatal(err)
				}
				i++
			})
			if allocs != 0 {
				t.Errorf("%v allocations a payload", allocs)
			}
		})
	}
}

func TestDecodeDamaged(t *testing.T) {
	damaged := map[string][][]byte{
		"opus": {
			{0x03},                  // code 3 without its count
			{0x03, 0x00},            // no frame
			{0x83, 0x31},            // 49 frames of 2.5 ms
			{0x1b, 0x03},            // three frames of 60 ms
			{0x09, 1, 2, 3},         // code 1: two equal frames in three bytes
			{0x0a, 200, 1, 2},       // code 2: the first is longer than the packet
			{0x0b, 0x82, 200, 1, 2}, // code 3, VBR: likewise
			{0x0b, 0x42, 255, 1, 2}, // code 3: more padding than bytes
			append(make([]byte, 1), make([]byte, opusMaxFrame+1)...), // one frame of 1276 bytes
		},
	}
	for _, c := range Codecs() {
		for i, payload := range append(damaged[c.Name], nil, []byte{}) {
			pcm := []int16{1, 2, 3}
			got, err := newDecoder(t, c).Decode(pcm, payload)
			if !errors.Is(err, ErrPayload) {
				t.Errorf("%s %d: error %v, want ErrPayload", c.Name, i, err)
			}
			if len(got) != len(pcm) {
				t.Errorf("%s %d: %d samples, want the 3 that were there", c.Name, i, len(got))
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, c := range Codecs() {
		if got, ok := Find(c.Name, c.ClockRate); !ok || got.Name != c.Name {
			t.Errorf("Find(%q, %d) = %q, %t", c.Name, c.ClockRate, got.Name, ok)
		}
	}
	if c, ok := Find("OPUS", 48000); !ok || c.Name != "opus" {
		t.Errorf("Find is particular about case: %q, %t", c.Name, ok)
	}
	for name, clock := range map[string]int{"PCMU": 16000, "G722": 16000, "telephone-event": 8000} {
		if c, ok := Find(name, clock); ok {
			t.Errorf("Find(%q, %d) = %q", name, clock, c.Name)
		}
	}
}

func TestDecoderRate(t *testing.T) {
	for _, c := range Codecs() {
		for _, rate := range []int{0, -8000, 8001, 44100} {
			if d, err := c.NewDecoder(rate); err == nil {
				t.Errorf("%s: a decoder %v for %d Hz", c.Name, d, rate)
			}
		}
	}
}

func TestEncodeWrongFrame(t *testing.T) {
	for _, name := range []string{"G722", "opus"} {
		for _, c := range Codecs() {
			if c.Name != name {
				continue
			}
			encoder, err := c.NewEncoder()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := encoder.Encode([]byte{1}, make([]int16, 7)); err == nil || len(got) != 1 {
				t.Errorf("%s: a frame of 7 samples: %d bytes, error %v", name, len(got), err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for i, c := range Codecs() {
		encoder, err := c.NewEncoder()
		if err != nil {
			f.Fatal(err)
		}
		payload, err := encoder.Encode(nil, formula(c.SampleRate/50))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), payload, payload[:len(payload)/2])
		f.Add(uint8(i), []byte{}, payload)
	}
	f.Fuzz(func(t *testing.T, which uint8, first, second []byte) {
		c := Codecs()[int(which)%len(Codecs())]
		decoder := newDecoder(t, c)
		var pcm []int16
		for _, payload := range [][]byte{first, second, first} {
			before := len(pcm)
			var err error
			pcm, err = decoder.Decode(pcm, payload)
			switch {
			case err != nil && !errors.Is(err, ErrPayload):
				t.Fatalf("%s: %v", c.Name, err)
			case err != nil && len(pcm) != before:
				t.Fatalf("%s: %v, and %d samples", c.Name, err, len(pcm)-before)
			case err == nil && len(pcm) <= before:
				t.Fatalf("%s: no error and no sample", c.Name)
			}
		}
	})
}
