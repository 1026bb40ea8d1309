package media

import (
	"slices"
	"testing"
	"time"
)

const (
	pcmuOnly  = "0 PCMU/8000\n101 telephone-event/8000\n13 CN/8000\n"
	allCodecs = "0 PCMU/8000\n8 PCMA/8000\n9 G722/8000\n111 opus/48000/2\n101 telephone-event/8000\n13 CN/8000\n"
)

// silent is so many ms of nothing at 8 kHz.
func silent(ms int) []int16 { return make([]int16, 8*ms) }

// A call whose sound arrives whole, in whatever way, is rendered to the sample.
var exactCalls = []struct {
	name string
	call func(c *caller) []int16 // gives what must be heard at 8 kHz
	want Facts                   // Packets and what went wrong
}{
	{"plain", func(c *caller) []int16 { return c.say(2000) }, Facts{Packets: 100}},
	{"one packet", func(c *caller) []int16 { return c.say(20) }, Facts{Packets: 1}},
	{"reordered by up to 150 ms", func(c *caller) []int16 {
		said := c.say(3000)
		for i := range c.arrivals {
			c.arrivals[i].at += i * 37 % 150
		}
		return said
	}, Facts{Packets: 150}},
	{"the first one comes third", func(c *caller) []int16 {
		said := c.say(1000)
		c.arrivals[0].at += 50
		return said
	}, Facts{Packets: 50}},
	{"duplicates", func(c *caller) []int16 {
		said := c.say(2000)
		for i := 0; i < 100; i += 3 {
			c.arrivals = append(c.arrivals, arrival{c.arrivals[i].at + i%100, c.arrivals[i].raw})
		}
		return said
	}, Facts{Packets: 100, Duplicates: 34}},
	{"stalled, then all at once", func(c *caller) []int16 {
		said := c.say(4000)
		for i := 50; i < 150; i++ {
			c.arrivals[i].at = c.arrivals[149].at
		}
		return said
	}, Facts{Packets: 200}},
	{"stalled, then twice as fast until it has caught up", func(c *caller) []int16 {
		said := c.say(6000)
		c.arriveFrom(50, 2000, 10)
		return said
	}, Facts{Packets: 300}},
	{"stalled, then slowly catching up", func(c *caller) []int16 {
		said := c.say(10_000)
		c.arriveFrom(50, 1000, 16)
		return said
	}, Facts{Packets: 500}},
	{"stalled, then caught up by fits and starts", func(c *caller) []int16 {
		said := c.say(6000)
		c.arriveFrom(50, 1500, 14)
		for i := range c.arrivals[50:] { // two at a time, after every other look
			c.arrivals[50+i].at += (28 - i%2*14)
		}
		return said
	}, Facts{Packets: 300}},
	{"a packet lost, stalled after the next, then twice as fast", func(c *caller) []int16 {
		said := c.say(4000)
		clear(said[50*160 : 51*160])
		c.arriveFrom(52, 1000, 10)
		c.arrivals = slices.Delete(c.arrivals, 50, 51)
		return said
	}, Facts{Packets: 199, Lost: 1, Concealed: 20 * time.Millisecond}},
	{"sequence and timestamp wrap", func(c *caller) []int16 {
		c.rtp.SequenceNumber, c.rtp.Timestamp = 0xfff0, 0xffffff00
		return c.say(2000)
	}, Facts{Packets: 100}},
	{"another source at once", func(c *caller) []int16 {
		said := c.say(1000)
		c.rtp.SSRC, c.rtp.SequenceNumber, c.rtp.Timestamp = 0x9999, 40000, 77
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"another source after a second", func(c *caller) []int16 {
		said := append(c.say(1000), silent(1000)...)
		c.wait(1000)
		c.rtp.SSRC, c.rtp.SequenceNumber, c.rtp.Timestamp = 0x9999, 40000, 77
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"numbers start over", func(c *caller) []int16 {
		said := c.say(1000)
		c.rtp.SequenceNumber, c.rtp.Timestamp = 40000, 77
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"timestamps jump hours ahead", func(c *caller) []int16 {
		said := c.say(1000)
		c.rtp.Timestamp += 8000 * 3600 * 5
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"timestamps jump back", func(c *caller) []int16 {
		said := c.say(1000)
		c.rtp.Timestamp -= 40000
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"timestamps jump in a pause", func(c *caller) []int16 {
		said := append(c.say(1000), silent(600)...)
		c.wait(608) // jitter is rounded off
		c.rtp.Timestamp -= 99999
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"a pause without packets", func(c *caller) []int16 {
		said := append(c.say(1000), silent(333)...)
		c.wait(333)
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"on hold for 5 s", func(c *caller) []int16 {
		said := append(c.say(1000), silent(5000)...)
		c.wait(5000)
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"on hold for 5 s, the clock stands still", func(c *caller) []int16 {
		said := append(c.say(1000), silent(5000)...)
		c.now += 5000
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"on hold for 5 s, the clock stands still, the first packets crowd", func(c *caller) []int16 {
		said := append(c.say(1000), silent(5040)...)
		c.now += 5000
		said = append(said, c.say(1000)...)
		for i := range 3 {
			c.arrivals[50+i].at = c.arrivals[52].at
		}
		return said
	}, Facts{Packets: 100}},
	{"on hold twice, once for a packet, the clock stands still", func(c *caller) []int16 {
		said := append(c.say(1000), silent(5000)...)
		c.now += 5000
		said = append(append(said, c.say(20)...), silent(2000)...)
		c.now += 2000
		return append(said, c.say(1000)...)
	}, Facts{Packets: 101}},
	{"a clip played again from its start", func(c *caller) []int16 {
		start := c.rtp.Header
		said := append(c.say(1000), silent(400)...)
		c.wait(400)
		c.rtp.SequenceNumber, c.rtp.Timestamp = start.SequenceNumber, start.Timestamp
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"3 s lost at once", func(c *caller) []int16 {
		said := append(c.say(1000), silent(3000)...)
		c.wait(3000)
		c.rtp.SequenceNumber += 150
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100, Lost: 150, Concealed: 3 * time.Second}},
	{"500 at once, 40 of them lost", func(c *caller) []int16 {
		said := c.say(10_000)
		clear(said[200*160 : 240*160])
		for i := range c.arrivals {
			c.arrivals[i].at = 40
		}
		c.arrivals = slices.Delete(c.arrivals, 200, 240)
		return said
	}, Facts{Packets: 460, Lost: 40, Concealed: 800 * time.Millisecond}},
	{"500 at once, in any order", func(c *caller) []int16 {
		said := c.say(10_000)
		for i := range c.arrivals {
			c.arrivals[i].at = 40
		}
		for block := range slices.Chunk(c.arrivals, 20) {
			slices.Reverse(block)
		}
		return said
	}, Facts{Packets: 500}},
	{"every other frame is not sent", func(c *caller) (said []int16) {
		for range 50 {
			said = append(append(said, c.say(20)...), silent(20)...)
			c.wait(20)
		}
		return said[:len(said)-160]
	}, Facts{Packets: 50}},
	{"timestamps of twice the rate", func(c *caller) []int16 {
		return c.playFast(0, 3000)
	}, Facts{Packets: 150}},
	{"timestamps of twice the rate, jitter", func(c *caller) []int16 {
		said := c.playFast(0, 3000)
		for i := range c.arrivals {
			c.arrivals[i].at += i * 37 % 20
		}
		return said
	}, Facts{Packets: 150}},
	{"timestamps of twice the rate, some lost", func(c *caller) []int16 {
		said := c.playFast(0, 3000)
		clear(said[100*160 : 105*160])
		c.arrivals = slices.Delete(c.arrivals, 100, 105)
		return said
	}, Facts{Packets: 145, Lost: 5, Concealed: 100 * time.Millisecond}},
	{"timestamps of twice the rate, a pause", func(c *caller) []int16 {
		said := append(c.playFast(0, 1000), silent(1000)...)
		c.now += 1000
		c.rtp.Timestamp += 16000
		return append(said, c.playFast(50, 1000)...)
	}, Facts{Packets: 100}},
	{"timestamps of twice the rate, all at once", func(c *caller) []int16 {
		said := c.playFast(0, 3000)
		for i := range c.arrivals {
			c.arrivals[i].at = 40
		}
		return said
	}, Facts{Packets: 150}},
	{"A-law after µ-law", func(c *caller) []int16 {
		said := c.say(1000)
		c.use(8)
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100}},
	{"a payload type nobody knows", func(c *caller) []int16 {
		said := c.say(1000)
		for range 5 {
			c.send(77, []byte("?"))
		}
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100, Unknown: 5}},
	{"a digit amid speech", func(c *caller) []int16 {
		said := append(c.say(1000), silent(240)...)
		c.press(5, 240)
		return append(said, c.say(1000)...)
	}, Facts{Packets: 100, Digits: "5"}},
	{"digits at the end", func(c *caller) []int16 {
		said := append(c.say(1000), silent(200+60+100)...)
		c.press(10, 200)
		c.wait(60)
		c.press(0, 100)
		return said
	}, Facts{Packets: 50, Digits: "*0"}},
	{"a digit before anything else", func(c *caller) []int16 {
		c.press(1, 300)
		return c.say(1000)
	}, Facts{Packets: 50, Digits: "1"}},
	{"a digit over the voice", func(c *caller) []int16 {
		said := c.say(1000)
		for i := range 5 { // each gateway packet is followed by an event packet with the time of its start
			start := c.rtp.Timestamp
			c.rtp.Timestamp -= uint32(160 * i)
			c.send(101, []byte{7, 10, 0, byte(32 * i)})
			c.rtp.Timestamp = start
			said = append(said, c.say(20)...)
		}
		return append(said, c.say(500)...)
	}, Facts{Packets: 80, Digits: "7"}},
}

func TestRenderExactly(t *testing.T) {
	for _, test := range exactCalls {
		t.Run(test.name, func(t *testing.T) {
			c := newCaller(t, allCodecs)
			said := test.call(c)
			facts, sound := hear(t, c.tape(), RenderOptions{})
			if len(sound.pcm) != len(said) {
				t.Fatalf("%d samples were heard, %d said", len(sound.pcm), len(said))
			}
			if facts.Duration != time.Duration(len(said))*time.Second/8000 {
				t.Errorf("duration %v", facts.Duration)
			}
			if test.want.Concealed > 0 {
				for i := range said { // what is made up is not what was said
					if said[i] == 0 || i > 0 && said[i-1] == 0 {
						sound.pcm[i] = said[i]
					}
				}
			}
			if n := differences(said, sound.pcm); n > 40 {
				t.Errorf("%d samples are not what was said", n)
			}
			got := Facts{
				Packets: facts.Packets, Lost: facts.Lost, Late: facts.Late, Duplicates: facts.Duplicates,
				Damaged: facts.Damaged, Unknown: facts.Unknown, Concealed: facts.Concealed, Digits: facts.Digits,
			}
			if got.Packets != test.want.Packets || got.Lost != test.want.Lost || got.Late != test.want.Late ||
				got.Duplicates != test.want.Duplicates || got.Damaged != test.want.Damaged ||
				got.Unknown != test.want.Unknown || got.Concealed != test.want.Concealed || got.Digits != test.want.Digits {
				t.Errorf("facts %+v, want %+v", got, test.want)
			}
			if facts.Codec != "PCMU" {
				t.Errorf("codec %q", facts.Codec)
			}
		})
	}
}

func differences(a, b []int16) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
