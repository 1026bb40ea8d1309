package web

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// listen serves s on a port of its own until the test ends.
func listen(t *testing.T, s *Server) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

// stream opens the events of a mailbox, and returns what reads one event.
func stream(t *testing.T, address string) (next func() string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", address+"/inbox/"+receptionToken+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = answer.Body.Close()
		transport.CloseIdleConnections()
	})
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("the events come as %q", got)
	}
	lines := bufio.NewScanner(answer.Body)
	return func() string {
		var event []string
		for lines.Scan() && lines.Text() != "" {
			event = append(event, lines.Text())
		}
		return strings.Join(event, "|")
	}
}

func TestEvents(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, func(o *Options) { o.Heartbeat = time.Hour })
	next := stream(t, listen(t, s))
	if got := next(); got != "event: beat|data: -" {
		t.Fatalf("first event %q", got)
	}
	m.add(delivery.Note{Kind: delivery.Voice, Recipient: delivery.Recipient{Number: workshop}})
	n := m.add(delivery.Note{Kind: delivery.Voice})
	if got := next(); got != "event: note|data: "+n.ID {
		t.Errorf("got %q for a new note", got)
	}
	if err := m.Mark(t.Context(), reception, n.ID, delivery.MarkPlayed); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "event: note|data: "+n.ID {
		t.Errorf("got %q for a played note", got)
	}
}

func TestEventsBeat(t *testing.T) {
	s := newServer(t, newMemory(), func(o *Options) { o.Heartbeat = time.Millisecond })
	next := stream(t, listen(t, s))
	for range 3 {
		if got := next(); got != "event: beat|data: -" {
			t.Fatalf("got %q", got)
		}
	}
}

func TestShutdownEndsEvents(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	next := stream(t, listen(t, s))
	next()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "" {
		t.Errorf("got %q after the end", got)
	}
	for deadline := time.Now().Add(5 * time.Second); m.watched() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the mailbox is still watched")
		}
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	var log bytes.Buffer
	m := newMemory()
	s := newServer(t, m, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	m.fail = context.DeadlineExceeded
	ask(t, s, "GET", "/inbox/"+receptionToken+"/notes")
	ask(t, s, "GET", "/admin/inbox/"+reception, header("Authorization", "Bearer "+adminToken))
	got := log.String()
	for _, secret := range []string{receptionToken, reception, adminToken} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is in the log:\n%s", secret, got)
		}
	}
	if !strings.Contains(got, `route="GET /inbox/{token}/notes" status=503`) {
		t.Errorf("the route is not in the log:\n%s", got)
	}
}
