package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// subject is how the suite sets up one type of channel.
type subject struct {
	name string
	// options are for a service at server, a URL without a path; nil for a
	// channel that makes no requests.
	options func(server string) Options
	secrets []string // what none of its errors may show
	// verify checks a request as the service would, and returns the key by
	// which it tells a repeat.
	verify func(t *testing.T, r *http.Request, body []byte, n delivery.Note) (key string)
}

// subjects has each type of the table at least once.
var subjects = map[string][]subject{
	"inbox": {{name: "inbox"}},
	"webhook": {
		{"webhook with a link", webhookFor(false), webhookSecrets, verifyLink},
		{"webhook with the file", webhookFor(true), webhookSecrets, verifyFile},
	},
}

// operatorSubject is no type of the table, and passes the same tests.
var operatorSubject = subject{"operator", operatorFor, webhookSecrets, verifyNotice}

// overHTTP are the subjects that make requests.
func overHTTP() []subject {
	all := []subject{operatorSubject}
	for _, of := range subjects {
		for _, s := range of {
			if s.options != nil {
				all = append(all, s)
			}
		}
	}
	return all
}

func TestEveryTypeHasItsSubject(t *testing.T) {
	types, tested := slices.Sorted(maps.Keys(Table())), slices.Sorted(maps.Keys(subjects))
	if !slices.Equal(types, tested) {
		t.Errorf("the table has %v, the suite %v", types, tested)
	}
}

// speech stands for a note's file; what is in it is no business of a channel.
var speech = bytes.Repeat([]byte("OggS\x00\xff\r\n--"), 6000)

func sampleNote() delivery.Note {
	n := delivery.Note{
		ID: delivery.NewID(), State: delivery.Rendered, Kind: delivery.Voice,
		Recipient: delivery.Recipient{Number: "+4930123456", Name: "Büro \"Süd\" <3> & 東京"},
		Caller:    delivery.Caller{Number: "+33612345678", Name: "Зоя 🙂\u202e"},
		Reason:    "busy",
		CalledAt:  time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600)),
		Duration:  12_340 * time.Millisecond,
		EndedAt:   time.Date(2026, 3, 1, 12, 0, 13, 0, time.UTC),
		Partial:   true,
		Waveform:  make([]byte, 64),
		Media:     delivery.Media{Type: "audio/ogg; codecs=opus", Bytes: int64(len(speech)), SHA256: strings.Repeat("ab", 32)},
	}
	for i := range n.Waveform {
		n.Waveform[i] = byte(4 * i)
	}
	return n
}

func parcelOf(n delivery.Note) delivery.Parcel {
	p := delivery.Parcel{Key: n.ID, Note: n, Attempt: 1, Address: "note.dead/crm"}
	if n.Kind != delivery.Missed {
		p.Open = func(context.Context) (io.ReadSeekCloser, error) { return file{bytes.NewReader(speech)}, nil }
		p.Link = func(expires time.Time) string {
			return fmt.Sprintf("https://notes.example/media/%s?expires=%d&signature=abc", n.ID, expires.Unix())
		}
	}
	return p
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func open(t *testing.T, o Options) delivery.Channel {
	t.Helper()
	c, err := o.Open(Env{Log: slog.New(slog.DiscardHandler), UserAgent: "afterbeep/test"})
	if err != nil {
		t.Fatal(err)
	}
	if closer, ok := c.(io.Closer); ok {
		t.Cleanup(func() { _ = closer.Close() })
	}
	return c
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func TestSuiteDelivers(t *testing.T) {
	voice, private, missed := sampleNote(), sampleNote(), sampleNote()
	private.Caller, private.Reason = delivery.Caller{Private: true}, ""
	missed.Kind, missed.Duration, missed.Waveform = delivery.Missed, 0, nil
	for name, n := range map[string]delivery.Note{"voice": voice, "private": private, "missed": missed} {
		for _, s := range overHTTP() {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				var mu sync.Mutex
				var keys []string
				server := serve(t, func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					if r.UserAgent() != "afterbeep/test" {
						t.Errorf("user agent %q", r.UserAgent())
					}
					mu.Lock()
					defer mu.Unlock()
					keys = append(keys, s.verify(t, r, body, n))
					if len(keys) == 1 {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
				})
				c := open(t, s.options(server.URL))
				if _, err := c.Send(t.Context(), parcelOf(n)); err == nil {
					t.Fatal("a 503 counts as delivered")
				}
				receipt, err := c.Send(t.Context(), parcelOf(n))
				if err != nil || receipt.Detail == "" {
					t.Errorf("receipt %+v, error %v", receipt, err)
				}
				if len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
					t.Errorf("the keys of two attempts: %q", keys)
				}
			})
		}
	}
}

func TestSuiteFailures(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, tc := range map[string]struct {
		handler     http.HandlerFunc
		want        delivery.Outcome
		credentials bool
		after       time.Duration
		says        string
	}{
		"not authorised": {echo(401), delivery.Retry, true, 90 * time.Second, "secret"},
		"forbidden":      {echo(403), delivery.Retry, true, 90 * time.Second, "secret"},
		"bad request":    {echo(400), delivery.Dead, false, 0, ""},
		"not found":      {echo(404), delivery.Dead, false, 0, ""},
		"gone":           {echo(410), delivery.Dead, false, 0, "no more notes"},
		"too large":      {echo(413), delivery.Dead, false, 0, "attach: false"},
		"too many":       {echo(429), delivery.Retry, false, 90 * time.Second, ""},
		"server error":   {echo(500), delivery.Retry, false, 90 * time.Second, ""},
		"unavailable":    {echo(503), delivery.Retry, false, 90 * time.Second, ""},
		"gateway's time": {echo(504), delivery.Retry, false, 90 * time.Second, ""},
		"request's time": {echo(408), delivery.Retry, false, 90 * time.Second, ""},
		"too early":      {echo(425), delivery.Retry, false, 90 * time.Second, ""},
		"busy before the body": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, delivery.Retry, false, 0, ""},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, delivery.Dead, false, 0, "redirects are not followed"},
		"time-out after the body": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, delivery.Unknown, false, 0, "time for an attempt"},
		"reset after the body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}, delivery.Unknown, false, 0, "got through"},
	} {
		for _, s := range overHTTP() {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				patience := 10 * time.Second
				if strings.HasPrefix(name, "time-out") {
					patience = 300 * time.Millisecond
				}
				failed := fail(t, s, open(t, s.options(serve(t, tc.handler).URL)), patience)
				if failed.Outcome != tc.want || failed.Credentials != tc.credentials || failed.After != tc.after {
					t.Errorf("got %+v", failed)
				}
				if !strings.Contains(failed.Error(), tc.says) {
					t.Errorf("%v does not say %q", failed, tc.says)
				}
			})
		}
	}
}

// echo answers with all that it was told, as some services do.
func echo(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "sorry: %s %s %s %v\n%s", r.Method, r.RequestURI, r.Header.Get("Authorization"), sampleNote().Caller, body)
	}
}

// fail sends a note that must not arrive, and looks for what the failure must
// not show.
func fail(t *testing.T, s subject, c delivery.Channel, patience time.Duration) *delivery.SendError {
	t.Helper()
	n := sampleNote()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	receipt, err := c.Send(ctx, parcelOf(n))
	var failed *delivery.SendError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v, want a *delivery.SendError", err)
	}
	shown := failed.Error() + receipt.Detail
	for _, secret := range append(s.secrets, n.Caller.Number, n.Caller.Name, n.Recipient.Number, n.Recipient.Name) {
		if strings.Contains(shown, secret) {
			t.Errorf("%q shows %q", shown, secret)
		}
	}
	if strings.ContainsAny(receipt.Detail, "\r\n\x00") || len(receipt.Detail) > 1000 {
		t.Errorf("the detail is %q", receipt.Detail)
	}
	return failed
}

// The status has decided: an answer whose rest is slow or lost counts.
func TestSuiteAnswerBreaksOff(t *testing.T) {
	for _, s := range overHTTP() {
		t.Run(s.name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte("we have"))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := open(t, s.options(server.URL)).Send(ctx, parcelOf(sampleNote())); err != nil {
				t.Errorf("a 200 that breaks off: %v", err)
			}
		})
	}
}

// A request that broke off half-way cannot have been taken for a note: it is
// sent again, unmarked.
func TestBodyThatDidNotGetThrough(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() { // takes the headers and hangs up
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 512))
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	n := sampleNote()
	big := bytes.Repeat([]byte("x"), maxAttach)
	n.Media.Bytes = int64(len(big))
	p := parcelOf(n)
	p.Open = func(context.Context) (io.ReadSeekCloser, error) { return file{bytes.NewReader(big)}, nil }
	_, err = open(t, webhookFor(true)("http://"+listener.Addr().String())).Send(t.Context(), p)
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Retry {
		t.Errorf("got %v, want retry", err)
	}
}

func TestSuiteNoConnection(t *testing.T) {
	// mute takes connections and says nothing.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)

	for name, server := range map[string]string{
		"refused":                  "http://" + closed.Addr().String(),
		"no such host":             "http://nobody.invalid",
		"certificate not trusted":  stranger.URL,
		"time-out before the body": "https://" + mute.Addr().String(),
	} {
		for _, s := range overHTTP() {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				failed := fail(t, s, open(t, s.options(server)), time.Second)
				if failed.Outcome != delivery.Retry || failed.Credentials || failed.Status != 0 {
					t.Errorf("got %+v", failed)
				}
			})
		}
	}
}

func TestSuiteGuardsTheInside(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the inside was reached") })
	t.Setenv("HTTP_PROXY", server.URL)
	t.Setenv("HTTPS_PROXY", server.URL)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, address := range []string{server.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://10.255.255.1"} {
		for _, s := range overHTTP() {
			o := s.options(address)
			guarded(o)
			failed := fail(t, s, open(t, o), 10*time.Second)
			if failed.Outcome != delivery.Retry || !failed.Credentials || !strings.Contains(failed.Error(), "allow_private") {
				t.Errorf("%s: %v", address, failed)
			}
		}
	}
}

// guarded takes the leave for private addresses away again.
func guarded(o Options) {
	switch o := o.(type) {
	case *WebhookOptions:
		o.AllowPrivate = false
	case *OperatorOptions:
		o.AllowPrivate = false
	}
}
