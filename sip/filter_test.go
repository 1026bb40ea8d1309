package sip

import (
	"bytes"
	"errors"
	"io"
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

func TestFilterListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d drops
	l := newFilterListener(inner, loopbackTrunk(), &d)
	l.limits.source = 2
	accepted, done := make(chan net.Conn), make(chan error)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- conn
		}
	}()
	connect := func(from string) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
		conn, err := dialer.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, conn.SetDeadline(time.Now().Add(5 * time.Second))
	}
	dial := func(from string) net.Conn {
		t.Helper()
		conn, err := connect(from)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	refused := func(from string) {
		t.Helper()
		conn, err := connect(from)
		if err != nil {
			return // the reset came before connect was through
		}
		n, err := conn.Read(make([]byte, 10))
		if n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes: %v", n, err)
		}
	}

	refused("127.0.0.3")
	peer := dial("127.0.0.2")
	first := <-accepted
	dial("127.0.0.2")
	second := <-accepted
	refused("127.0.0.2")
	settle(t, func() bool { return d.connections.Load() == 1 })
	if s, c := d.strangers.count.Load(), d.connections.Load(); s != 1 || c != 1 {
		t.Errorf("%d strangers, %d over the cap", s, c)
	}

	if _, err := peer.Write([]byte(options)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(options))
	if _, err := io.ReadFull(first, got); err != nil || string(got) != options {
		t.Errorf("%q: %v", got, err)
	}

	_ = first.Close()
	_ = first.Close() // frees one place, not two
	dial("127.0.0.2")
	third := <-accepted
	refused("127.0.0.2")
	_ = second.Close()
	_ = third.Close()
	l.mu.Lock()
	if l.open != 0 || len(l.bySource) != 0 {
		t.Errorf("%d open, %v", l.open, l.bySource)
	}
	l.mu.Unlock()
	_ = l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// settle waits until something holds that another goroutine brings about.
func settle(t *testing.T, holds func() bool) {
	t.Helper()
	for range 500 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never came about")
}

// scripted is a listener that accepts what it is given.
type scripted struct {
	net.Listener
	results []any // net.Conn or error
}

func (s *scripted) Accept() (net.Conn, error) {
	result := s.results[0]
	s.results = s.results[1:]
	if err, ok := result.(error); ok {
		return nil, err
	}
	return result.(net.Conn), nil
}

// fromTrunk is a pipe that seems to come from 127.0.0.2.
type fromTrunk struct{ net.Conn }

func (fromTrunk) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 5060} }

func TestFilterListenerSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		var d drops
		l := newFilterListener(&scripted{results: []any{errors.New("too many open files"), fromTrunk{near}}}, loopbackTrunk(), &d)
		conn, err := l.Accept()
		if err != nil || d.errors.Load() != 1 {
			t.Fatalf("%v, %d errors", err, d.errors.Load())
		}
		_ = conn.Close()
	})
}

func TestFilterConnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d drops
		accept := func() (net.Conn, net.Conn) {
			near, far := net.Pipe()
			conn, err := newFilterListener(&scripted{results: []any{fromTrunk{near}}}, loopbackTrunk(), &d).Accept()
			if err != nil {
				t.Fatal(err)
			}
			return conn, far
		}
		buf := make([]byte, 10)

		silent, peer := accept()
		start := time.Now()
		if n, err := silent.Read(buf); n != 0 || !errors.Is(err, io.EOF) || time.Since(start) != firstRead {
			t.Errorf("a silent peer: %d, %v after %v", n, err, time.Since(start))
		}
		_ = silent.Close()
		_ = peer.Close()

		talking, peer := accept()
		go func() { _, _ = peer.Write([]byte("OPTIONS")) }()
		if n, err := talking.Read(buf); err != nil || !bytes.Equal(buf[:n], []byte("OPTIONS")) {
			t.Errorf("%q, %v", buf[:n], err)
		}
		start = time.Now()
		if _, err := talking.Read(buf); !errors.Is(err, io.EOF) || time.Since(start) != idleRead {
			t.Errorf("an idle peer: %v after %v", err, time.Since(start))
		}
		if d.idle.Load() != 2 {
			t.Errorf("%d idle", d.idle.Load())
		}

		start = time.Now()
		if _, err := talking.Write([]byte("SIP/2.0")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != writeTimeout {
			t.Errorf("a peer that does not read: %v after %v", err, time.Since(start))
		}
		_ = talking.Close()
		_ = peer.Close()
	})
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
		time.Sleep(strangersPause)
		s.add(netip.MustParseAddr("fe80::1%eth0"))
		said("source=fe80::1 dropped=6\n")
	})
}
