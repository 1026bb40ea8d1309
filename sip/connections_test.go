package sip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestFilterListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d drops
	l := newFilterListener(inner, loopbackTrunk(), &d)
	l.proven.source = 2
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
	if l.proven.count() != 0 || len(l.proven.bySource) != 0 {
		t.Errorf("%d open, %v", l.proven.count(), l.proven.bySource)
	}
	_ = l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestUnprovenRate: whoever comes from ever new addresses gets no more
// handshakes than the calls can bear.
func TestUnprovenRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUnproven()
		knock := func(n int) (let int) {
			addr := netip.MustParseAddr("198.51.100.1")
			for range n {
				if addr = addr.Next(); p.enter(addr) {
					let++
					p.leave(addr)
				}
			}
			return let
		}
		if let := knock(2 * maxUnproven); let != maxUnproven {
			t.Errorf("%d at first", let)
		}
		time.Sleep(time.Second)
		if let := knock(maxUnproven); let != unprovenRate {
			t.Errorf("%d after a second", let)
		}
	})
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

		_ = talking.Close()
		_ = peer.Close()
	})
}
