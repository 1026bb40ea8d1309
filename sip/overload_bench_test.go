package sip

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkOverload holds what it costs to turn a call away (INVITE, 503, ACK)
// against what it costs to take one (INVITE, 200, ACK, BYE, 200), in processor
// time of both ends. No media and no store: a real call costs more.
func BenchmarkOverload(b *testing.B) {
	s, err := Listen(Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "bench", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		NewID:  func() string { return "id" },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(context.WithoutCancel(b.Context()), func(ctx context.Context, c *Call) {
			if c.Answer([]byte(testAnswer), &media{}) == nil {
				<-ctx.Done()
			}
		})
	}()
	p := newBenchPeer(b, s.bound("udp"))
	taken := p.calls(b, "SIP/2.0 200", "ACK", "BYE")
	s.Drain()
	turned := p.calls(b, "SIP/2.0 503", "ACK")
	b.ReportMetric(float64(taken.Microseconds())/float64(b.N), "µs/taken")
	b.ReportMetric(float64(turned.Microseconds())/float64(b.N), "µs/turned-away")
	b.ReportMetric(float64(taken)/float64(turned), "taken/turned-away")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-served; err != nil {
		b.Fatal(err)
	}
}

// benchPeer says what was written before and reads no more than it must.
type benchPeer struct {
	conn *net.UDPConn
	buf  []byte
}

func newBenchPeer(b *testing.B, to netip.AddrPort) *benchPeer {
	b.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &benchPeer{conn: conn, buf: make([]byte, 65536)}
}

// calls places b.N calls, each one with its later requests, and returns the
// processor time that took.
func (p *benchPeer) calls(b *testing.B, status string, later ...string) time.Duration {
	b.Helper()
	all := make([][]string, b.N)
	for i := range all {
		c := (&rawPeer{conn: p.conn}).newCall()
		all[i] = []string{c.text("INVITE")}
		c.toTag = "TAG"
		for _, method := range later {
			if method == "BYE" {
				c.next()
			}
			all[i] = append(all[i], c.text(method))
		}
	}
	began := processorTime(b)
	for _, requests := range all {
		tag := ""
		for i, request := range requests {
			if i > 0 {
				request = strings.Replace(request, ";tag=TAG", tag, 1)
			}
			if _, err := p.conn.Write([]byte(request)); err != nil {
				b.Fatal(err)
			}
			if strings.HasPrefix(request, "ACK ") {
				continue
			}
			response := p.read(b, status)
			tag = response[strings.Index(response, ";tag=from"):]
			tag = tag[strings.Index(tag[1:], ";tag=")+1:]
			tag = tag[:strings.Index(tag, "\r\n")]
		}
	}
	return processorTime(b) - began
}

func (p *benchPeer) read(b *testing.B, status string) string {
	b.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := p.conn.Read(p.buf)
		if err != nil {
			b.Fatal(err)
		}
		if text := string(p.buf[:n]); strings.HasPrefix(text, status) {
			return text
		}
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTurnAway is that much of it which the reading goroutine does for an
// INVITE, with the sending of the 503.
func BenchmarkTurnAway(b *testing.B) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	var calls gate
	calls.shut()
	t := newTurnstile(conn, maphash.MakeSeed(), newAdmission(Limits{}, &calls, nil))
	invite := []byte((&rawPeer{conn: conn}).newCall().text("INVITE"))
	from, trunk := addrPortOf(conn.LocalAddr()), &Trunk{Name: "bench"}
	b.ReportAllocs()
	for b.Loop() {
		if !t.turnAway(invite, from, trunk) {
			b.Fatal("not turned away")
		}
	}
}
