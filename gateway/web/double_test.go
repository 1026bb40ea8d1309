package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tone is six seconds of a made-up voice: Ogg/Opus, mono.
//
//go:embed testdata/tone.ogg
var tone []byte

const (
	reception      = "+4930555010"
	workshop       = "101"
	receptionToken = "rEcEpTiOnRECEPTION0123456789_-ab"
	workshopToken  = "w0rkshopw0rkshopw0rkshopw0rkshop"
	adminToken     = "only for tests: open sesame"
)

// memory is the store as the server sees it.
type memory struct {
	mu       sync.Mutex
	notes    []delivery.Note // oldest first
	watchers map[chan string]string
	muted    bool
	revoked  bool // the links
	fail     error
	cut      error // what an export fails with after its first bytes
}

func newMemory() *memory { return &memory{watchers: map[chan string]string{}} }

// add keeps a note, fills what is empty, and tells who watches.
func (m *memory) add(n delivery.Note) delivery.Note {
	if n.ID == "" {
		n.ID = delivery.NewID()
	}
	if n.Recipient.Number == "" {
		n.Recipient.Number = reception
	}
	if n.CalledAt.IsZero() {
		n.CalledAt = time.Now()
	}
	if n.Kind == delivery.Voice {
		sum := sha256.Sum256(tone)
		n.Duration = 6 * time.Second
		n.Media = delivery.Media{Type: "audio/ogg; codecs=opus", Bytes: int64(len(tone)), SHA256: hex.EncodeToString(sum[:])}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notes = append(m.notes, n)
	slices.SortFunc(m.notes, func(a, b delivery.Note) int { return strings.Compare(a.ID, b.ID) })
	m.tell(n)
	return n
}

// retire takes a note's file away.
func (m *memory) retire(n delivery.Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.notes {
		if m.notes[i].ID == n.ID {
			m.notes[i].Media.Gone = true
		}
	}
}

func (m *memory) tell(n delivery.Note) {
	for w, mailbox := range m.watchers {
		if mailbox == n.Recipient.Number && !m.muted {
			select {
			case w <- n.ID:
			default:
			}
		}
	}
}

func (m *memory) note(id string) delivery.Note {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notes {
		if n.ID == id {
			return n
		}
	}
	return delivery.Note{}
}

func (m *memory) Thread(_ context.Context, mailbox, before string, limit int) ([]delivery.Note, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []delivery.Note
	for _, n := range slices.Backward(m.notes) {
		if n.Recipient.Number == mailbox && (before == "" || n.ID < before) && len(found) < limit {
			found = append(found, n)
		}
	}
	return found, m.fail
}

func (m *memory) Mark(_ context.Context, mailbox, id string, what delivery.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.notes {
		n := &m.notes[i]
		if n.ID != id || n.Recipient.Number != mailbox {
			continue
		}
		if what == delivery.MarkRead {
			n.ReadAt = time.Now()
		} else {
			n.PlayedAt = time.Now()
		}
		m.tell(*n)
		return nil
	}
	return delivery.ErrNotFound
}

func (m *memory) Watch(ctx context.Context, mailbox string) <-chan string {
	w := make(chan string, 8)
	m.mu.Lock()
	m.watchers[w] = mailbox
	m.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		delete(m.watchers, w)
		m.mu.Unlock()
	})
	return w
}

func (m *memory) watched() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.watchers)
}

// revoke ends all links, and has who watches look again.
func (m *memory) revoke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked = true
	m.tell(delivery.Note{Recipient: delivery.Recipient{Number: reception}})
}

// drop erases notes.
func (m *memory) drop(which func(delivery.Note) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notes = slices.DeleteFunc(m.notes, which)
	m.tell(delivery.Note{Recipient: delivery.Recipient{Number: reception}})
}

// mute tells watchers nothing more.
func (m *memory) mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.muted = true
}

// hangUp ends all watching, as a connection does that is lost.
func (m *memory) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.watchers {
		close(w)
	}
	clear(m.watchers)
}

type readSeekNopCloser struct{ io.ReadSeeker }

func (readSeekNopCloser) Close() error { return nil }

func (m *memory) Open(_ context.Context, id string) (io.ReadSeekCloser, delivery.Note, error) {
	n := m.note(id)
	if m.fail != nil || n.Media.Type == "" || n.Media.Gone {
		return nil, n, errors.Join(m.fail, delivery.ErrNotFound)
	}
	return readSeekNopCloser{bytes.NewReader(tone)}, n, nil
}

func (m *memory) Life(_ context.Context, id string) (delivery.Life, error) {
	n := m.note(id)
	if m.fail != nil || n.ID == "" {
		return delivery.Life{}, cmp.Or(m.fail, delivery.ErrNotFound)
	}
	return delivery.Life{Note: n}, nil
}

func (m *memory) Export(_ context.Context, mailbox string, w io.Writer) error {
	if m.fail != nil || !slices.ContainsFunc(m.notes, func(n delivery.Note) bool { return n.Recipient.Number == mailbox }) {
		return cmp.Or(m.fail, delivery.ErrNotFound)
	}
	_, err := io.WriteString(w, "zip of "+mailbox)
	return errors.Join(err, m.cut)
}

func (m *memory) Erase(_ context.Context, mailbox string) (e delivery.Erasure, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return e, m.fail
	}
	m.notes = slices.DeleteFunc(m.notes, func(n delivery.Note) bool {
		if n.Recipient.Number != mailbox {
			return false
		}
		e.Notes++
		e.Proof = append(e.Proof, delivery.ErasedNote{ID: n.ID, SHA256: n.Media.SHA256})
		return true
	})
	m.tell(delivery.Note{Recipient: delivery.Recipient{Number: mailbox}})
	return e, nil
}

func (m *memory) LinkOwner(_ context.Context, token string) (string, error) {
	owner, ok := map[string]string{receptionToken: reception, workshopToken: workshop}[token]
	if m.fail != nil {
		return "", m.fail
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || m.revoked {
		return "", delivery.ErrNotFound
	}
	return owner, nil
}

func (m *memory) SigningKey(context.Context) ([]byte, error) {
	return []byte("a key of thirty-two bytes, for us"), nil
}

func (m *memory) Recipient(_ context.Context, number string) (delivery.Recipient, bool) {
	for _, r := range m.recipients() {
		if r.Number == number {
			return r, true
		}
	}
	return delivery.Recipient{}, false
}

func (m *memory) Search(_ context.Context, query string, most int) (found []delivery.Recipient, more bool) {
	search := delivery.NewSearch(query)
	for _, r := range m.recipients() {
		if search.Finds(r.Name, r.Number) {
			found = append(found, r)
		}
	}
	return found[:min(most, len(found))], len(found) > most
}

func (m *memory) recipients() []delivery.Recipient {
	return []delivery.Recipient{
		{Number: reception, Name: "Reception", Language: "en"},
		{Number: workshop, Name: "Workshop", Language: "de-AT"},
	}
}

// newServer makes a server over a memory, as change would have it.
func newServer(tb testing.TB, m *memory, change func(*Options)) *Server {
	tb.Helper()
	o := Options{
		Inbox: m, Notes: m, Links: m, Keeper: m, Directory: m,
		Metrics:    NewMetrics("test"),
		Log:        slog.New(slog.DiscardHandler),
		Ready:      func(context.Context) error { return nil },
		PublicURL:  "https://notes.example/voice",
		AdminToken: adminToken,
	}
	if change != nil {
		change(&o)
	}
	s, err := New(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
