package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
	"github.com/afterbeep/afterbeep/gateway/control"
)

// bot is a channel that does all that one can do. It is its own options.
type bot struct {
	env     channel.Env
	sent    chan delivery.Parcel
	hold    chan struct{} // a send waits for it, when there is one
	sending atomic.Int32
	heard   chan string
	ended   chan bool // whether all was well when Run ended
}

func newBot() *bot {
	return &bot{sent: make(chan delivery.Parcel, 10), heard: make(chan string, 10), ended: make(chan bool, 1)}
}

func (b *bot) Open(env channel.Env) (delivery.Channel, error) {
	b.env = env
	return b, nil
}

func (b *bot) Send(_ context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	b.sending.Add(1)
	defer b.sending.Add(-1)
	b.sent <- p
	if b.hold != nil {
		<-b.hold
	}
	return delivery.Receipt{ID: "message-1"}, nil
}

func (b *bot) DeepLink(ctx context.Context, code string) (link, say string, err error) {
	if _, ends := ctx.Deadline(); !ends {
		return "", "", errors.New("nobody ends the asking")
	}
	return "https://chat.example/?start=" + code, "/start " + code, nil
}

func (b *bot) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b.heard <- r.Method + " " + r.URL.Path
}

// Run listens until ctx ends: then nothing may be being sent any more, and what
// is heard can still be kept.
func (b *bot) Run(ctx context.Context) error {
	b.heard <- "running"
	<-ctx.Done()
	err := b.env.Memory.Put(context.WithoutCancel(ctx), delivery.Entry{Key: "offset", Value: []byte("7")})
	b.ended <- err == nil && b.sending.Load() == 0
	return err
}

// withBot is a configuration whose mailbox delivers to the bot.
func withBot(t *testing.T, b *bot) *config.Config {
	t.Helper()
	cfg, err := config.Load(configFile(t, t.TempDir(), "http://127.0.0.1:1/", ""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTP.PublicURL = "https://notes.example/voice/"
	cfg.Channels["bot"] = config.Channel{Type: "chatbot", Options: b}
	cfg.Mailboxes[0].Deliver = delivery.Chain{{Channel: "bot"}}
	return cfg
}

// A channel has what it is promised: its memory, the chats that are linked, a
// way to report, its folder, its callbacks, and time to listen.
func TestChannelOfTheGateway(t *testing.T) {
	t.Parallel()
	b := newBot()
	cfg := withBot(t, b)
	g := startConfigured(t, cfg)
	ctx := t.Context()
	if got := <-b.heard; got != "running" {
		t.Errorf("heard %s", got)
	}
	mode, err := os.Stat(filepath.Join(cfg.Store.Path, "channels", "bot"))
	if err != nil || mode.Mode() != 0o700|os.ModeDir || b.env.Folder != filepath.Join(cfg.Store.Path, "channels", "bot") {
		t.Errorf("the folder: %v, %v", mode, err)
	}
	if b.env.Name != "bot" || b.env.PublicURL != "https://notes.example/voice" || !strings.HasPrefix(b.env.UserAgent, "afterbeep/") {
		t.Errorf("the channel is told %+v", b.env)
	}
	if status, _ := g.ask(t, http.MethodPost, "/callback/bot"); status != http.StatusOK || <-b.heard != "POST /callback/bot" {
		t.Errorf("a callback got %d", status)
	}
	if status, _ := g.ask(t, http.MethodPost, "/callback/hook"); status != http.StatusNotFound {
		t.Errorf("a callback to a channel that has none got %d", status)
	}

	client, err := control.Dial(ctx, cfg.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	code, err := client.LinkChat(ctx, "bot", reception)
	if err != nil || code.Say != "/start "+code.Code || !strings.HasSuffix(code.Link, code.Code) {
		t.Errorf("got %+v, %v", code, err)
	}
	if linked, err := b.env.Chats.Link(ctx, code.Code, "chat-7"); linked != reception || err != nil {
		t.Errorf("linked %q, %v", linked, err)
	}
	leave(t, g.address("udp"))
	p := <-b.sent
	address, err := b.env.Chats.Of(ctx, p.Note.Recipient.Number)
	if p.Address != "" || address != "chat-7" || err != nil || !strings.HasPrefix(p.Page(time.Now().Add(time.Hour)), "https://notes.example/voice/note/"+p.Note.ID) {
		t.Errorf("sent to %q: %+v, %v", address, p, err)
	}
	if err := b.env.Report(ctx, delivery.Report{Job: p.Key, What: delivery.WasPlayed}); err != nil {
		t.Errorf("a report: %v", err)
	}
	if err := b.env.Report(ctx, delivery.Report{Job: delivery.NewID(), What: delivery.WasRead}); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("a report of no job: %v", err)
	}
	until(t, "the note is played", func() bool {
		l, err := g.store.Life(ctx, p.Note.ID)
		return err == nil && !l.Note.PlayedAt.IsZero()
	})
	if names := g.linkableFor(t.Context(), reception); fmt.Sprint(names) != "[bot]" || g.linkables()["bot"].Type != "chatbot" {
		t.Errorf("%v can be linked", names)
	}
	if err := client.UnlinkChat(ctx, "bot", reception); err != nil {
		t.Error(err)
	}
	if _, err := b.env.Chats.Of(ctx, reception); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("after that it is linked: %v", err)
	}
	if _, err := client.LinkChat(ctx, "hook", reception); err == nil || !strings.Contains(err.Error(), errNoLinks.Error()) {
		t.Errorf("a webhook links chats: %v", err)
	}
}

// What a channel hears is kept to the end: it listens for longer than notes are
// sent.
func TestChannelListensToTheEnd(t *testing.T) {
	t.Parallel()
	b := newBot()
	b.hold = make(chan struct{})
	g, err := open(t.Context(), withBot(t, b), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.run(ctx, ctx.Done()); err != nil {
			t.Error(err)
		}
	})
	leave(t, g.address("udp"))
	<-b.sent
	stop()
	time.Sleep(300 * time.Millisecond)
	select {
	case <-b.ended:
		t.Error("it ended while a note was being sent")
	default:
	}
	close(b.hold)
	running.Wait()
	if !<-b.ended {
		t.Error("it ended too early, or could not keep what it had heard")
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
}

// failing is a channel that fails in one way after another, then listens.
type failing struct {
	ways []func() error
	runs []time.Duration // since the first
	from time.Time
}

func (f *failing) Run(ctx context.Context) error {
	if f.from.IsZero() {
		f.from = time.Now()
	}
	f.runs = append(f.runs, time.Since(f.from))
	if len(f.runs) <= len(f.ways) {
		return f.ways[len(f.runs)-1]()
	}
	<-ctx.Done()
	return nil
}

// A channel that fails to listen is tried again, ever more slowly, and says why
// without a word of what it heard.
func TestChannelIsHeardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func() error { return errors.New("refused") }
		var nothing *config.Config
		f := &failing{ways: []func() error{
			fails,
			func() error { panic("a token of somebody") },
			func() error { _ = nothing.Mailboxes; return nil },
			func() error { return nil },
			fails, fails, fails, fails,
			func() error { time.Sleep(2 * listenSlowest); return errors.New("cut off") },
		}}
		var said bytes.Buffer
		g := &gateway{log: slog.New(slog.NewTextHandler(&said, nil))}
		ctx, stop := context.WithCancel(t.Context())
		var listening sync.WaitGroup
		listening.Go(func() { g.listen(ctx, "bot", f) })
		time.Sleep(time.Hour)
		stop()
		listening.Wait()
		want := []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 183 + 120 + 1}
		if len(f.runs) != len(want) {
			t.Fatalf("it ran at %v", f.runs)
		}
		for i, at := range f.runs {
			if at != time.Duration(want[i])*time.Second {
				t.Errorf("run %d at %v, want %d s", i, at, want[i])
			}
		}
		for _, words := range []string{"refused", "panicked with a string", "nil pointer", errListenEnded.Error(), "cut off", "channel=bot"} {
			if !strings.Contains(said.String(), words) {
				t.Errorf("the log has no %q", words)
			}
		}
		if strings.Contains(said.String(), "a token of somebody") {
			t.Error("the log tells what a channel panicked with")
		}
	})
}

// A channel that is only tried has a memory that ends with it.
func TestTrialEnv(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.HTTP.PublicURL = "https://notes.example/"
	env := trialEnv(&cfg, "bot")
	if env.Name != "bot" || env.Folder != "" || env.PublicURL != "https://notes.example" {
		t.Errorf("it is told %+v", env)
	}
	if err := env.Report(t.Context(), delivery.Report{}); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("its report: %v", err)
	}
	code, _, err := env.Chats.Code(t.Context(), "101")
	if err != nil {
		t.Fatal(err)
	}
	if linked, err := env.Chats.Link(t.Context(), code, "chat-7"); linked != "101" || err != nil {
		t.Errorf("linked %q, %v", linked, err)
	}
}

// The command says why it links no chat, and ends a link with and without a
// gateway.
func TestLinkChatCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:1/", "", `  - {number: "102", deliver: [inbox]}`)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	try := func() {
		t.Helper()
		for args, want := range map[string]string{
			"link " + reception + " --channel hook": errNoLinks.Error(),
			"link 102 --channel hook":               "mailbox 102 does not deliver to the chat that it links at hook",
			"link 103 --channel hook":               "there is no mailbox 103",
			"link " + reception + " --channel nope": "there is no channel nope",
			"link " + reception + " --revoke":       "say which link is to end",
		} {
			cmd := root()
			cmd.SetArgs(append(strings.Fields(args), "--config", path))
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", args, err, want)
			}
		}
		if said := run(t, "link", reception, "--channel", "hook", "--revoke", "--config", path); !strings.Contains(said, "no chat at hook any more") {
			t.Errorf("link --revoke says %q", said)
		}
	}
	try()
	gateway := startChild(t, path)
	try()
	gateway.stop(t)
}
