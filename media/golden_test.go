package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write the golden tapes and what they must sound like again")

// goldenCalls are kept as tapes: what a tape holds must mean the same for ever.
var goldenCalls = map[string]func(c *caller){
	"plain": func(c *caller) { c.say(1000) },
	"bad-network": func(c *caller) {
		c.use(8)
		c.say(1200)
		for i := range c.arrivals {
			c.arrivals[i].at += i * 37 % 150
		}
		c.arrivals = slices.Concat(c.arrivals[:20], c.arrivals[22:40], c.arrivals[38:])
	},
	"wideband-digits": func(c *caller) {
		c.use(9)
		c.say(400)
		c.press(4, 120)
		c.say(300)
		c.press(11, 80)
	},
	"sources-and-noise": func(c *caller) {
		c.say(300)
		c.send(13, []byte{55})
		c.wait(1500)
		c.say(200)
		c.rtp.SSRC, c.rtp.SequenceNumber, c.rtp.Timestamp = 9, 65530, 0xfffffff0
		c.say(400)
	},
	"opus-hold": func(c *caller) {
		c.use(111)
		c.say(700)
		c.wait(2000)
		c.say(700)
		c.arrivals = slices.Delete(c.arrivals, 12, 13)
	},
}

// golden is what a tape must come to.
type golden struct {
	Facts   Facts
	Sound   string `json:",omitempty"` // SHA-256 of the PCM that is encoded
	Packets string `json:",omitempty"` // SHA-256 of the Opus packets that are copied
}

func TestGoldenTapes(t *testing.T) {
	for name, call := range goldenCalls {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", "tape", name)
			if *update {
				c := newCaller(t, allCodecs)
				call(c)
				writeTape(t, file+".tape", c.tape())
			}
			got, err := json.MarshalIndent(goldenOf(t, readTape(t, file+".tape")), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file+".json", append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

func goldenOf(t *testing.T, in *tape) (g golden) {
	t.Helper()
	facts, sound := hear(t, in, RenderOptions{})
	facts.Loudness = math.Round(10*facts.Loudness) / 10
	g.Facts = facts
	if facts.Codec != opusName { // whose decoder rounds differently on other machines
		sum := sha256.New()
		if err := binary.Write(sum, binary.LittleEndian, sound.pcm); err != nil {
			t.Fatal(err)
		}
		g.Sound = fmt.Sprintf("%x", sum.Sum(nil))
		return g
	}
	g.Facts.Waveform, g.Facts.Speech = nil, 0
	_, file := renderFile(t, in.rewind(), RenderOptions{})
	ogg, err := readOgg(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	g.Packets = fmt.Sprintf("%x", sha256.Sum256(bytes.Join(ogg.Packets, []byte("|"))))
	return g
}

// A tape in a file is its records, each behind its length in four bytes.
func writeTape(t *testing.T, file string, in *tape) {
	t.Helper()
	var b []byte
	for _, record := range in.records {
		b = binary.BigEndian.AppendUint32(b, uint32(len(record)))
		b = append(b, record...)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readTape(tb testing.TB, file string) *tape {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	in := &tape{}
	for len(b) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		in.records = append(in.records, b[4:n])
		b = b[n:]
	}
	return in
}

// No tape, however damaged, makes rendering fail, or a file that is not whole.
func FuzzRender(f *testing.F) {
	for name := range goldenCalls {
		in := readTape(f, filepath.Join("testdata", "tape", name+".tape"))
		f.Add(bytes.Join(in.records, nil), uint16(1000), false)
		f.Add(in.records[0], uint16(100), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16, transcode bool) {
		at := min(int(cut), len(b))
		o := RenderOptions{MaxDuration: 1e9, Transcode: transcode, Complexity: func() int { return 0 }}
		facts, file := renderFile(t, &tape{records: [][]byte{b[:at], b[at:]}}, o)
		if facts.Duration == 0 {
			if len(file) > 0 {
				t.Fatalf("%d bytes of nothing", len(file))
			}
			return
		}
		ogg, err := readOgg(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if facts.Duration > o.MaxDuration || duration(ogg.Samples()) != facts.Duration {
			t.Fatalf("%v, the file plays %v", facts.Duration, duration(ogg.Samples()))
		}
	})
}
