package web

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told answers as a channel does that keeps what it is told.
func told(into *string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		*into = r.Method + " " + r.URL.RawQuery + " " + string(body)
	}
}

func TestCallback(t *testing.T) {
	var heard string
	s := newServer(t, newMemory(), func(o *Options) { o.Callbacks = map[string]http.Handler{"wa": told(&heard)} })
	want404 := dump(ask(t, s, "GET", "/"))
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(text)) }
	}
	for _, c := range []struct {
		why, method, target string
		change              func(*http.Request)
		want                string // what the channel heard; "" for the uniform 404
	}{
		{"a verification", "GET", "/callback/wa?hub.challenge=7", body(""), "GET hub.challenge=7 "},
		{"a status", "POST", "/callback/wa", body(`{"entry":[]}`), `POST  {"entry":[]}`},
		{"from another origin", "POST", "/callback/wa", header("Sec-Fetch-Site", "cross-site"), "POST  "},
		{"other method", "DELETE", "/callback/wa", body(""), ""},
		{"no such channel", "POST", "/callback/crm", body(""), ""},
		{"name in other case", "POST", "/callback/WA", body(""), ""},
		{"something below", "POST", "/callback/wa/token", body(""), ""},
		{"no name", "POST", "/callback/", body(""), ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			heard = ""
			r := ask(t, s, c.method, c.target, body(""), c.change)
			if heard != c.want {
				t.Errorf("the channel heard %q, want %q", heard, c.want)
			}
			if got := dump(r); c.want == "" && got != want404 {
				t.Errorf("got\n%s\nwant\n%s", got, want404)
			}
		})
	}
	if r := ask(t, s, "POST", "/callback/wa", body(strings.Repeat("x", 3<<20))); r.Code != http.StatusOK {
		t.Errorf("as much as a service says got %d", r.Code)
	}
	if r := ask(t, s, "POST", "/callback/wa", body(strings.Repeat("x", callbackMost+1))); r.Code != http.StatusBadRequest {
		t.Errorf("more than a service may say got %d", r.Code)
	}
}

func TestCallbackThatFails(t *testing.T) {
	const secret = "+493055501234"
	for _, c := range []struct {
		why    string
		serve  http.HandlerFunc
		want   string
		thrown error
	}{
		{"before it answers", func(http.ResponseWriter, *http.Request) { panic("bad message from " + secret) }, "internal error\n", nil},
		{"as it answers", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok"); panic(secret) }, "ok", http.ErrAbortHandler},
		{"when it gives up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", http.ErrAbortHandler},
	} {
		t.Run(c.why, func(t *testing.T) {
			var log bytes.Buffer
			s := newServer(t, newMemory(), func(o *Options) {
				o.Callbacks = map[string]http.Handler{"wa": c.serve}
				o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			w := httptest.NewRecorder()
			thrown := func() (err error) {
				defer func() { err, _ = recover().(error) }()
				s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/callback/wa?token="+secret, nil))
				return nil
			}()
			if w.Body.String() != c.want || !errors.Is(thrown, c.thrown) {
				t.Errorf("answered %q and threw %v, want %q and %v", w.Body, thrown, c.want, c.thrown)
			}
			if c.thrown == nil && (w.Code != http.StatusInternalServerError || !strings.Contains(log.String(), `route="POST /callback/{name}"`)) {
				t.Errorf("got %d, the log says\n%s", w.Code, &log)
			}
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log tells what came in:\n%s", &log)
			}
		})
	}
}

// A service that begins to speak and stops is not waited for.
func TestCallbackThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newMemory(), func(o *Options) {
			o.Callbacks = map[string]http.Handler{"wa": told(new(string))}
		})
		ours, theirs := net.Pipe()
		l := &oneConnection{conn: theirs, closed: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		if _, err := io.WriteString(ours, "POST /callback/wa HTTP/1.1\r\nHost: notes.test\r\nContent-Length: 10\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		answer, err := io.ReadAll(ours)
		if took := time.Since(began); took != bodyWithin || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("after %v it says %q (%v)", took, answer, err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// oneConnection is a listener that a single connection comes in on.
type oneConnection struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConnection) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConnection) Close() error { close(l.closed); return nil }

func (l *oneConnection) Addr() net.Addr { return &net.TCPAddr{} }
