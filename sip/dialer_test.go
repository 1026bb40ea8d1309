package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// One connection is made for all who want it, and goes on when the first of them
// waits no longer. Another name is another's to show.
func TestDialTogether(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	own := ca.gateway()
	shown, err := tls.LoadX509KeyPair(own.certificate, own.key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := systemRoots(ca.file)
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(slog.New(slog.DiscardHandler), sendTLS(roots, nil), hooks{
		arrived: func(sipmsg.Message) {}, request: func(*sipmsg.Request, *sipmsg.ServerTx) {}, stray: func(*sipmsg.Response) {},
	})
	t.Cleanup(func() { _ = s.close() })
	t.Cleanup(func() { _ = l.Close() })

	to := connID{"tls", addrPortOf(l.Addr())}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	first, giveUp := context.WithCancel(t.Context())
	gaveUp, second, foreign := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { gaveUp <- s.dialer.dial(first, to, s.dialer.named("gw.example")) }()
	slow, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() { second <- s.dialer.dial(t.Context(), to, s.dialer.named("gw.example")) }()
	go func() { foreign <- s.dialer.dial(t.Context(), to, s.dialer.named("other.example")) }()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the second waits by now
	giveUp()
	if err := next(t, gaveUp, "the end of the first"); !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	for _, conn := range []net.Conn{slow, other} {
		go func() {
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12}).Handshake()
		}()
	}
	if err := next(t, second, "the second's connection"); err != nil {
		t.Errorf("the second: %v", err)
	}
	wrong := (*tls.CertificateVerificationError)(nil)
	if err := next(t, foreign, "another name's"); !errors.As(err, &wrong) {
		t.Errorf("another name: %v", err)
	}
	if !s.dialer.proven(to.source, "gw.example") || s.dialer.proven(to.source, "other.example") {
		t.Error("the wrong name is proven")
	}
}
