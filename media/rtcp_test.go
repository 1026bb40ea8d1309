package media

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// TestReception holds a report against what was sent, lost and late.
func TestReception(t *testing.T) {
	begun := time.Unix(1_700_000_000, 0)
	packet := func(ssrc uint32, number uint16, timestamp uint32) []byte {
		b := make([]byte, rtpHeader)
		binary.BigEndian.PutUint16(b[2:], number)
		binary.BigEndian.PutUint32(b[4:], timestamp)
		binary.BigEndian.PutUint32(b[8:], ssrc)
		return b
	}
	var r reception
	if got := r.report(begun); got != nil {
		t.Errorf("a report on nothing: %v", got)
	}
	for i := range 100 {
		number := uint16(65500 + i)
		if i%10 == 5 {
			continue // a tenth is lost
		}
		r.take(packet(7, number, uint32(160*i)), begun.Add(time.Duration(20*i)*time.Millisecond), 8000)
	}
	report := r.report(begun.Add(2 * time.Second))[0]
	if want := (rtcp.ReceptionReport{SSRC: 7, FractionLost: 25, TotalLost: 10, LastSequenceNumber: 65599}); report != want {
		t.Errorf("%+v, want %+v", report, want)
	}
	for i := range 100 { // none lost; each second one comes 10 ms late, which is 80 ticks
		late := time.Duration(i%2) * 10 * time.Millisecond
		r.take(packet(7, uint16(65600+i), uint32(16000+160*i)), begun.Add(2*time.Second+time.Duration(20*i)*time.Millisecond+late), 8000)
	}
	sender := make([]byte, 28)
	sender[0], sender[1], sender[3], sender[7] = 0x80, 200, 6, 7
	binary.BigEndian.PutUint64(sender[8:], 0x1111222233334444)
	r.hear(sender, begun.Add(4*time.Second))
	report = r.report(begun.Add(5500 * time.Millisecond))[0]
	if report.FractionLost != 0 || report.TotalLost != 10 || report.Jitter < 70 || report.Jitter > 80 ||
		report.LastSenderReport != 0x22223333 || report.Delay != 3*65536/2 {
		t.Errorf("%+v", report)
	}
	r.take(packet(7, 30000, 0), begun, 8000) // numbered anew
	if report = r.report(begun)[0]; report.TotalLost != 0 || report.LastSequenceNumber != 30000 {
		t.Errorf("numbered anew: %+v", report)
	}
	r.take(packet(8, 1, 0), begun, 8000)
	if report = r.report(begun)[0]; report.SSRC != 8 || report.LastSenderReport != 0 {
		t.Errorf("another stream: %+v", report)
	}
	r.hear([]byte{0x81, 203, 0, 1, 0, 0, 0, 8}, begun)
	if got := r.report(begun); got != nil {
		t.Errorf("a report on a stream that has ended: %v", got)
	}
}

func TestControlDestination(t *testing.T) {
	remote := netip.MustParseAddrPort("198.51.100.7:4000")
	for want, c := range map[string]controlLines{
		"198.51.100.7:4001":  {},
		"198.51.100.7:4000":  {mux: true, address: "4001"},
		"198.51.100.7:53020": {address: "53020"},
		"198.51.100.9:53020": {address: "53020 IN IP4 198.51.100.9"},
		"198.51.100.7:53021": {address: "53021 IN IP6 2001:db8::1"},
		"invalid AddrPort":   {silent: true},
	} {
		if got := c.destination(remote).String(); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
	c := controlLines{}
	for _, line := range []string{"AS:80", "RS:0", "RR:0"} {
		if c.silent {
			t.Errorf("silent before %s", line)
		}
		c.bandwidth(line)
	}
	if !c.silent || c.destination(netip.AddrPort{}).IsValid() {
		t.Errorf("%+v", c)
	}
}

// sealControl writes an RTCP packet, encrypted if the phone encrypts.
func (p *phone) sealControl(c rtcp.Packet) []byte {
	p.t.Helper()
	packet, err := c.Marshal()
	if err == nil && p.context != nil {
		packet, err = p.context.EncryptRTCP(nil, packet, nil)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return packet
}

// hearControl waits for an RTCP packet that holds one of a kind.
func hearControl[T rtcp.Packet](p *phone) (one T, all []rtcp.Packet) {
	p.t.Helper()
	b := make([]byte, maxPacket)
	_ = p.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		n, source, err := p.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			p.t.Fatalf("no %T came", one)
		}
		p.heard = source
		packet := bytes.Clone(b[:n])
		if !isControl(packet) {
			continue
		}
		if p.opens != nil {
			if packet, err = p.opens.DecryptRTCP(nil, packet, nil); err != nil {
				p.t.Fatal(err)
			}
		}
		if all, err = rtcp.Unmarshal(packet); err != nil {
			p.t.Fatal(err)
		}
		compound := rtcp.CompoundPacket(all)
		if err := compound.Validate(); err != nil {
			p.t.Errorf("%v: %v", all, err)
		}
		for _, c := range all {
			if found, ok := c.(T); ok {
				return found, all
			}
		}
	}
}

// TestReports are those of a call, plain and encrypted: the first while what we
// said still matters, the last with a goodbye.
func TestReports(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]*master{"plain": nil, "encrypted": testMaster(cm80(), 1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPhone(t, "127.0.0.1:0")
			offer := p.offer("0 8", "a=rtcp-mux")
			if key != nil {
				p.lock(key)
				offer = append(p.offerSecure(key), "a=rtcp-mux\r\n"...)
			}
			l, err := newTestEngine(t, withBeep).Open(offer, nil)
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, l)
			p.to, p.ssrc = l.socket.addr, 9
			if key != nil {
				p.unlock(l.Description())
			}
			r := record(t, l, discard{})
			p.send(0, 5)
			p.seq += 5
			p.send(0, 5)
			p.sendRaw(p.sealControl(&rtcp.SenderReport{SSRC: 9, NTPTime: 0x1111222233334444}))
			report, _ := hearControl[*rtcp.SenderReport](p)
			for range 3 { // one that is due before the phone's own has come says less
				if b := report.Reports; report.PacketCount == 10 && len(b) == 1 && b[0].LastSenderReport != 0 {
					break
				}
				report, _ = hearControl[*rtcp.SenderReport](p)
			}
			if report.SSRC != l.ssrc || report.PacketCount != 10 || report.OctetCount != 1600 {
				t.Errorf("%+v", report)
			}
			if b := report.Reports; len(b) != 1 || b[0].SSRC != 9 || b[0].TotalLost != 5 || b[0].LastSequenceNumber != 15 || b[0].LastSenderReport != 0x22223333 {
				t.Errorf("%+v", b)
			}
			r.cancel()
			bye, all := hearControl[*rtcp.Goodbye](p)
			if len(bye.Sources) != 1 || bye.Sources[0] != l.ssrc || len(all) != 3 {
				t.Errorf("%v", all)
			}
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNoReports has nobody told anything who wants no reports, or does not know
// us yet.
func TestNoReports(t *testing.T) {
	for name, attributes := range map[string][]string{"not wanted": {"b=RR:0", "a=rtcp-mux"}, "unknown": {"a=rtcp-mux"}} {
		p := newPhone(t, "127.0.0.1:0")
		l, err := newTestEngine(t, nil).Open(p.offer("0", attributes...), nil)
		if err != nil {
			t.Fatal(err)
		}
		closeAfter(t, l)
		r := newRecorder(l, discard{})
		if name == "not wanted" {
			l.latch.source = p.addr()
			r.tell(time.Now(), false)
		}
		r.tell(time.Now(), true)
		_ = p.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, _, err := p.conn.ReadFromUDPAddrPort(make([]byte, maxPacket)); err == nil {
			t.Errorf("%s: %d bytes came", name, n)
		}
	}
}

// FuzzRTCP reads whatever comes, and then still reports.
func FuzzRTCP(f *testing.F) {
	r := reporter{}
	r.schedule(time.Now())
	r.reception = reception{ssrc: 9, heard: true}
	whole, err := r.compose(9, &spoken{at: time.Now()}, time.Now(), true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{0x9f, 203, 0, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		r := reporter{reception: reception{ssrc: 9, heard: true}, name: "name"}
		r.hear(packet, time.Now())
		report, err := r.compose(1, nil, time.Now(), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rtcp.Unmarshal(report); err != nil {
			t.Errorf("our report: %v", err)
		}
	})
}
