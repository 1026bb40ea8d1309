package media

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func withBeep(o *Options) { o.Beep = true }

// hear reads the RTP that comes to a phone from its leg: the packets expected,
// however long they take, and then what comes within 100 ms. took is from begun
// to the last.
func (p *phone) hear(expected int, begun time.Time) (packets []rtp.Packet, took time.Duration) {
	p.t.Helper()
	b := make([]byte, maxPacket)
	for {
		patience := 100 * time.Millisecond
		if len(packets) < expected {
			patience = 30 * time.Second
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		n, source, err := p.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return packets, took
		}
		if source != p.to { // such as the reports of another test's leg to its phone's port for RTCP
			continue
		}
		took = time.Since(begun)
		plain := bytes.Clone(b[:n])
		if p.opens != nil {
			if plain, err = p.opens.DecryptRTP(nil, plain, nil); err != nil {
				p.t.Fatalf("packet %d, %x: %v", len(packets), b[:n], err)
			}
		}
		var packet rtp.Packet
		if err := packet.Unmarshal(plain); err != nil {
			p.t.Fatal(err)
		}
		packets = append(packets, packet)
	}
}

func TestBeep(t *testing.T) {
	e := newTestEngine(t, withBeep)
	for _, tt := range []struct {
		formats, rtpmap string
		pt              uint8
		step            uint32
	}{
		{"0 8", "", 0, 160},
		{"8 0", "", 8, 160},
		{"9", "", 9, 160},
		{"101 8", "a=rtpmap:101 telephone-event/8000", 8, 160},
		{"96", "a=rtpmap:96 opus/48000/2", 96, 960},
	} {
		t.Run(tt.formats, func(t *testing.T) {
			t.Parallel()
			p := newPhone(t, "127.0.0.1:0")
			l, err := e.Open(p.offer(tt.formats, tt.rtpmap), nil)
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, l)
			p.to = l.socket.addr
			begun := time.Now()
			r := record(t, l, discard{})
			got, took := p.hear(10, begun)
			if len(got) != 10 {
				t.Fatalf("%d packets, want 10 of 20 ms", len(got))
			}
			if took < 160*time.Millisecond {
				t.Errorf("sent within %s, want one each 20 ms", took)
			}
			for i, packet := range got {
				if packet.PayloadType != tt.pt || packet.Marker != (i == 0) || len(packet.Payload) == 0 {
					t.Errorf("packet %d: %v", i, packet)
				}
				if i > 0 && (packet.SequenceNumber != got[i-1].SequenceNumber+1 ||
					packet.Timestamp != got[i-1].Timestamp+tt.step || packet.SSRC != got[0].SSRC) {
					t.Errorf("packet %d does not follow the one before:\n%v%v", i, got[i-1], packet)
				}
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestNoBeep(t *testing.T) {
	for name, tt := range map[string]struct {
		change     func(*Options)
		attributes []string
	}{
		"turned off":          {nil, []string{"a=sendrecv"}},
		"caller sends only":   {withBeep, []string{"a=sendonly"}},
		"inactive":            {withBeep, []string{"a=inactive"}},
		"caller wants it not": {withBeep, []string{"c=IN IP4 0.0.0.0"}},
		"caller names a host": {withBeep, []string{"c=IN IP4 phone.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPhone(t, "127.0.0.1:0")
			l, err := newTestEngine(t, tt.change).Open(p.offer("0", tt.attributes...), nil)
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, l)
			p.to = l.socket.addr
			r := record(t, l, discard{})
			if got, _ := p.hear(0, time.Now()); len(got) != 0 {
				t.Errorf("%d packets", len(got))
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestBeepEndsWithTheCall hangs up at once: Record does not play to the end.
func TestBeepEndsWithTheCall(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, withBeep))
	if err := record(t, l, discard{}).stop(); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.hear(0, time.Now()); len(got) >= 10 {
		t.Errorf("%d packets, the whole beep", len(got))
	}
}

// A late offer has no address before the ACK: the beep waits for it.
func TestBeepAfterALateOffer(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l, err := newTestEngine(t, withBeep).Open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	p.to = l.socket.addr
	record(t, l, discard{})
	time.Sleep(2 * readyLook)
	if err := l.Answered(p.offer("8")); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.hear(10, time.Now()); len(got) != 10 || got[0].PayloadType != 8 {
		t.Errorf("%d packets of the beep came", len(got))
	}
}
