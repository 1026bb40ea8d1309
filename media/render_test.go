package media

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

func TestRenderLoss(t *testing.T) {
	c := newCaller(t, pcmuOnly)
	said := c.say(6000)
	lost := 0
	c.arrivals = slices.DeleteFunc(c.arrivals, func(a arrival) bool {
		n := binary.BigEndian.Uint16(a.raw[2:])
		gone := n > 100 && n < 390 && n%20 == 7
		if gone {
			lost++
		}
		return gone
	})
	facts, sound := hear(t, c.tape(), RenderOptions{})
	if len(sound.pcm) != len(said) || facts.Lost != lost || facts.Packets != 300-lost ||
		facts.Concealed != time.Duration(lost)*20*time.Millisecond {
		t.Fatalf("%d samples for %d, facts %+v", len(sound.pcm), len(said), facts)
	}
	dropped := slices.Clone(said)
	for i := range dropped {
		if n := 100 + i/160; n > 100 && n < 390 && n%20 == 7 {
			dropped[i] = 0
		}
	}
	got, silence := snr(said, sound.pcm), snr(said, dropped)
	t.Logf("%.1f dB, silence instead %.1f dB", got, silence)
	if got < silence+3 {
		t.Errorf("concealment brings %.1f dB against %.1f dB of silence", got, silence)
	}
	if e := envelopes(said, sound.pcm, 8000); e < 0.98 {
		t.Errorf("envelope correlation %.3f", e)
	}
}

// A packet later than the window is lost, and told from a duplicate.
func TestRenderLate(t *testing.T) {
	c := newCaller(t, pcmuOnly)
	said := c.say(2000)
	c.arrivals[30].at += 300
	facts, sound := hear(t, c.tape(), RenderOptions{})
	if len(sound.pcm) != len(said) || facts.Late != 1 || facts.Lost != 0 || facts.Duplicates != 0 || facts.Packets != 99 {
		t.Errorf("%d samples for %d, facts %+v", len(sound.pcm), len(said), facts)
	}
}

func TestRenderComfortNoise(t *testing.T) {
	c := newCaller(t, pcmuOnly)
	said := c.say(1000)
	c.send(13, []byte{50, 1, 2, 3}) // −50 dBov, with a spectrum
	c.wait(2000)
	c.say(1000)
	c.send(13, []byte{127})
	c.wait(500)
	c.send(13, []byte{127})
	facts, sound := hear(t, c.tape(), RenderOptions{})
	if len(sound.pcm) != 4500*8 {
		t.Fatalf("%d samples", len(sound.pcm))
	}
	if n := differences(said, sound.pcm); n > 0 {
		t.Errorf("%d samples of the speech are changed", n)
	}
	level := func(pcm []int16) float64 { return 10 * math.Log10(power(pcm)/(1<<30)) }
	if got := level(sound.pcm[8*1000 : 8*3000]); math.Abs(got+50) > 1 {
		t.Errorf("noise of %.1f dBFS, want −50", got)
	}
	if got := level(sound.pcm[8*4000:]); got > -80 {
		t.Errorf("noise of %.1f dBFS, want silence", got)
	}
	if facts.Packets != 100 || facts.Speech > 2*time.Second {
		t.Errorf("noise is taken for speech: %+v", facts)
	}
}

// Another codec in the middle of a call is heard at the note's rate.
func TestRenderCodecChange(t *testing.T) {
	for _, test := range []struct {
		first, second uint8
		rate          int
	}{{0, 9, 8000}, {9, 0, 16000}, {0, 111, 8000}, {111, 0, 16000}, {9, 111, 16000}} {
		c := newCaller(t, allCodecs)
		c.use(test.first)
		c.say(500)
		c.use(test.second)
		c.say(500)
		facts, sound := hear(t, c.tape(), RenderOptions{})
		if sound.rate != test.rate || len(sound.pcm) != test.rate || facts.Packets != 50 {
			t.Fatalf("%d then %d: %d samples at %d Hz, %+v", test.first, test.second, len(sound.pcm), sound.rate, facts)
		}
		said := append(speechlike(test.rate, 500), speechlike(test.rate, 500)...)
		if e := envelopes(said, sound.pcm, test.rate); e < 0.95 {
			t.Errorf("%d then %d: envelope correlation %.3f", test.first, test.second, e)
		}
	}
}

// A telephone-event too long for its duration field comes in segments, and is
// one digit (RFC 4733 §2.5.1.3); the same key pressed twice is two.
func TestRenderLongEvent(t *testing.T) {
	c := newCaller(t, pcmuOnly)
	c.say(200)
	start := c.rtp.Timestamp
	for i, end := range []byte{10, 10, 0x8a} {
		c.rtp.Marker = i == 0
		c.rtp.Timestamp = start + uint32(i)*0xffff
		for _, lasts := range []int{0x4000, 0xffff} {
			c.now += 4000
			c.send(101, []byte{3, end, byte(lasts >> 8), byte(lasts)})
			c.rtp.Marker = false
		}
	}
	facts, _ := hear(t, c.tape(), RenderOptions{})
	want := 200*time.Millisecond + 3*0xffff*time.Second/8000
	if facts.Digits != "3" || (facts.Duration-want).Abs() > 20*time.Millisecond {
		t.Errorf("digits %q, %v; want one 3 and %v", facts.Digits, facts.Duration, want)
	}
	c = newCaller(t, pcmuOnly)
	c.say(100)
	c.press(3, 100)
	c.wait(40)
	c.press(3, 100)
	c.press(16, 100) // a hook flash is no digit
	facts, _ = hear(t, c.tape(), RenderOptions{})
	if facts.Digits != "33" || facts.Duration != 440*time.Millisecond {
		t.Errorf("digits %q, %v", facts.Digits, facts.Duration)
	}
}

func TestRenderSpoken(t *testing.T) {
	for _, test := range []struct {
		ms, after int
		spoken    bool
	}{{299, 0, false}, {301, 0, true}, {299, 7, false}, {301, 13, true}} {
		c := newCaller(t, pcmuOnly)
		pcm := silent(2000)
		for i := range 8 * test.ms {
			pcm[8*(500+test.after)+i] = int16(3000 * math.Sin(2*math.Pi*400*float64(i)/8000))
		}
		c.play(pcm)
		facts, _ := hear(t, c.tape(), RenderOptions{})
		if facts.Spoken() != test.spoken {
			t.Errorf("%d ms of sound: spoken %t, %v", test.ms, facts.Spoken(), facts.Speech)
		}
	}
}

func TestRenderNothing(t *testing.T) {
	digit := newCaller(t, pcmuOnly)
	digit.press(1, 100)
	for name, in := range map[string]Records{
		"an empty tape":  &tape{},
		"formats alone":  newCaller(t, pcmuOnly).tape(),
		"a digit alone":  digit.tape(),
		"an empty entry": &tape{records: [][]byte{{}, appendEntry(nil, entryAudio, 0, nil)}},
	} {
		facts, file := renderFile(t, in, RenderOptions{})
		if facts.Duration != 0 || len(file) != 0 || facts.Spoken() || facts.Loudness != -96 || len(facts.Waveform) != 64 {
			t.Errorf("%s: %d bytes, %+v", name, len(file), facts)
		}
	}
}

// What is damaged is counted, and the rest is heard.
func TestRenderDamaged(t *testing.T) {
	c := newCaller(t, allCodecs)
	said := c.say(3000)
	in := c.tape()
	in.records[1] = in.records[1][:len(in.records[1])-50] // the last packet of the second record is cut
	in.records[2] = append([]byte{byte(entryFormat), 0, 1, 0, 0, 0, 0, 'x', byte(entryAudio), 0, 2, 0, 0, 0, 0, 1, 2, 99, 0, 0, 0, 0, 0, 0}, in.records[2]...)
	facts, sound := hear(t, in, RenderOptions{})
	if facts.Damaged != 3 || facts.Packets != 149 || facts.Lost != 1 || len(sound.pcm) != len(said) {
		t.Errorf("%d samples for %d, facts %+v", len(sound.pcm), len(said), facts)
	}
	c = newCaller(t, allCodecs)
	c.use(111)
	c.say(200)
	c.send(111, []byte{0x03}) // no Opus packet
	c.wait(20)
	c.say(200)
	facts, file := renderFile(t, c.tape(), RenderOptions{})
	if facts.Damaged != 1 || facts.Duration != 420*time.Millisecond || facts.Concealed != 20*time.Millisecond {
		t.Errorf("facts %+v", facts)
	}
	decodeFile(t, file, 16000)
}

// No timestamp, no length of a call makes a note longer than it may be.
func TestRenderLimit(t *testing.T) {
	for name, call := range map[string]func(c *caller){
		"a long call":       func(c *caller) { c.say(3000) },
		"a gap of hours":    func(c *caller) { c.say(1000); c.wait(3600_000); c.say(1000) },
		"one large packet":  func(c *caller) { c.say(1000); c.send(0, make([]byte, 60000)); c.wait(7500); c.say(200) },
		"an endless digit":  func(c *caller) { c.say(1000); c.press(1, 8000) },
		"comfort for hours": func(c *caller) { c.say(1000); c.wait(3600_000); c.send(13, []byte{60}) },
	} {
		c := newCaller(t, pcmuOnly)
		call(c)
		facts, _ := hear(t, c.tape(), RenderOptions{MaxDuration: 2 * time.Second})
		if facts.Duration > 2*time.Second || facts.Duration < time.Second {
			t.Errorf("%s: %v", name, facts.Duration)
		}
	}
}
