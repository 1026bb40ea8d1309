package sip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestSourcesAreForgotten: who speaks from ever new addresses fills no memory, gets
// every answer, and disturbs no call.
func TestSourcesAreForgotten(t *testing.T) {
	const length, bursts = 60, 25
	ts := serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "carrier", From: prefixes("127.0.0.0/8"), Country: "DE"}},
	}, func(s *Server) { shiftsOf(t, s).shiftLength = length }, nil)
	theirs, ours := newRawPeer(t, ts, "127.0.0.1").newCall(), newRawPeer(t, ts, "127.0.0.1").newCall()
	theirs.establish()
	ts.call(t)
	ours.establish()
	call := ts.call(t)

	known := ts.stack.transport.Pool("udp").Size
	for i := range bursts {
		burst(t, ts.addr("udp"), fmt.Sprintf("127.1.%d.1", i), length)
		settle(t, func() bool { return known() <= 2*length+1 }) // and the socket itself
	}

	theirs.bye()
	ts.ended(t, ErrCallerHungUp)
	hungUp := make(chan error, 1)
	go func() { hungUp <- call.Hangup(t.Context(), CauseNormal) }()
	ours.peer.send(okTo(ours.peer.expect("BYE ", "BYE")))
	if err := next(t, hungUp, "the end of Hangup"); err != nil {
		t.Errorf("Hangup: %v", err)
	}
	ts.ended(t, ErrHungUp)
}

func shiftsOf(t *testing.T, s *Server) *filterPacketConn {
	t.Helper()
	c, ok := s.sockets[0].packets.(*filterPacketConn)
	if !ok {
		t.Fatalf("a %T", s.sockets[0].packets)
	}
	return c
}

// burst asks from n sockets at once. Each hears the address alone that it asked.
func burst(t *testing.T, to netip.AddrPort, from string, n int) {
	t.Helper()
	conns := make([]*net.UDPConn, n)
	for i := range conns {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		p := &rawPeer{t: t, conn: conn}
		if _, err := conn.Write([]byte(p.newCall().text("OPTIONS"))); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	buf := make([]byte, 2000)
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		n, err := conn.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200 ") {
			t.Fatalf("%q from %s: %v", buf[:n], to, err)
		}
	}
}

// TestShifts: one follows another, nothing is lost in between, and none stays
// when the socket closes.
func TestShifts(t *testing.T) {
	const length, all = 3, 10
	conn := newFilterPacketConn(listenUDP(t, "127.0.0.1:0"), loopbackTrunk(), new(drops))
	conn.shiftLength = length
	pbx := listenUDP(t, "127.0.0.2:0")
	for i := range all {
		if _, err := pbx.WriteTo(fmt.Appendf(nil, "%s%d", options, i), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	heard, over, served := make(chan string, all), make(chan error, all), make(chan error, 1)
	began := 0
	go func() {
		served <- conn.serve(func(c net.PacketConn) error {
			began++ // one begins when another has heard all
			buf := make([]byte, 2000)
			for {
				n, _, err := c.ReadFrom(buf)
				if err != nil {
					over <- err
					return err
				}
				heard <- string(buf[:n])
			}
		})
	}()
	for i := range all {
		if got, want := next(t, heard, "a datagram"), fmt.Sprintf("%s%d", options, i); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for range all/length - 1 { // the last hears still, the one before waits for it
		_ = next(t, over, "the end of a shift")
	}
	if len(over) != 0 {
		t.Error("a shift ended before the next was full")
	}
	_ = conn.Close()
	if err := next(t, served, "the end"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if began != all/length+1 || len(over) != 2 {
		t.Errorf("%d shifts began, %d ended with the socket", began, len(over))
	}
}
