package media

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/media/codec"
)

// What the file holds is what was said, and as long.
func TestRenderFile(t *testing.T) {
	for _, test := range []struct {
		payloadType uint8
		transcode   bool
		snr         float64
		alike       float64
	}{{0, false, 8, 0.99}, {8, false, 8, 0.99}, {9, false, 8, 0.99}, {111, true, 8, 0.99}, {111, false, 60, 0.999}} {
		c := newCaller(t, allCodecs)
		c.use(test.payloadType)
		said := c.say(1210) // the last packet is half empty
		facts, file := renderFile(t, c.tape(), RenderOptions{Transcode: test.transcode})
		rate := c.codec.SampleRate
		heard := decodeFile(t, file, rate)
		if facts.Duration != 1220*time.Millisecond || len(heard) != len(said) {
			t.Fatalf("payload type %d: %v, %d samples for %d", test.payloadType, facts.Duration, len(heard), len(said))
		}
		copied := test.payloadType == 111 && !test.transcode
		if copied { // without the moment that the phone's encoder ran late at its start
			late := copyPreSkip * rate / tickRate
			said, heard = said[late:], heard[:len(heard)-late]
		}
		alike, s := envelopes(said, heard, rate), snr(said, heard)
		t.Logf("payload type %d: envelope correlation %.4f, %.1f dB, %d bytes", test.payloadType, alike, s, len(file))
		if alike < test.alike || s < test.snr {
			t.Errorf("payload type %d: envelope correlation %.4f, %.1f dB", test.payloadType, alike, s)
		}
		if frames := facts.Frames[9]; copied && frames != 0 || !copied && frames != 21 {
			t.Errorf("payload type %d: %d frames were encoded", test.payloadType, frames)
		}
	}
}

// Opus packets are copied as they came, with packets of nothing in the gaps.
func TestRenderCopy(t *testing.T) {
	c := newCaller(t, allCodecs)
	c.use(111)
	c.say(1000)
	c.wait(333) // not a whole number of packets
	c.say(1000)
	c.use(0)
	c.say(500)
	c.use(111)
	c.say(500)
	lost := c.arrivals[10]
	c.arrivals = slices.Delete(c.arrivals, 10, 11)
	facts, file := renderFile(t, c.tape(), RenderOptions{})
	if want := 3333 * time.Millisecond; facts.Duration != want || facts.Lost != 1 {
		t.Errorf("%+v", facts)
	}
	ogg, err := readOgg(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if ogg.Samples() != 3333*tickMs {
		t.Errorf("the file plays %d samples", ogg.Samples())
	}
	copied := 0
	for _, a := range c.arrivals {
		if a.raw[1]&0x7f == 111 && slices.ContainsFunc(ogg.Packets, func(p []byte) bool { return bytes.Equal(p, a.raw[12:]) }) {
			copied++
		}
	}
	if copied != 124 {
		t.Errorf("%d packets were copied of 124", copied)
	}
	if length, err := codec.PacketDuration(ogg.Packets[10]); err != nil || length != 960 || len(ogg.Packets[10]) > 2 {
		t.Errorf("in place of the lost packet % x stands % x", lost.raw[12:20], ogg.Packets[10])
	}
}

func TestRenderTooBig(t *testing.T) {
	c := newCaller(t, allCodecs)
	c.use(111)
	c.say(2000)
	in := c.tape()
	o := RenderOptions{MaxBytes: 2500, Bitrate: 8000}
	if _, err := Render(t.Context(), in, io.Discard, o); !errors.Is(err, ErrNoCopy) {
		t.Fatalf("error %v, want ErrNoCopy", err)
	}
	o.Transcode = true
	if facts, _ := renderFile(t, in.rewind(), o); facts.Duration != 2*time.Second || facts.Bytes > 2500 {
		t.Errorf("%+v", facts)
	}
}

// Frames filled up where the codec changes must not push the end of the call
// out of the file: such a note is encoded anew.
func TestRenderAlternatingCodecs(t *testing.T) {
	for _, test := range []struct {
		changes int
		copied  bool
	}{{1, true}, {2, true}, {3, false}, {200, false}} {
		c := newCaller(t, allCodecs)
		for range test.changes {
			c.use(111)
			c.say(20)
			c.use(0)
			c.send(0, bytes.Repeat([]byte{0x55, 0xd5}, 120)) // 30 ms, a frame and a half
			c.wait(30)
		}
		c.use(111)
		c.say(20)
		in, want := c.tape(), time.Duration(20+50*test.changes)*time.Millisecond
		facts, err := Render(t.Context(), in, io.Discard, RenderOptions{Complexity: cheap.Complexity})
		if !test.copied {
			if !errors.Is(err, ErrNoCopy) {
				t.Errorf("%d changes: error %v, want ErrNoCopy", test.changes, err)
			}
			facts, err = Render(t.Context(), in.rewind(), io.Discard, RenderOptions{Complexity: cheap.Complexity, Transcode: true})
		}
		if err != nil || facts.Duration != want {
			t.Errorf("%d changes: %v, want %v, error %v", test.changes, facts.Duration, want, err)
		}
	}
}

// The complexity may change from frame to frame.
func TestRenderComplexity(t *testing.T) {
	c := newCaller(t, pcmuOnly)
	c.say(1200)
	n := 0
	facts, _ := renderFile(t, c.tape(), RenderOptions{Complexity: func() int { n++; return []int{9, 2, 0}[n%3] }})
	if facts.Frames[9]+facts.Frames[2]+facts.Frames[0] != n || facts.Frames[0] < 6 || facts.Frames[2] < 6 || facts.Frames[9] < 6 {
		t.Errorf("%d frames, %v", n, facts.Frames)
	}
}

// failing is a tape that cannot be read, or whose reader gives up.
type failing struct{ err error }

func (f failing) Next(ctx context.Context) ([]byte, error) { return nil, cmpErr(ctx.Err(), f.err) }

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func TestRenderFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Render(t.Context(), failing{broken}, io.Discard, RenderOptions{}); !errors.Is(err, broken) {
		t.Errorf("a tape that cannot be read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Render(ctx, failing{broken}, io.Discard, RenderOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled rendering: %v", err)
	}
	c := newCaller(t, pcmuOnly)
	c.say(3000)
	reader, writer := io.Pipe()
	_ = reader.CloseWithError(broken)
	if _, err := Render(t.Context(), c.tape(), writer, RenderOptions{}); !errors.Is(err, broken) {
		t.Errorf("a disk that is full: %v", err)
	}
}

// A note of the greatest length stays within its size, whatever was said.
func TestNoteBitrate(t *testing.T) {
	for longest, want := range map[time.Duration]int{0: 22136, time.Minute: 24000, 10 * time.Minute: 6640, time.Hour: 6000} {
		if got := NoteBitrate(longest); got != want {
			t.Errorf("NoteBitrate(%v) = %d, want %d", longest, got, want)
		}
	}
}
