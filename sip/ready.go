package sip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// readyTime is what a peer gets for the handshakes of TLS and WebSocket together.
const readyTime = 5 * time.Second

var errTooSlow = fmt.Errorf("the handshake took longer than %v", readyTime)

// readyListener hands out connections that are ready for SIP. Each gets so on
// a goroutine of its own: sipgo shakes hands with one WebSocket peer at a time
// and waits for it without end, and with a TLS peer when it first reads.
type readyListener struct {
	net.Listener
	ready chan net.Conn
	start func() // begins to accept, once
	stop  func() // ends what start began, and waits for it
}

// newReadyListener makes the connections of l ready with the given function,
// whose context ends when the peer has had its time or the listener closes,
// which closes the connection.
func newReadyListener(l net.Listener, get func(context.Context, *filterConn) (net.Conn, error)) *readyListener {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &readyListener{Listener: l, ready: make(chan net.Conn)}
	var accepting sync.WaitGroup
	r.start = sync.OnceFunc(func() { accepting.Go(func() { r.acceptAll(ctx, get) }) })
	r.stop = func() {
		cancel(net.ErrClosed)
		r.start() // its end is what is waited for
		accepting.Wait()
	}
	return r
}

// Accept returns the next connection that is ready. It fails only when the
// listener is closed.
func (r *readyListener) Accept() (net.Conn, error) {
	r.start()
	conn, open := <-r.ready
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

// Close closes the listener and the connections that are not handed out.
func (r *readyListener) Close() error {
	err := r.Listener.Close()
	r.stop()
	return err
}

// acceptAll returns when the listener is closed and no handshake goes on.
func (r *readyListener) acceptAll(ctx context.Context, get func(context.Context, *filterConn) (net.Conn, error)) {
	var handshakes sync.WaitGroup
	for {
		conn, err := r.Listener.Accept()
		if err != nil {
			break
		}
		handshakes.Go(func() { r.prepare(ctx, conn.(*filterConn), get) })
	}
	handshakes.Wait()
	close(r.ready)
}

// prepare makes one connection ready and hands it out.
func (r *readyListener) prepare(ctx context.Context, conn *filterConn, get func(context.Context, *filterConn) (net.Conn, error)) {
	within, done := context.WithTimeoutCause(ctx, readyTime, errTooSlow)
	defer done()
	inTime := context.AfterFunc(within, func() { _ = conn.Close() })
	ready, err := get(within, conn)
	if err != nil || !inTime() {
		_ = conn.Close() // why was said by get
		return
	}
	select {
	case r.ready <- ready:
	case <-ctx.Done():
		_ = ready.Close()
	}
}

// ready makes a connection ready for SIP, or tells the log why it is not.
func (s *Server) ready(ctx context.Context, n network, conn *filterConn) (net.Conn, error) {
	ready, err := s.shakeHands(ctx, n, conn)
	switch late := context.Cause(ctx); {
	case err == nil, errors.Is(late, net.ErrClosed):
	case !conn.heard: // a look whether the port is open
		s.drops.idle.Add(1)
	default:
		s.drops.unready.add(conn.source, n.name, cmp.Or(late, err))
	}
	return ready, err
}

func (s *Server) shakeHands(ctx context.Context, n network, conn *filterConn) (ready net.Conn, err error) {
	ready = conn
	if n.secure {
		if ready, err = s.secure(ctx, n, conn); err != nil {
			return nil, err
		}
	}
	if n.websocket {
		return upgrade(ready, s.origins)
	}
	return ready, nil
}
