package sip

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A gateway that was frozen reads what waited meanwhile: it answers no call that
// is over, and hears all that ends one.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s, err := Listen(Options{
		NewID: func() string { return "note" }, Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "test", From: prefixes("127.0.0.1/32")}},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stamps(t)
	ts := &testServer{Server: s, media: &media{}, calls: make(chan *Call, 16)}
	p := newRawPeer(t, ts, "127.0.0.1")
	waiting := p.newCall()
	waiting.send("INVITE")
	for _, method := range []string{"INVITE", "UPDATE", "BYE", "CANCEL", "OPTIONS"} {
		c := p.newCall()
		if method != "OPTIONS" {
			c.toTag = strings.Repeat("0", 32) // of a call that nobody remembers
		}
		c.send(method)
	}
	time.Sleep(latest + 100*time.Millisecond)
	p.newCall().send("INVITE") // behind all that waited

	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ts.answerAll) }()
	defer func() {
		stop()
		if err := next(t, served, "the end"); err != nil {
			t.Error(err)
		}
	}()
	heard := map[string]string{}
	for len(heard) < 6 {
		m, ok := p.read(patience)
		if !ok {
			t.Fatalf("only %v came", heard)
		}
		if !strings.HasPrefix(m.start, "SIP/2.0 1") {
			heard[m.get("call-id")] = m.start[len("SIP/2.0 "):][:3] + m.get("cseq")
		}
	}
	got := map[string]int{}
	for _, answer := range heard {
		got[answer]++
	}
	for _, want := range []string{"2001 INVITE", "4811 INVITE", "4811 UPDATE", "4811 BYE", "4811 CANCEL", "2001 OPTIONS"} {
		if got[want] != 1 {
			t.Errorf("%d times %s among %v", got[want], want, got)
		}
	}
	if _, answered := heard[waiting.id]; answered || s.Stats().Late != 1 || s.Stats().Calls != 1 {
		t.Errorf("the INVITE that waited was answered: %v, %+v", answered, s.Stats())
	}
	waiting.establish() // who still waits sends another copy
	waiting.bye()
}

// stamps returns when the kernel stamps what comes: it begins a moment after the
// first socket asked for it.
func stamps(t *testing.T) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	d := newDatagrams(conn)
	for range 500 {
		if _, err := conn.WriteTo([]byte("?"), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		const wait = 10 * time.Millisecond
		time.Sleep(wait)
		_, _, came, err := d.next(make([]byte, 1))
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(came) >= wait {
			return
		}
	}
	t.Fatal("the kernel stamps nothing")
}
