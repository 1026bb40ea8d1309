package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/rtp"
)

// Facts is what rendering found out about a note.
type Facts struct {
	Duration time.Duration // exact length of the file
	Bytes    int64         // size of the file
	Codec    string        // what the caller sent, its first codec by SDP name
	Waveform []byte        // 64 points, 0 to 255, linear in amplitude, the loudest near 255
	Loudness float64       // dBFS, RMS over the frames above SpeechFloor; -inf becomes -96
	Speech   time.Duration // how much of it lay above SpeechFloor

	Packets    int // audio packets that came
	Lost       int // packets that never came
	Late       int // came after their place had been filled
	Duplicates int
	Damaged    int           // packets and parts of records that could not be read
	Unknown    int           // packets of a payload type that was not agreed on
	Concealed  time.Duration // audio made up for what was lost
	Digits     string        // DTMF, by telephone-event
	Frames     map[int]int   // frames encoded by Opus complexity; none where Opus packets were copied
	Encoder    time.Duration // processor time that the Opus encoder took, on Linux
	Lag        time.Duration // the longest a record waited for its turn to be encoded
}

// SpeechFloor is the level in dBFS above which a frame counts as audio that a
// caller made, and SpeechLeast how much of it makes a message: a real message
// must never be taken for silence.
const (
	SpeechFloor = -55.0
	SpeechLeast = 300 * time.Millisecond
)

// Spoken says whether the caller left a message.
func (f Facts) Spoken() bool { return f.Speech >= SpeechLeast }

// NoteBytes is the size a note stays within: WhatsApp shows a download arrow
// instead of the play button above it.
const NoteBytes = 512 << 10

const (
	usualBitrate     = 24000 // bit/s, where a longer note does not demand less
	bitrateShare     = 0.95  // of NoteBytes, the rest is Ogg and variable bitrate
	bitrateLeast     = 6000  // bit/s, Opus goes no lower (RFC 6716 §2.1.1)
	bestComplexity   = 9
	longestByDefault = 3 * time.Minute
)

// NoteBitrate is the bitrate in bit/s at which a note as long as longest stays
// within NoteBytes.
func NoteBitrate(longest time.Duration) int {
	if longest <= 0 {
		longest = longestByDefault
	}
	fits := bitrateShare * NoteBytes * 8 / longest.Seconds()
	return int(max(bitrateLeast, min(usualBitrate, fits)))
}

// RenderOptions say how a note is rendered. The zero value works.
type RenderOptions struct {
	// MaxDuration is the longest a note can get; what comes beyond is left out.
	// Zero means three minutes. No timestamp can make a note longer.
	MaxDuration time.Duration
	// Bitrate of an encoded note in bit/s; zero means NoteBitrate(MaxDuration).
	Bitrate int
	// MaxBytes is the size above which copying Opus packets ends with
	// [ErrNoCopy]; zero means NoteBytes.
	MaxBytes int64
	// Transcode has Opus packets decoded and encoded again instead of copied.
	Transcode bool
	// Complexity is asked before each frame with which Opus complexity, 0 to
	// 10, it is to be encoded; nil means 9.
	Complexity func() int
	// Encoded is told after each frame how much processor time it took, zero
	// where that is not measured; nil for nobody.
	Encoded func(cpu time.Duration)
}

// ErrNoCopy says that copied Opus packets make no note: it would be bigger than
// MaxBytes, or other codecs in between would make it longer than the call.
// Render it again with Transcode.
var ErrNoCopy = errors.New("media: the caller's own packets make no note")

func (o RenderOptions) withDefaults() RenderOptions {
	if o.MaxDuration <= 0 {
		o.MaxDuration = longestByDefault
	}
	if o.Bitrate <= 0 {
		o.Bitrate = NoteBitrate(o.MaxDuration)
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = NoteBytes
	}
	if o.Complexity == nil {
		o.Complexity = func() int { return bestComplexity }
	}
	if o.Encoded == nil {
		o.Encoded = func(time.Duration) {}
	}
	return o
}

// Render reads a tape to its end and writes it to out as an Ogg Opus file (RFC
// 7845), mono: G.711 and G.722 are encoded at their own rate, Opus packets are
// copied. It keeps up with a tape that is still being written, and needs
// nothing but the tape to do the same again later.
//
// The file is written once it is complete: a tape may say at any time that what
// came so far was not the caller's. A tape without audio has a Duration of zero,
// and nothing is written. What is damaged on a tape is counted and passed over.
// Errors are those of in, of out, and [ErrNoCopy].
func Render(ctx context.Context, in Records, out io.Writer, o RenderOptions) (Facts, error) {
	o = o.withDefaults()
	var file bytes.Buffer
	r := newRenderer(o, func(name string, rate int) (noteSink, error) {
		file.Reset() // of what a note that was given up left
		if name == opusName && !o.Transcode {
			return newCopySink(&file, rate, o.MaxBytes)
		}
		return newEncodeSink(&file, rate, o)
	})
	facts, err := r.run(ctx, in)
	if err != nil || facts.Duration == 0 {
		return facts, err
	}
	facts.Bytes = int64(file.Len())
	if _, err := file.WriteTo(out); err != nil {
		return facts, fmt.Errorf("media: writing the note: %w", err)
	}
	return facts, nil
}

// renderer is the rendering of one note: records -> reorder -> timeline -> note
// -> sink, each stage pushed by the one before.
type renderer struct {
	limit   int64 // ticks
	newSink func(codecName string, rate int) (noteSink, error)

	facts    Facts
	formats  [128]*decoding // by payload type
	rtp      rtp.Packet     // used again for each packet …
	packet   packet         // … and so is this
	reorder  reorder
	timeline timeline
	events   events
	tail     int64 // ticks, where the last event ends
	source   uint32
	missing  int // packets that never came since the last audio
	note     *note
	pcm      []int16 // used again for each packet
	full     bool    // the limit is reached
}

func newRenderer(o RenderOptions, newSink func(codecName string, rate int) (noteSink, error)) *renderer {
	r := &renderer{limit: int64(o.MaxDuration.Seconds() * tickRate), newSink: newSink}
	r.anew()
	return r
}

// anew forgets all that came.
func (r *renderer) anew() {
	*r = renderer{limit: r.limit, newSink: r.newSink}
	r.reorder.next = r.place
}

func (r *renderer) run(ctx context.Context, in Records) (Facts, error) {
	for {
		record, err := in.Next(ctx)
		if errors.Is(err, io.EOF) {
			return r.finish()
		}
		if err != nil {
			return Facts{}, fmt.Errorf("media: reading the tape: %w", err)
		}
		if err := r.record(record); err != nil {
			return Facts{}, err
		}
	}
}

// record takes the entries of one record. What follows a damaged entry cannot
// be told apart.
func (r *renderer) record(record []byte) error {
	for len(record) > 0 {
		kind, arrival, body, rest, err := nextEntry(record)
		if err != nil {
			r.facts.Damaged++
			return nil //nolint:nilerr // counted: the records after it may be whole
		}
		record = rest
		switch kind {
		case entryAnew:
			r.anew()
		case entryFormat:
			r.agree(body)
		case entryAudio:
			if err := r.receive(body, arrival); err != nil {
				return err
			}
		default: // video is rendered elsewhere, later kinds are passed over
		}
	}
	return nil
}

// agree takes the formats in force from here on. A format that stays keeps the
// state of its decoder.
func (r *renderer) agree(body []byte) {
	formats, err := parseFormats(body)
	if err != nil {
		r.facts.Damaged++ // the formats before it stay
		return
	}
	var agreed [128]*decoding
	for _, f := range formats {
		if old := r.formats[f.PayloadType]; old != nil && old.Format == f {
			agreed[f.PayloadType] = old
		} else {
			agreed[f.PayloadType] = newDecoding(f)
		}
	}
	r.formats = agreed
}

// receive takes one RTP packet as it arrived.
func (r *renderer) receive(body []byte, arrival uint32) error {
	if err := r.rtp.Unmarshal(body); err != nil || r.rtp.Version != 2 {
		r.facts.Damaged++
		return nil //nolint:nilerr // counted
	}
	// RFC 3550 §5.1: a packet of an unknown payload type is ignored, but its number is one that came.
	r.packet = packet{
		source:    r.rtp.SSRC,
		sequence:  r.rtp.SequenceNumber,
		timestamp: r.rtp.Timestamp,
		marker:    r.rtp.Marker,
		arrival:   int64(arrival),
		format:    r.formats[r.rtp.PayloadType],
		payload:   r.rtp.Payload,
	}
	return r.reorder.push(&r.packet)
}

// place takes the packets in order, and lays each where it belongs.
func (r *renderer) place(p *packet) error {
	r.missing += p.missing
	if p.source != r.source { // another encoder: what decoders remember is not of it
		r.source = p.source
		for _, f := range r.formats {
			f.forget()
		}
	}
	switch {
	case p.format == nil:
		r.facts.Unknown++
		return nil
	case r.full:
		return nil
	case p.format.kind == kindEvent:
		return r.event(p)
	case p.format.kind == kindNoise:
		return r.comfort(p)
	case p.format.kind == kindAudio:
		return r.audio(p)
	}
	r.facts.Unknown++
	return nil
}

// audio decodes a packet and adds it to the note.
func (r *renderer) audio(p *packet) error {
	rate := p.format.codec.SampleRate // the first codec's is the note's
	if r.note != nil {
		rate = r.note.rate
	}
	pcm, length, err := p.format.decode(r.pcm[:0], p.payload, rate)
	if err != nil {
		r.facts.Damaged++
		r.missing++
		return nil //nolint:nilerr // counted, and concealed as if it had never come
	}
	r.pcm = pcm
	p.missing = r.missing
	gap, ok := r.timeline.place(p, length, r.limit)
	if !ok {
		r.full = true
		return nil
	}
	if r.note == nil {
		if err := r.begin(p.format); err != nil {
			return err
		}
	}
	r.facts.Packets++
	lost := min(gap, int64(r.missing)*length)
	r.facts.Concealed += duration(lost)
	r.missing = 0
	if err := r.note.gap(gap, lost > 0); err != nil {
		return err
	}
	return r.note.sound(pcm, p.format.copyable(p.payload))
}

// begin starts the note with the first audio packet: its codec decides the rate
// and whether packets are copied.
func (r *renderer) begin(f *decoding) error {
	s, err := r.newSink(f.codec.Name, f.codec.SampleRate)
	if err != nil {
		return err
	}
	r.facts.Codec = f.codec.Name
	r.note = newNote(f.codec.SampleRate, s)
	return nil
}

// comfort takes a comfort noise packet: from here on what nobody sends sounds
// like it (RFC 3389 §4).
func (r *renderer) comfort(p *packet) error {
	if len(p.payload) == 0 {
		r.facts.Damaged++
		return nil
	}
	if r.note == nil { // a note begins with audio
		return nil
	}
	gap, ok := r.timeline.place(p, 0, r.limit)
	if !ok {
		return nil
	}
	err := r.note.gap(gap, false)
	r.note.noise.level(p.payload[0])
	return err
}

// event takes a telephone-event: a digit, and silence at the end of the note if
// it is the last thing that came. Amid a note the audio after it shows how long
// it was.
func (r *renderer) event(p *packet) error {
	end, ok := r.events.take(p, &r.timeline)
	if !ok {
		r.facts.Damaged++
		return nil
	}
	r.tail = max(r.tail, end)
	return nil
}

// finish passes on what is still held and completes the note and its facts.
func (r *renderer) finish() (Facts, error) {
	if err := r.reorder.end(); err != nil {
		return Facts{}, err
	}
	f := &r.facts
	f.Lost, f.Late, f.Duplicates = r.reorder.lost, r.reorder.late, r.reorder.duplicates
	f.Digits = string(r.events.digits)
	f.Loudness, f.Waveform = quietest, make([]byte, waveformPoints)
	if r.note == nil {
		return *f, nil
	}
	if rest := min(r.tail, r.limit) - r.timeline.end; rest > 0 {
		if err := r.note.gap(rest, false); err != nil {
			return Facts{}, err
		}
	}
	r.note.meter.facts(f)
	f.Duration = r.note.duration()
	work, err := r.note.sink.close()
	f.Frames, f.Encoder = work.frames, work.cpu
	if err != nil {
		return Facts{}, err
	}
	return *f, nil
}
