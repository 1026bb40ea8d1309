package media

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/pion/rtp"

	"github.com/afterbeep/afterbeep/media/codec"
)

// speechlike is something like speech, the same on every machine: a buzz of
// about 220 Hz, above what an encoder for speech filters out in syllables of 200 ms, peaks at a third of full scale.
func speechlike(rate, ms int) []int16 {
	pcm := make([]int16, rate*ms/1000)
	var phase, low float64
	for i := range pcm {
		at := float64(i) / float64(rate)
		phase += (220 + 25*math.Sin(2*math.Pi*1.3*at)) / float64(rate)
		_, saw := math.Modf(phase)
		low += (saw - 0.5 - low) * min(1, 6000/float64(rate))
		swell := math.Abs(math.Sin(2 * math.Pi * 2.5 * at))
		pcm[i] = int16(20000 * low * (0.1 + 0.9*swell))
	}
	return pcm
}

// caller sends RTP as a phone does, and notes when it arrives.
type caller struct {
	tb       testing.TB
	formats  []Format
	format   Format
	codec    codec.Codec
	encoder  codec.Encoder
	rtp      rtp.Packet
	now      int // ms
	arrivals []arrival
}

type arrival struct {
	at  int // ms
	raw []byte
}

// newCaller agrees on the formats, each the rtpmap of a payload type, and
// begins with the first.
func newCaller(tb testing.TB, formats string) *caller {
	tb.Helper()
	agreed, err := parseFormats([]byte(formats))
	if err != nil {
		tb.Fatal(err)
	}
	c := &caller{tb: tb, formats: agreed, now: 40}
	c.rtp.Version, c.rtp.SSRC, c.rtp.SequenceNumber, c.rtp.Timestamp = 2, 0x1234, 100, 5000
	c.use(agreed[0].PayloadType)
	return c
}

func (c *caller) use(payloadType uint8) {
	c.tb.Helper()
	c.format = c.formats[slices.IndexFunc(c.formats, func(f Format) bool { return f.PayloadType == payloadType })]
	found, ok := codec.Find(c.format.Name, c.format.ClockRate)
	if !ok {
		c.tb.Fatalf("no codec %q", c.format.Name)
	}
	encoder, err := found.NewEncoder()
	if err != nil {
		c.tb.Fatal(err)
	}
	c.codec, c.encoder = found, encoder
}

// send sends one packet, which arrives now.
func (c *caller) send(payloadType uint8, payload []byte) {
	c.tb.Helper()
	c.rtp.PayloadType, c.rtp.Payload = payloadType, payload
	raw, err := c.rtp.Marshal()
	if err != nil {
		c.tb.Fatal(err)
	}
	c.arrivals = append(c.arrivals, arrival{c.now, raw})
	c.rtp.SequenceNumber++
}

// say sends speech for so long and gives what a decoder without loss makes of it.
func (c *caller) say(ms int) []int16 {
	c.tb.Helper()
	return c.play(speechlike(c.codec.SampleRate, ms))
}

// play sends sound in packets of 20 ms.
func (c *caller) play(pcm []int16) (heard []int16) {
	c.tb.Helper()
	decoder, err := c.codec.NewDecoder(c.codec.SampleRate)
	if err != nil {
		c.tb.Fatal(err)
	}
	for frame := range slices.Chunk(pcm, c.codec.SampleRate/50) {
		frame = append(slices.Clone(frame), make([]int16, c.codec.SampleRate/50-len(frame))...)
		payload, err := c.encoder.Encode(nil, frame)
		if err != nil {
			c.tb.Fatal(err)
		}
		if heard, err = decoder.Decode(heard, payload); err != nil {
			c.tb.Fatal(err)
		}
		c.send(c.format.PayloadType, payload)
		c.wait(20)
	}
	return heard
}

// playFast is say with timestamps that count at twice the rate, for the tests
// that call it with how many packets went before.
func (c *caller) playFast(before, ms int) []int16 {
	c.tb.Helper()
	said := c.say(ms)
	start := c.rtp.Timestamp - uint32(ms*c.format.ClockRate/1000)
	for i := range c.arrivals[before:] {
		binary.BigEndian.PutUint32(c.arrivals[before+i].raw[4:], start+uint32(i*c.format.ClockRate/25))
	}
	c.rtp.Timestamp = start + uint32(2*ms*c.format.ClockRate/1000)
	return said
}

// arriveFrom has the packets from the nth on arrive so many ms late, and from
// then on every so many until they are on time again.
func (c *caller) arriveFrom(n, late, every int) {
	start := c.arrivals[n].at + late
	for i := range c.arrivals[n:] {
		a := &c.arrivals[n+i]
		a.at = max(a.at, start+i*every)
	}
}

// wait lets time pass, on the clock and for timestamps.
func (c *caller) wait(ms int) {
	c.now += ms
	c.rtp.Timestamp += uint32(ms * c.format.ClockRate / 1000)
}

// press sends a telephone-event that lasts so long (RFC 4733 §2.5.1): a packet
// every 50 ms, the last one three times.
func (c *caller) press(code byte, ms int) {
	c.tb.Helper()
	clock := c.format.ClockRate / 1000
	c.rtp.Marker = true
	for at := 50; at < ms+150; at += 50 {
		lasts, end := min(at, ms)*clock, byte(10)
		if at >= ms {
			end |= 0x80
		}
		c.now += min(50, max(0, ms-at+50))
		c.send(101, []byte{code, end, byte(lasts >> 8), byte(lasts)})
		c.rtp.Marker = false
	}
	c.rtp.Timestamp += uint32(ms * clock)
}

// tape is what was recorded: records of a second of arrivals.
func (c *caller) tape() *tape {
	slices.SortStableFunc(c.arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	record := appendEntry(nil, entryFormat, 0, appendFormats(nil, c.formats))
	records := &tape{}
	second := 0
	for _, a := range c.arrivals {
		if a.at/1000 != second {
			records.records = append(records.records, record)
			record, second = nil, a.at/1000
		}
		record = appendEntry(record, entryAudio, uint32(a.at), a.raw)
	}
	records.records = append(records.records, record)
	return records
}

// tape is a tape in memory that has ended. As the contract allows, a record is
// spoilt once the next one is asked for.
type tape struct {
	records [][]byte
	last    []byte
	next    int
}

func (t *tape) Next(context.Context) ([]byte, error) {
	for i := range t.last {
		t.last[i] = 0xaa
	}
	if t.next == len(t.records) {
		return nil, io.EOF
	}
	t.last = append(t.last[:0], t.records[t.next]...)
	t.next++
	return t.last, nil
}

func (t *tape) rewind() *tape { return &tape{records: t.records} }

// captureSink keeps the sound of a note.
type captureSink struct {
	rate    int
	pcm     []int16
	packets int
}

func (s *captureSink) sound(pcm []int16, packet []byte) error {
	s.pcm = append(s.pcm, pcm...)
	if packet != nil {
		s.packets++
	}
	return nil
}

func (s *captureSink) gap(pcm []int16) error { return s.sound(pcm, nil) }

func (s *captureSink) close() (encoded, error) { return encoded{}, nil }

// hear renders a tape up to the sound that goes to the encoder.
func hear(tb testing.TB, in Records, o RenderOptions) (Facts, *captureSink) {
	tb.Helper()
	sound := &captureSink{}
	r := newRenderer(o.withDefaults(), func(_ string, rate int) (noteSink, error) {
		sound.rate = rate
		return sound, nil
	})
	facts, err := r.run(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return facts, sound
}

// cheap is for tests that do not listen.
var cheap = RenderOptions{Complexity: func() int { return 0 }}

// renderFile renders a tape to a file.
func renderFile(tb testing.TB, in Records, o RenderOptions) (Facts, []byte) {
	tb.Helper()
	var file bytes.Buffer
	facts, err := Render(tb.Context(), in, &file, o)
	if err != nil {
		tb.Fatal(err)
	}
	if facts.Bytes != int64(file.Len()) {
		tb.Errorf("%d bytes, facts say %d", file.Len(), facts.Bytes)
	}
	return facts, file.Bytes()
}

// decodeFile decodes a note at a rate, as players do.
func decodeFile(tb testing.TB, file []byte, rate int) []int16 {
	tb.Helper()
	ogg, err := readOgg(bytes.NewReader(file))
	if err != nil {
		tb.Fatal(err)
	}
	opus, _ := codec.Find(opusName, tickRate)
	decoder, err := opus.NewDecoder(rate)
	if err != nil {
		tb.Fatal(err)
	}
	var pcm []int16
	for _, packet := range ogg.Packets {
		if pcm, err = decoder.Decode(pcm, packet); err != nil {
			tb.Fatal(err)
		}
	}
	skip := ogg.Head.PreSkip * rate / tickRate
	return pcm[skip : skip+int(ogg.Samples())*rate/tickRate]
}

// snr is how far what was heard lies above its difference from what was said,
// in dB.
func snr(said, heard []int16) float64 {
	var signal, difference float64
	for i, s := range said {
		d := float64(s) - float64(heard[i])
		signal += float64(s) * float64(s)
		difference += d * d
	}
	return 10 * math.Log10(signal/max(difference, 1))
}

// envelopes says how alike the loudness of two sounds runs, in steps of 20 ms:
// the correlation, 1 at most.
func envelopes(a, b []int16, rate int) float64 {
	x, y := envelope(a, rate), envelope(b, rate)
	n := min(len(x), len(y))
	var mx, my float64
	for i := range n {
		mx, my = mx+x[i]/float64(n), my+y[i]/float64(n)
	}
	var xy, xx, yy float64
	for i := range n {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

func envelope(pcm []int16, rate int) []float64 {
	var e []float64
	for block := range slices.Chunk(pcm, rate/50) {
		e = append(e, math.Sqrt(power(block)))
	}
	return e
}

// power is the mean square.
func power(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum / float64(max(1, len(pcm)))
}
