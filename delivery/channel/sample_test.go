package channel

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

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
		p.Page = func(expires time.Time) string {
			return fmt.Sprintf("https://notes.example/note/%s?expires=%d&signature=abc", n.ID, expires.Unix())
		}
		p.Convert = func(_ context.Context, mimeType string) ([]byte, error) {
			return append([]byte(mimeType), speech...), nil
		}
	}
	return p
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// testEnv is what a channel gets from the gateway: a memory that starts empty,
// and no chat is linked.
func testEnv(t *testing.T) Env {
	t.Helper()
	return Env{
		Log: slog.New(slog.DiscardHandler), UserAgent: "afterbeep/test",
		Name: "chat", PublicURL: "https://notes.example", Folder: t.TempDir(),
		Memory: new(delivery.Scratch), Chats: unlinked{},
		Report: func(context.Context, delivery.Report) error { return nil },
	}
}

// unlinked are the chats of a channel that no mailbox is linked at.
type unlinked struct{ delivery.Chats }

func (unlinked) Of(context.Context, string) (string, error) { return "", delivery.ErrNotFound }

// open makes a channel in a testEnv.
func open(t *testing.T, o Options) delivery.Channel {
	t.Helper()
	return openWith(t, o, testEnv(t))
}

func openWith(t *testing.T, o Options, env Env) delivery.Channel {
	t.Helper()
	c, err := o.Open(env)
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

// echo is all that a request said: some services tell it back.
func echo(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	return fmt.Sprintf("sorry: %s %s %v %v\n%s", r.Method, r.RequestURI, r.Header, sampleNote().Caller, body)
}
