package control

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneNote is an operator whose store holds one note.
type oneNote struct{ life delivery.Life }

func (o oneNote) List(_ context.Context, f delivery.Filter) ([]delivery.Summary, error) {
	if f.Mailbox != o.life.Note.Recipient.Number {
		return nil, errors.New("the disk is gone")
	}
	return []delivery.Summary{{Note: o.life.Note, Jobs: o.life.Jobs}}, nil
}

func (o oneNote) Life(_ context.Context, id string) (delivery.Life, error) {
	if id != o.life.Note.ID {
		return delivery.Life{}, delivery.ErrNotFound
	}
	return o.life, nil
}

func (o oneNote) Count(_ context.Context, f delivery.Filter) (int, error) {
	return 1, map[bool]error{false: errors.New("the filter has changed")}[f.Since.Equal(o.life.Note.CalledAt) && f.Channel == "crm"]
}

func (o oneNote) Redrive(ctx context.Context, id, channel string) (int, error) {
	_, err := o.Life(ctx, id)
	return len(channel), err
}

func (o oneNote) LinkFor(_ context.Context, mailbox string) (string, error) {
	return "token of " + mailbox, nil
}

func (o oneNote) Export(_ context.Context, mailbox string, w io.Writer) error {
	if mailbox != o.life.Note.Recipient.Number && mailbox != "damaged" && mailbox != "cut" {
		return delivery.ErrNotFound
	}
	_, err := io.WriteString(w, "zip of "+mailbox)
	return errors.Join(err, map[string]error{"damaged": delivery.ErrIncomplete, "cut": errors.New("the disk is gone")}[mailbox])
}

func (o oneNote) Erase(_ context.Context, mailbox string) (delivery.Erasure, error) {
	if mailbox != o.life.Note.Recipient.Number {
		return delivery.Erasure{}, errors.New("the disk is gone")
	}
	return delivery.Erasure{At: o.life.Note.CalledAt, Notes: 1, Files: 2, Bytes: 3, Proof: []delivery.ErasedNote{{ID: o.life.Note.ID, SHA256: "ab"}}}, nil
}

func (o oneNote) RotateKeys(_ context.Context, keys []byte, after string) (string, error) {
	return string(keys) + " after " + after, nil
}

// What an operator asks of the running gateway is answered as the store would.
func TestClientAnswersAsTheStore(t *testing.T) {
	called := time.Date(2026, 3, 1, 11, 0, 0, 123456789, time.UTC)
	op := oneNote{delivery.Life{
		Note:   delivery.Note{ID: delivery.NewID(), Kind: delivery.Voice, CalledAt: called, Recipient: delivery.Recipient{Number: "101"}, Waveform: []byte{0, 255}},
		Jobs:   []delivery.Job{{ID: "j", State: delivery.JobDead, Chain: delivery.Chain{{Channel: "crm", Address: "7"}}}},
		Events: []delivery.Event{{At: called, Name: "dead", Detail: "410"}},
	}}
	dir := t.TempDir()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("without a gateway: %v", err)
	}
	// What a crash has left is no obstacle.
	if err := os.WriteFile(filepath.Join(dir, Socket), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	listener, err := Listen(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		served <- Serve(ctx, listener, op, Gateway{
			Addresses: []string{"udp://127.0.0.1:5060"},
			Ready:     func(context.Context) error { return errors.New("the disk is full") },
			Try: func(_ context.Context, t Trial) Tried {
				return Tried{Receipt: delivery.Receipt{ID: t.Target.String(), Detail: t.Recipient.Number}, Took: time.Second, Failed: &Failed{Outcome: delivery.Dead, Text: "410"}}
			},
			Chats: oneChat{},
		})
	}()
	client := connect(t, dir)

	if info, err := os.Stat(filepath.Join(dir, Socket)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v; want mode 0600", info.Mode(), err)
	}
	notes, err := client.List(ctx, delivery.Filter{Mailbox: "101"})
	if err != nil || len(notes) != 1 || notes[0].Note.ID != op.life.Note.ID || notes[0].Jobs[0].Chain[0].String() != "crm:7" {
		t.Errorf("List: %+v, %v", notes, err)
	}
	if _, err := client.List(ctx, delivery.Filter{}); err == nil || err.Error() != "the gateway says: the disk is gone" {
		t.Errorf("List of a broken store: %v", err)
	}
	life, err := client.Life(ctx, op.life.Note.ID)
	if err != nil || !life.Note.CalledAt.Equal(called) || life.Events[0].Detail != "410" || life.Note.Waveform[1] != 255 {
		t.Errorf("Life: %+v, %v", life, err)
	}
	if _, err := client.Life(ctx, "../../etc"); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("Life of nothing: %v", err)
	}
	if n, err := client.Count(ctx, delivery.Filter{Since: called, Channel: "crm"}); n != 1 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	if n, err := client.Redrive(ctx, op.life.Note.ID, "crm"); n != 3 || err != nil {
		t.Errorf("Redrive: %d, %v", n, err)
	}
	if _, err := client.Redrive(ctx, delivery.NewID(), ""); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("Redrive of nothing: %v", err)
	}
	if token, err := client.LinkFor(ctx, "101"); token != "token of 101" || err != nil {
		t.Errorf("LinkFor: %q, %v", token, err)
	}
	askForMailbox(t, client, op)
	if last, err := client.RotateKeys(ctx, []byte("keys"), "n"); last != "keys after n" || err != nil {
		t.Errorf("RotateKeys: %q, %v", last, err)
	}
	trial := Trial{Target: delivery.Target{Channel: "crm", Address: "7"}, Recipient: delivery.Recipient{Number: "101"}}
	if tried, err := client.Try(ctx, trial); err != nil || tried.Receipt.ID != "crm:7" || tried.Receipt.Detail != "101" || tried.Took != time.Second || *tried.Failed != (Failed{Outcome: delivery.Dead, Text: "410"}) {
		t.Errorf("Try: %+v, %v", tried, err)
	}
	askForChat(t, client)
	if s, err := client.Status(ctx); err != nil || !slices.Equal(s.Addresses, []string{"udp://127.0.0.1:5060"}) || s.Fault != "the disk is full" {
		t.Errorf("Status: %+v, %v", s, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// oneChat links chats at the channel bot.
type oneChat struct{}

func (oneChat) LinkChat(_ context.Context, channel, mailbox string) (ChatCode, error) {
	if channel != "bot" {
		return ChatCode{}, errors.New("it links no chats")
	}
	return ChatCode{Link: "https://chat.example/" + mailbox, Say: "/start c", Code: "c", Expires: time.Unix(1, 0).UTC()}, nil
}

func (oneChat) UnlinkChat(_ context.Context, channel, mailbox string) error {
	if channel != "bot" || mailbox != "101" {
		return errors.New("the disk is gone")
	}
	return nil
}

func askForChat(t *testing.T, client *Client) {
	t.Helper()
	want, _ := oneChat{}.LinkChat(t.Context(), "bot", "101")
	if code, err := client.LinkChat(t.Context(), "bot", "101"); code != want || err != nil {
		t.Errorf("LinkChat: %+v, %v", code, err)
	}
	if _, err := client.LinkChat(t.Context(), "crm", "101"); err == nil || err.Error() != "the gateway says: it links no chats" {
		t.Errorf("LinkChat at another channel: %v", err)
	}
	if err := client.UnlinkChat(t.Context(), "bot", "101"); err != nil {
		t.Errorf("UnlinkChat: %v", err)
	}
	if err := client.UnlinkChat(t.Context(), "bot", "102"); err == nil || err.Error() != "the gateway says: the disk is gone" {
		t.Errorf("UnlinkChat that fails: %v", err)
	}
}

func askForMailbox(t *testing.T, client *Client, op oneNote) {
	t.Helper()
	for mailbox, want := range map[string]struct{ zip, err string }{
		"101":     {"zip of 101", ""},
		"damaged": {"zip of damaged", delivery.ErrIncomplete.Error()},
		"cut":     {"zip of cut", "the gateway says: the disk is gone"},
		"999":     {"", delivery.ErrNotFound.Error()},
	} {
		var out strings.Builder
		err := client.Export(t.Context(), mailbox, &out)
		if out.String() != want.zip || (err == nil) != (want.err == "") || (err != nil && err.Error() != want.err) {
			t.Errorf("Export of %s: %q, %v", mailbox, out.String(), err)
		}
	}
	erased, err := client.Erase(t.Context(), "101")
	if err != nil || erased.Files != 2 || erased.Bytes != 3 || !erased.At.Equal(op.life.Note.CalledAt) || erased.Proof[0].SHA256 != "ab" {
		t.Errorf("Erase: %+v, %v", erased, err)
	}
	if _, err := client.Erase(t.Context(), "102"); err == nil || err.Error() != "the gateway says: the disk is gone" {
		t.Errorf("Erase that fails: %v", err)
	}
}

func connect(t *testing.T, dir string) *Client {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		client, err := Dial(t.Context(), dir)
		if err == nil {
			return client
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
