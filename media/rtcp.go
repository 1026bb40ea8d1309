package media

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pion/rtcp"
)

// controlLines are the lines of a stream that concern RTCP.
type controlLines struct {
	address string // a=rtcp (RFC 3605)
	mux     bool   // a=rtcp-mux (RFC 5761)
	silent  bool   // b=RR:0 (RFC 3556): receivers are to send none
}

// bandwidth reads a b= line.
func (c *controlLines) bandwidth(value string) {
	if kind, n, _ := strings.Cut(value, ":"); kind == "RR" {
		c.silent = n == "0"
	}
}

// destination is where a peer that wants RTP at remote wants RTCP; invalid
// where it wants none.
func (c *controlLines) destination(remote netip.AddrPort) netip.AddrPort {
	port, connection, elsewhere := strings.Cut(c.address, " ")
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case c.silent || !remote.IsValid() || remote.Port() == 65535:
		return netip.AddrPort{}
	case c.mux:
		return remote
	case err != nil || n == 0:
		return netip.AddrPortFrom(remote.Addr(), remote.Port()+1) // RFC 3550 §11
	}
	if addr, err := parseConnection(connection); elsewhere && err == nil && addr.Is4() == remote.Addr().Is4() && !addr.IsUnspecified() {
		return netip.AddrPortFrom(addr, uint16(n))
	}
	return netip.AddrPortFrom(remote.Addr(), uint16(n))
}

// reception is what a receiver report tells of a stream (RFC 3550 §6.4.1).
type reception struct {
	ssrc           uint32
	heard          bool
	first, highest uint32 // extended sequence numbers
	received       uint32
	transit        int64 // of the last packet, in its clock's ticks
	jitter         int64 // sixteenths of a tick (A.8)

	expectedBefore, receivedBefore uint32 // as of the last report

	sender   uint32    // the middle of the last sender report's NTP time
	senderAt time.Time // when that came
}

// How many packets can be lost in a row, and how many one can be late; beyond
// that the sender numbers anew (RFC 3550 A.1).
const (
	longestGap = 3000
	latest     = 100
)

// take counts an RTP packet that came, of a clock that ticks at rate Hz.
func (r *reception) take(packet []byte, arrival time.Time, rate int) {
	ssrc := binary.BigEndian.Uint32(packet[8:])
	number := uint32(binary.BigEndian.Uint16(packet[2:]))
	if !r.heard || ssrc != r.ssrc {
		*r = reception{ssrc: ssrc, heard: true, first: number, highest: number}
	}
	r.received++
	switch ahead := int16(uint16(number) - uint16(r.highest)); {
	case ahead > longestGap || ahead < -latest:
		*r = reception{ssrc: ssrc, heard: true, first: number, highest: number, received: 1, sender: r.sender, senderAt: r.senderAt}
	case ahead > 0:
		r.highest += uint32(ahead)
	}
	ticks := arrival.UnixNano() / 1000 * int64(rate) / 1_000_000
	transit := int64(int32(uint32(ticks) - binary.BigEndian.Uint32(packet[4:])))
	if r.received > 1 {
		d := int64(int32(transit - r.transit))
		r.jitter += max(d, -d) - (r.jitter+8)>>4
	}
	r.transit = transit
}

// report is the state of the stream, since the report before.
func (r *reception) report(now time.Time) []rtcp.ReceptionReport {
	if !r.heard {
		return nil
	}
	expected := r.highest - r.first + 1
	lost := int64(expected) - int64(r.received)
	since, came := expected-r.expectedBefore, r.received-r.receivedBefore
	r.expectedBefore, r.receivedBefore = expected, r.received
	b := rtcp.ReceptionReport{
		SSRC: r.ssrc, LastSequenceNumber: r.highest, Jitter: uint32(r.jitter >> 4),
		TotalLost: uint32(min(max(lost, 0), 1<<23-1)), // signed on the wire, where the library has it not: duplicates count as no loss
	}
	if since > came {
		b.FractionLost = uint8((since - came) << 8 / since)
	}
	if !r.senderAt.IsZero() {
		b.LastSenderReport = r.sender
		b.Delay = uint32(now.Sub(r.senderAt) * 65536 / time.Second)
	}
	return []rtcp.ReceptionReport{b}
}

// hear takes from a compound packet what our reports need: the time of a sender
// report, and that the stream has ended. A packet that makes no sense is read
// as far as it does.
func (r *reception) hear(packet []byte, arrival time.Time) {
	for len(packet) >= 8 && packet[0]>>6 == 2 {
		size := 4 + 4*int(binary.BigEndian.Uint16(packet[2:]))
		if size < 8 || size > len(packet) {
			return
		}
		one := packet[:size]
		packet = packet[size:]
		switch kind := rtcp.PacketType(one[1]); {
		case kind == rtcp.TypeSenderReport && size >= 28:
			if r.heard && binary.BigEndian.Uint32(one[4:]) == r.ssrc {
				r.sender, r.senderAt = binary.BigEndian.Uint32(one[10:]), arrival
			}
		case kind == rtcp.TypeGoodbye:
			for i := range min(int(one[0]&0x1f), size/4-1) {
				if binary.BigEndian.Uint32(one[4+4*i:]) == r.ssrc {
					r.heard = false // a packet after it begins anew
				}
			}
		}
	}
}

// reportInterval is the mean time between reports (RFC 3550 §6.2).
const reportInterval = 5 * time.Second

// spoken is what we have sent: the beep.
type spoken struct {
	packets, bytes uint32
	timestamp      uint32 // of its last packet
	at             time.Time
	rate           int // Hz
}

// reporter sends our reports on what comes. It belongs to Record.
type reporter struct {
	reception
	name string // that none other has (RFC 7022 §4.2)
	due  time.Time
	sent int
}

// schedule sets when the next report is due: at random, so that the reports of
// many calls do not come in step (RFC 3550 §6.3.1). The first comes early.
func (r *reporter) schedule(now time.Time) {
	interval := float64(reportInterval)
	if r.name == "" {
		r.name = rand.Text()
		interval /= 2
	}
	r.due = now.Add(time.Duration(interval * (0.5 + mathrand.Float64()) / 1.21828)) //nolint:gosec // spreads reports, guards nothing
}

// compose writes a report of ours: of a sender for as long as it concerns what
// was said, of a receiver from then on; with bye the last.
func (r *reporter) compose(ssrc uint32, said *spoken, now time.Time, bye bool) ([]byte, error) {
	packets := []rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc, Reports: r.report(now)}}
	if said != nil && now.Sub(said.at) < 2*reportInterval { // RFC 3550 §6.4
		elapsed := now.Sub(said.at).Microseconds() * int64(said.rate) / 1_000_000
		packets[0] = &rtcp.SenderReport{
			SSRC: ssrc, NTPTime: ntp(now), RTPTime: said.timestamp + uint32(elapsed),
			PacketCount: said.packets, OctetCount: said.bytes, Reports: packets[0].(*rtcp.ReceiverReport).Reports,
		}
	}
	packets = append(packets, rtcp.NewCNAMESourceDescription(ssrc, r.name))
	if bye {
		packets = append(packets, &rtcp.Goodbye{Sources: []uint32{ssrc}})
	}
	return rtcp.Marshal(packets)
}

// ntp is a time as RTCP writes it (RFC 3550 §4): seconds since 1900, in 32.32.
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}
