package sip

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// endless accepts what it is given, then waits until it is closed.
type endless struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (e endless) Accept() (net.Conn, error) {
	select {
	case conn := <-e.conns:
		return conn, nil
	case <-e.closed:
		return nil, net.ErrClosed
	}
}

func (e endless) Close() error { close(e.closed); return nil }

func (endless) Addr() net.Addr { return &net.TCPAddr{} }

// TestReadyListener: peers that are slow with their handshake, or silent, lose
// their connection and hold up nobody.
func TestReadyListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d drops
		inner := endless{make(chan net.Conn), make(chan struct{})}
		filtered := newFilterListener(inner, loopbackTrunk(), &d)
		l := newReadyListener(filtered, func(_ context.Context, conn *filterConn) (net.Conn, error) {
			handshake := make([]byte, 3)
			if _, err := io.ReadFull(conn, handshake); err != nil {
				return nil, err
			}
			if string(handshake) != "now" {
				return nil, errors.New("no handshake")
			}
			return conn, nil
		})
		connect := func() net.Conn {
			near, far := net.Pipe()
			inner.conns <- fromTrunk{near}
			return far
		}
		accepted := make(chan net.Conn)
		go func() {
			defer close(accepted)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- conn
			}
		}()
		gone := func(what string, conn net.Conn, after time.Duration) {
			t.Helper()
			start := time.Now()
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || time.Since(start) != after {
				t.Errorf("%s: %d, %v after %v", what, n, err, time.Since(start))
			}
		}

		silent, slow, wrong, right := connect(), connect(), connect(), connect()
		go func() {
			for range 2 { // a byte at a time keeps no place either
				_, _ = slow.Write([]byte("n"))
				time.Sleep(3 * time.Second)
			}
		}()
		_, _ = wrong.Write([]byte("not"))
		_, _ = right.Write([]byte("now"))
		conn := <-accepted
		gone("a wrong handshake", wrong, 0)
		gone("a silent peer", silent, readyTime)
		gone("a slow peer", slow, 0)
		synctest.Wait()
		if n := filtered.proven.count(); n != 1 {
			t.Errorf("%d places are taken", n)
		}
		_ = conn.Close()

		waiting := connect()
		_, _ = waiting.Write([]byte("n"))
		start := time.Now()
		if err := l.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		gone("a peer at Close", waiting, 0)
		if _, open := <-accepted; open || filtered.proven.count() != 0 {
			t.Errorf("after Close: %v, %d places", open, filtered.proven.count())
		}
		time.Sleep(10 * time.Second) // the slow peer's goroutine
	})
}

// TestReadyListenerNeverUsed: what was never asked to accept closes too.
func TestReadyListenerNeverUsed(t *testing.T) {
	inner := endless{make(chan net.Conn), make(chan struct{})}
	l := newReadyListener(newFilterListener(inner, loopbackTrunk(), new(drops)), nil)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}
