package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
		Memory: mindful{new(delivery.Scratch), t}, Chats: newChats(nil),
		Report: func(context.Context, delivery.Report) error { return nil },
	}
}

// mindful is a memory in which what is a mailbox's says which note it comes
// from: it must not outlive that note's erasure.
type mindful struct {
	delivery.Memory
	t *testing.T
}

func (m mindful) Put(ctx context.Context, e delivery.Entry) error {
	if e.Mailbox != "" && e.Note == "" {
		m.t.Errorf("%q is kept of no note", e.Key)
	}
	return m.Memory.Put(ctx, e)
}

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

// linkedChats are the chats of a channel, in memory. A code can be used once.
type linkedChats struct {
	mu        sync.Mutex
	codes, of map[string]string // by code: a mailbox; by mailbox: an address
	failing   error             // answered in place of anything else
}

// newChats are chats that the codes can be used for.
func newChats(mailboxByCode map[string]string) *linkedChats {
	return &linkedChats{codes: maps.Clone(mailboxByCode), of: map[string]string{}}
}

func (l *linkedChats) Of(_ context.Context, mailbox string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[mailbox] == "" && l.failing == nil {
		return "", delivery.ErrNotFound
	}
	return l.of[mailbox], l.failing
}

func (l *linkedChats) Code(context.Context, string) (string, time.Time, error) {
	return "", time.Time{}, errors.New("not asked for here")
}

func (l *linkedChats) Link(_ context.Context, code, address string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mailbox := l.codes[code]
	switch {
	case l.failing != nil:
		return "", l.failing
	case mailbox == "":
		return "", delivery.ErrNotFound
	}
	delete(l.codes, code)
	l.of[mailbox] = address
	return mailbox, nil
}

func (l *linkedChats) Unlink(_ context.Context, address string) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for mailbox, linked := range l.of {
		if linked == address && l.failing == nil {
			delete(l.of, mailbox)
			n++
		}
	}
	return n, l.failing
}

func (l *linkedChats) Revoke(context.Context, string) error { return errors.New("not asked for here") }

// all are the addresses by mailbox.
func (l *linkedChats) all() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.of)
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
