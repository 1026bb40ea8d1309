package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zaf/g711"
)

const (
	reception = "+4930123456"
	plain     = "0 101"
)

// deposit is a call that ends in a note: what sipp does, and what must come
// of it.
type deposit struct {
	name      string
	transport string
	pt        uint8
	length    time.Duration              // of the speech sent
	disturb   func(ps []packet) []packet // what the network does to it
	steps     func(pcap string, d time.Duration) []step
	likeness  float64 // to what was sent, at least
}

// spoken waits until d has been said, and a lull more: sipp falls behind on a
// busy machine. The lull is a pause of its own, which begins late after a machine
// has stood still.
func spoken(d time.Duration) step { return pause(d) + pause(500*time.Millisecond) }

func deposits() []deposit {
	whole := func(pcap string, d time.Duration) []step {
		return []step{invite(offer(plain, "sendrecv")), answered(), ack(1, ""), play(pcap), spoken(d), bye(2)}
	}
	return []deposit{
		{name: "plain", steps: whole, likeness: 0.96},
		{name: "over TCP", transport: "tcp", steps: whole, likeness: 0.96},
		{name: "A-law", pt: 8, likeness: 0.96, steps: func(pcap string, d time.Duration) []step {
			return []step{invite(offer("96 8", "sendrecv")), answered(), ack(1, ""), play(pcap), spoken(d), bye(2)}
		}},
		{name: "late offer", likeness: 0.96, steps: func(pcap string, d time.Duration) []step {
			return []step{invite(""), answered(), ack(1, offer(plain, "sendrecv")), play(pcap), spoken(d), bye(2)}
		}},
		{name: "reliable 180", likeness: 0.96, steps: func(pcap string, d time.Duration) []step {
			return []step{
				reliably(invite(offer(plain, "sendrecv"))), rang(), prack(2, ""), answered(),
				ack(1, ""), play(pcap), spoken(d), bye(3),
			}
		}},
		{name: "reliable 180 with a late offer", likeness: 0.96, steps: func(pcap string, d time.Duration) []step {
			return []step{
				reliably(invite("")), rang(), prack(2, offer(plain, "sendrecv")), answered(),
				ack(1, ""), play(pcap), spoken(d), bye(3),
			}
		}},
		{name: "hold and resume", length: 4 * time.Second, disturb: silentBetween(2*time.Second, 3*time.Second), likeness: 0.96, steps: func(pcap string, _ time.Duration) []step {
			return []step{
				invite(offer(plain, "sendrecv")), answered(), ack(1, ""), play(pcap), spoken(1700 * time.Millisecond),
				reinvite(2, offer(plain, "sendonly")), answered(), ack(2, ""), pause(400 * time.Millisecond),
				reinvite(3, offer(plain, "sendrecv")), answered(), ack(3, ""), spoken(1500 * time.Millisecond), bye(4),
			}
		}},
		{name: "CANCEL after the 200 has no effect", likeness: 0.96, steps: func(pcap string, d time.Duration) []step {
			return []step{
				fixed("inv", invite(offer(plain, "sendrecv"))), answered(),
				fixed("inv", send("CANCEL "+uri+" SIP/2.0", "1 CANCEL", "", "", "")), recv(200, ""),
				ack(1, ""), play(pcap), spoken(d), bye(2),
			}
		}},
		{name: "INVITE and BYE resent", likeness: 0.96, steps: func(pcap string, d time.Duration) []step {
			again := fixed("inv", once(invite(offer(plain, "sendrecv"))))
			hangUp := fixed("bye", send("BYE [next_url] SIP/2.0", "2 BYE", "", "", ""))
			return []step{
				again, answered(), again, recv(200, ""), ack(1, ""),
				play(pcap), spoken(d), hangUp, recv(200, ""), hangUp, recv(200, ""),
			}
		}},
		{name: "no ACK", likeness: 0.96, steps: func(pcap string, _ time.Duration) []step {
			return []step{invite(offer(plain, "sendrecv")), answered(), play(pcap), byeFromGateway()}
		}},
		{name: "DTMF in the stream", disturb: digitAt(time.Second, 5, 200*time.Millisecond), likeness: 0.96, steps: whole},
		{name: "5 % lost", disturb: lose(0.05), likeness: 0.92, steps: whole},
		{name: "reordered", disturb: reorder, likeness: 0.96, steps: whole},
		{name: "another SSRC in mid-call", disturb: newSourceAt(1500 * time.Millisecond), likeness: 0.96, steps: whole},
	}
}

func TestNoteIsWhatWasSent(t *testing.T) {
	for _, d := range deposits() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			if d.length == 0 {
				d.length = 3 * time.Second
			}
			if d.transport == "" {
				d.transport = "udp"
			}
			hook := newReceiver(t)
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, "no_rtp: 40s"))

			said := speech(t, d.length)
			ps := packets(companded(said, d.pt), d.pt)
			if d.disturb != nil {
				ps = d.disturb(ps)
			}
			sipp(t, g.address(d.transport).String(), d.transport, reception, d.steps(capture(t, ps), d.length)...)

			n := hook.next(t)
			checkNote(t, n)
			sameLength(t, n, d.length)
			if got := likeness(heard(said, ps), decode(t, n.file)); got < d.likeness {
				t.Errorf("likeness to what was sent %.3f, want %.2f", got, d.likeness)
			}
			hook.none(t, 200*time.Millisecond)
		})
	}
}

// checkNote holds what the recipient sees against the call that was made.
func checkNote(t *testing.T, n received) {
	t.Helper()
	d := n.Data
	sum := sha256.Sum256(n.file)
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"type", n.Type == "note.created"},
		{"kind", d.Kind == "voice"},
		{"recipient", d.Recipient.Number == reception && d.Recipient.Name == "Reception"},
		{"caller", d.Caller.Number == "+491705550101" && d.Caller.Name == "Maria" && !d.Caller.Private},
		{"reason", d.Reason == "missed"},
		{"partial", !d.Partial},
		{"waveform", len(d.Waveform) == 64 && slices.Max(d.Waveform) > 200},
		{"media", d.Media != nil && d.Media.SHA256 == hex.EncodeToString(sum[:])},
		{"size", len(n.file) > 0 && len(n.file) <= 512<<10},
	} {
		if !c.ok {
			t.Errorf("%s is wrong: %+v", c.what, d)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, number, formats string
		status                int
	}{
		{"unknown mailbox", "+4930999999", plain, 480},
		{"no codec in common", reception, "96 18", 488},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hook := newReceiver(t)
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
			sipp(t, g.address("udp").String(), "udp", c.number,
				invite(offer(c.formats, "sendrecv")), recv(100, `optional="true"`), recv(c.status, ""), ack(1, ""))
			hook.none(t, 200*time.Millisecond)
		})
	}
}

// A peer that neither acknowledges the answer nor sends a packet has given the
// call up and tried another gateway: here nothing comes of it.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	path := configFile(t, t.TempDir(), hook.URL, "no_rtp: 2s")
	g := startGateway(t, path)
	sipp(t, g.address("udp").String(), "udp", reception, invite(offer(plain, "sendrecv")), answered(), byeFromGateway())
	hook.none(t, 500*time.Millisecond)
	until(t, "its draft is discarded", func() bool { return len(lives(t, path)) == 0 })
}

func TestNobodySpoke(t *testing.T) {
	silence := packets(companded(make([]int16, 3*8000), 0), 0)
	for _, c := range []struct {
		name, media string
		steps       []step
	}{
		{"no RTP: the gateway hangs up", "no_rtp: 2s", []step{invite(offer(plain, "sendrecv")), answered(), ack(1, ""), byeFromGateway()}},
		{"silence", "", []step{invite(offer(plain, "sendrecv")), answered(), ack(1, ""), play(capture(t, silence)), pause(3100 * time.Millisecond), bye(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hook := newReceiver(t)
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, c.media))
			sipp(t, g.address("udp").String(), "udp", reception, c.steps...)
			n := hook.next(t)
			if n.Data.Kind != "missed" || n.Data.Media != nil || n.file != nil {
				t.Errorf("got %+v, want a missed call without a file", n.Data)
			}
			hook.none(t, 200*time.Millisecond)
		})
	}
}

// TestNobodyConfirms: a peer that requires PRACK and sends none has gone on to
// another gateway, so nothing is left here.
func TestNobodyConfirms(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	sipp(t, g.address("udp").String(), "udp", reception,
		reliably(invite(offer(plain, "sendrecv"))), recv(100, `optional="true"`), recv(180, ""), recv(504, ""), ack(1, ""))
	hook.none(t, 200*time.Millisecond)
}

// heard is what was said, without that of which no packet was sent.
func heard(said []int16, ps []packet) []int16 {
	out := make([]int16, len(said))
	for _, p := range ps {
		if p.pt != 101 {
			copy(out[p.place:p.place+160], said[p.place:])
		}
	}
	return out
}

// fixed gives a request a branch of its own name, so that sending it again is
// a resent request and not a new one.
func fixed(name string, s step) step {
	return step(strings.ReplaceAll(string(s), "[branch]", "z9hG4bK-[pid]-[call_number]-"+name))
}

// reliably requires that a 180 is confirmed (RFC 3262).
func reliably(s step) step {
	return step(strings.Replace(string(s), "Diversion:", "Require: 100rel\nDiversion:", 1))
}

// rang takes the 180 and keeps its RSeq.
func rang() step {
	return recv(100, `optional="true"`) + `<recv response="180" rrs="true"><action>` +
		`<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/></action></recv>` + "\n"
}

// prack confirms the 180.
func prack(cseq int, body string) step {
	return send("PRACK [next_url] SIP/2.0", fmt.Sprint(cseq, " PRACK"), "RAck: [$rseq] 1 INVITE\n", body, `retrans="500"`) + recv(200, "")
}

// once sends a request without waiting for its answer.
func once(s step) step { return step(strings.ReplaceAll(string(s), `retrans="500"`, "")) }

// companded is speech as G.711 of the payload type.
func companded(pcm []int16, pt uint8) []byte {
	out := make([]byte, len(pcm))
	for i, s := range pcm {
		if out[i] = g711.EncodeUlawFrame(s); pt == 8 {
			out[i] = g711.EncodeAlawFrame(s)
		}
	}
	return out
}

func lose(share float64) func([]packet) []packet {
	return func(ps []packet) []packet {
		r := rand.New(rand.NewPCG(1, 2))
		last := len(ps) - 1
		i := -1
		return slices.DeleteFunc(ps, func(packet) bool {
			i++
			return i != 0 && i != last && r.Float64() < share
		})
	}
}

// reorder lets every fifth packet arrive 50 ms late.
func reorder(ps []packet) []packet {
	for i := 5; i < len(ps)-5; i += 5 {
		ps[i].at += 50 * time.Millisecond
	}
	slices.SortStableFunc(ps, func(a, b packet) int { return int(a.at - b.at) })
	return ps
}

func silentBetween(from, to time.Duration) func([]packet) []packet {
	return func(ps []packet) []packet {
		var out []packet
		for _, p := range ps {
			if p.at < from || p.at >= to {
				p.seq = ps[0].seq + uint16(len(out))
				out = append(out, p)
			}
		}
		return out
	}
}

func newSourceAt(from time.Duration) func([]packet) []packet {
	return func(ps []packet) []packet {
		for i := range ps {
			if ps[i].at >= from {
				ps[i].ssrc, ps[i].seq, ps[i].ts = 0xabcdef, ps[i].seq+7000, ps[i].ts+123456789
			}
		}
		return ps
	}
}

// digitAt puts a DTMF digit (RFC 4733) in the place of the audio.
func digitAt(from time.Duration, digit byte, length time.Duration) func([]packet) []packet {
	return func(ps []packet) []packet {
		first := int(from / (20 * time.Millisecond))
		n := int(length / (20 * time.Millisecond))
		began := ps[first].ts
		for i := range n {
			held := uint16(160 * (i + 1))
			end := byte(0)
			if i == n-1 {
				end = 0x80
			}
			p := &ps[first+i]
			p.pt, p.ts, p.payload = 101, began, []byte{digit, end | 10, byte(held >> 8), byte(held)}
		}
		return ps
	}
}
