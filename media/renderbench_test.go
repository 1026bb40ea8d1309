package media

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/media/codec"
)

// longCall is half a minute of speech in one codec, as it would be sent.
func longCall(tb testing.TB, payloadType uint8) (*tape, []int16) {
	tb.Helper()
	c := newCaller(tb, allCodecs)
	c.use(payloadType)
	var heard []int16
	for _, part := range realSpeech(tb, c.codec.SampleRate) {
		heard = append(heard, c.play(part)...)
	}
	return c.tape(), heard
}

// realSpeech is half a minute of it, or of something like it where none is
// installed: the ratio between the benchmarks is what matters.
func realSpeech(tb testing.TB, rate int) [][]int16 {
	tb.Helper()
	pcm := speechlike(rate, 30_000)
	if audio, ok := recorded(tb); ok {
		if there, err := resample(audio, rate); err == nil {
			pcm = slices.Repeat(there.Samples, 30*rate/len(there.Samples)+1)[:30*rate]
		}
	}
	return slices.Collect(slices.Chunk(pcm, rate))
}

// BenchmarkRender gives the cost of rendering, BenchmarkEncoderAlone that of the
// bare encoder on the same sound: the difference is ours.
func BenchmarkRender(b *testing.B) {
	for _, c := range codec.Codecs() {
		at := slices.IndexFunc(callFormats(b), func(f Format) bool { return f.Name == c.Name })
		in, _ := longCall(b, callFormats(b)[at].PayloadType)
		for _, complexity := range []int{0, 2, 9} {
			if c.Name == opusName && complexity > 0 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", c.Name, complexity), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Render(b.Context(), in.rewind(), io.Discard, RenderOptions{Complexity: func() int { return complexity }}); err != nil {
						b.Fatal(err)
					}
				}
				perMinute(b)
			})
		}
	}
}

func BenchmarkEncoderAlone(b *testing.B) {
	for _, payloadType := range []uint8{0, 9} {
		_, pcm := longCall(b, payloadType)
		rate := len(pcm) / 30
		for _, complexity := range []int{0, 2, 9} {
			b.Run(fmt.Sprintf("%d/%d", rate, complexity), func(b *testing.B) {
				for b.Loop() {
					encoder, err := codec.NewNoteEncoder(rate, NoteBitrate(3*time.Minute))
					if err != nil {
						b.Fatal(err)
					}
					for frame := range slices.Chunk(pcm, encoder.FrameSize()) {
						if _, err := encoder.Encode(frame, complexity); err != nil {
							b.Fatal(err)
						}
					}
				}
				perMinute(b)
			})
		}
	}
}

// perMinute reports the milliseconds that a minute of audio takes; the
// benchmarks use one processor and render half a minute.
func perMinute(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)*2, "ms/audio-minute")
	b.ReportMetric(0, "ns/op")
}

func callFormats(tb testing.TB) []Format {
	tb.Helper()
	formats, err := parseFormats([]byte(allCodecs))
	if err != nil {
		tb.Fatal(err)
	}
	return formats
}

// A packet costs no allocation: a long call takes as many as a short one, but
// for the growth of what grows with it.
func TestRenderDoesNotAllocate(t *testing.T) {
	for _, payloadType := range []uint8{0, 111} {
		c := newCaller(t, allCodecs)
		c.use(payloadType)
		c.say(1000)
		short := c.tape()
		for i := range 8 {
			c.say(1000)
			if i%3 == 0 { // now and then something is lost, and something comes in another order
				c.rtp.SequenceNumber++
				c.wait(20)
				last := len(c.arrivals) - 1
				c.arrivals[last].at, c.arrivals[last-1].at = c.arrivals[last-1].at, c.arrivals[last].at
			}
		}
		long := c.tape()
		allocations := func(in *tape) float64 {
			in.last = make([]byte, 0, 1<<16)
			return testing.AllocsPerRun(1, func() {
				again := &tape{records: in.records, last: in.last}
				if _, err := Render(t.Context(), again, io.Discard, RenderOptions{Complexity: func() int { return 0 }}); err != nil {
					t.Fatal(err)
				}
			})
		}
		if more := allocations(long) - allocations(short); more > 50 {
			t.Errorf("payload type %d: %v allocations more for 400 packets more", payloadType, more)
		}
	}
}
