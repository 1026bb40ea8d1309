package sip

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const options = "OPTIONS sip:gw SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n"

// loopbackTrunk believes 127.0.0.2 alone.
func loopbackTrunk() trunkSet {
	return newTrunkSet([]Trunk{{Name: "pbx", From: prefixes("127.0.0.2/32")}})
}

func listenUDP(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestFilterPacketConn(t *testing.T) {
	var d drops
	conn := newFilterPacketConn(listenUDP(t, "127.0.0.1:0"), loopbackTrunk(), &d)
	stranger, pbx := listenUDP(t, "127.0.0.3:0"), listenUDP(t, "127.0.0.2:0")
	send := func(from *net.UDPConn, text string) {
		t.Helper()
		if _, err := from.WriteTo([]byte(text), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	send(stranger, options)
	stun := "\x00\x01\x00\x00" + strings.Repeat("\xa5", 80)
	for _, junk := range []string{"", "\r\n\r\n", "\x00\x00\x00\x00", "hello", stun, strings.Repeat("\r\n", 50)} {
		send(pbx, junk)
	}
	send(stranger, options)
	send(pbx, options)

	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	n, from, err := conn.ReadFrom(buf)
	if err != nil || string(buf[:n]) != options || from.String() != pbx.LocalAddr().String() {
		t.Fatalf("%q from %v: %v", buf[:n], from, err)
	}
	if s, j := d.strangers.count.Load(), d.junk.Load(); s != 2 || j != 6 {
		t.Errorf("%d strangers, %d junk", s, j)
	}

	if _, err := conn.WriteTo([]byte("SIP/2.0 200 OK"), from); err != nil {
		t.Fatal(err)
	}
	if n, _, err = pbx.ReadFrom(buf); err != nil || string(buf[:n]) != "SIP/2.0 200 OK" {
		t.Errorf("the answer %q: %v", buf[:n], err)
	}
	_ = conn.Close()
	if _, _, err := conn.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestFilterPacketConnDeadline(t *testing.T) {
	conn := newFilterPacketConn(listenUDP(t, "127.0.0.1:0"), loopbackTrunk(), new(drops))
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestDroppingAllocatesNothing drops datagrams of a stranger until a trunk's comes.
func TestDroppingAllocatesNothing(t *testing.T) {
	const strangers = 50
	var d drops
	conn := newFilterPacketConn(listenUDP(t, "127.0.0.1:0"), loopbackTrunk(), &d)
	stranger, pbx := listenUDP(t, "127.0.0.3:0"), listenUDP(t, "127.0.0.2:0")
	addr, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatalf("a %T", conn.LocalAddr())
	}
	to, message := addr.AddrPort(), []byte(options)
	send := func(from *net.UDPConn) {
		if _, err := from.WriteToUDPAddrPort(message, to); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 2000)
	n := testing.AllocsPerRun(10, func() {
		for range strangers {
			send(stranger)
		}
		send(pbx)
		if _, _, err := conn.ReadFrom(buf); err != nil {
			t.Fatal(err)
		}
	})
	if n > 10 { // what the trunk's datagram costs
		t.Errorf("%v allocations for %d datagrams", n, strangers)
	}
	if got := d.strangers.count.Load(); got != 11*strangers {
		t.Errorf("%d strangers", got)
	}
}

// TestStrangersAreLogged: one line a minute, whoever it is.
func TestStrangersAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		s := strangers{log: slog.New(slog.NewTextHandler(&lines, nil))}
		said := func(want string) {
			t.Helper()
			if got := lines.String(); want == "" && got != "" || !strings.HasSuffix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			lines.Reset()
		}
		s.add(netip.MustParseAddr("::ffff:192.0.2.7"))
		said("level=WARN msg=\"SIP from an address of no trunk is dropped\" source=192.0.2.7 dropped=1\n")
		for range 5 {
			s.add(netip.MustParseAddr("192.0.2.8"))
		}
		said("")
		time.Sleep(tellPause)
		s.add(netip.MustParseAddr("fe80::1%eth0"))
		said("source=fe80::1 dropped=6\n")
	})
}
