package web

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A body that does not come ends its connection; one that came leaves the
// handler all the time it needs.
func TestTimelyBody(t *testing.T) {
	const within = 200 * time.Millisecond
	took := make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /slow", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			took <- err
			return
		}
		select {
		case <-r.Context().Done():
			took <- context.Cause(r.Context())
		case <-time.After(3 * within):
			took <- nil
		}
	})
	server := httptest.NewServer(timely(mux, within))
	defer server.Close()
	ask := func(request string) error {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * within))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, bufio.NewReader(conn)) // until the server closes
		return err
	}
	for _, head := range []string{"POST /nothing", "GET /nothing"} {
		if err := ask(head + " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"); err != nil {
			t.Errorf("%s: the connection is held: %v", head, err)
		}
	}
	if err := ask("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"); err != nil || <-took == nil {
		t.Error("half a body was waited for:", err)
	}
	if err := ask("POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"); err != nil {
		t.Error(err)
	}
	if err := <-took; err != nil {
		t.Error("a handler was cut short:", err)
	}
}
