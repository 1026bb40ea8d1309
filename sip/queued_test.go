package sip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A write waits for nobody; a peer that does not read loses the connection
// after a time, or when too much is queued for it.
func TestQueuedConn(t *testing.T) {
	const text = "SIP/2.0 200 OK"
	pipe := func() (*queuedConn, net.Conn) {
		near, far := net.Pipe()
		return &queuedConn{Conn: near, patience: writeTimeout}, far
	}
	write := func(t *testing.T, conn net.Conn, b []byte) {
		t.Helper()
		start := time.Now()
		if n, err := conn.Write(b); n != len(b) || err != nil || time.Since(start) != 0 {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
		}
	}
	t.Run("a peer that does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := pipe()
			write(t, conn, []byte(text))
			write(t, conn, []byte(text))
			time.Sleep(writeTimeout)
			synctest.Wait()
			if _, err := conn.Write([]byte(text)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("later: %v", err)
			}
			if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the peer reads %v", err)
			}
		})
	})
	t.Run("a peer that looks elsewhere for a while", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := pipe()
			busy := bytes.Repeat([]byte("x"), 2*200*2000) // two seconds of 200 calls each, who are told some 2 kB
			for part := range slices.Chunk(busy, 1000) {
				if _, err := conn.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Second)
			go func() { _ = conn.Close() }()
			if got, err := io.ReadAll(peer); err != nil || len(got) != len(busy) {
				t.Errorf("%d bytes of %d, %v", len(got), len(busy), err)
			}
		})
	})
	t.Run("too much", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := pipe()
			write(t, conn, []byte(text)) // on its way
			synctest.Wait()
			write(t, conn, make([]byte, maxQueued))
			if _, err := conn.Write([]byte(text)); !errors.Is(err, errNotReading) {
				t.Errorf("too much: %v", err)
			}
			if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the peer reads %v", err)
			}
		})
	})
	t.Run("last words", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := pipe()
			write(t, conn, []byte(text))
			write(t, conn, []byte(text))
			if err := errors.Join(conn.Close(), conn.Close()); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, []byte(text+text)) {
				t.Errorf("%q, %v", got, err)
			}
		})
	})
	t.Run("last words to nobody", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := pipe()
			write(t, conn, []byte(text))
			_ = conn.Close()
			time.Sleep(lastWords)
			synctest.Wait()
			if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the peer reads %v", err)
			}
		})
	})
}

// A peer that stops reading holds nobody up: neither the end of its own call,
// which comes another way, nor other calls.
func TestFrozenPeer(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, nil, nil)
	frozen := dialTCP(t, ts)
	call := newRawPeer(t, ts, "127.0.0.1").newCall()
	invite := strings.ReplaceAll(call.text("INVITE"), "/UDP ", "/TCP ")
	if _, err := io.WriteString(frozen, invite); err != nil {
		t.Fatal(err)
	}
	ts.call(t)
	buf := make([]byte, 8192)
	n, err := frozen.Read(buf)
	for err == nil && !strings.Contains(string(buf[:n]), "SIP/2.0 200") {
		n, err = frozen.Read(buf)
	}
	if err != nil {
		t.Fatal(err)
	}
	call.toTag = parseMessage(string(buf[:n])).toTag()
	call.ack("")

	// Its window fills; then an offer is answered, under the lock of its dialog.
	byTCP := func(method string) string { return strings.ReplaceAll(call.next().text(method), "/UDP ", "/TCP ") }
	if err := frozen.SetWriteDeadline(time.Now().Add(writeTimeout / 2)); err != nil {
		t.Fatal(err)
	}
	call.extra = []string{"Via: SIP/2.0/UDP far.invalid;branch=z9hG4bK" + strings.Repeat("x", 8000)} // which the answer repeats
	for range 3000 {
		if _, err := io.WriteString(frozen, strings.ReplaceAll(byTCP("OPTIONS"), ";tag="+call.toTag, "")); err != nil {
			break // closed: more waited for it than may
		}
	}
	call.extra = nil
	_, _ = io.WriteString(frozen, byTCP("INVITE"))
	time.Sleep(200 * time.Millisecond) // is served meanwhile
	call.next().send("BYE")
	select {
	case err := <-ts.causes:
		if !errors.Is(err, ErrCallerHungUp) {
			t.Errorf("the call ended with %v", err)
		}
	case <-time.After(writeTimeout / 2):
		t.Fatal("the call does not end")
	}
	other := newRawPeer(t, ts, "127.0.0.1").newCall()
	other.establish()
	other.bye()
}

func dialTCP(t *testing.T, ts *testServer) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", ts.addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
