package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// dendrite is a real homeserver of its own, with the name localhost.
type dendrite struct {
	url, folder, bin string
	running          *exec.Cmd
	said             *bytes.Buffer
}

// dendriteFiles is the largest upload it takes, in bytes.
const dendriteFiles = 256 << 10

// startDendrite starts the homeserver that deploy/dendrite.sh has built.
// appservice is a registration, "" for none.
func startDendrite(t *testing.T, appservice string) *dendrite {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	d := &dendrite{folder: t.TempDir(), bin: filepath.Join(cache, "afterbeep", "dendrite-v0.13.8")}
	if _, err := os.Stat(filepath.Join(d.bin, "dendrite")); err != nil {
		peertest.Missing(t, "Dendrite")
	}
	d.url = "http://" + peertest.Address(t).String()
	d.run(t, "generate-keys", "--private-key", "matrix_key.pem")
	registrations := "config_files: []"
	if appservice != "" {
		d.write(t, "appservice.yaml", appservice)
		registrations = "config_files: [appservice.yaml]"
	}
	settings := d.run(t, "generate-config", "-server", "localhost", "-dir", d.folder, "-db", "")
	d.write(t, "dendrite.yaml", strings.NewReplacer(
		"disable_federation: false", "disable_federation: true",
		"in_memory: false", "in_memory: true",
		`registration_shared_secret: ""`, "registration_shared_secret: for-tests",
		"rate_limiting:\n        enabled: true", "rate_limiting:\n        enabled: false",
		"rate_limiting:\n    enabled: true", "rate_limiting:\n    enabled: false",
		"config_files: []", registrations,
		"max_file_size_bytes: 10485760", fmt.Sprint("max_file_size_bytes: ", dendriteFiles),
		"bcrypt_cost: 10", "bcrypt_cost: 4",
	).Replace(settings))
	d.start(t)
	t.Cleanup(func() { d.stop(t) })
	return d
}

func (d *dendrite) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs one of its programs to its end, and returns what it prints.
func (d *dendrite) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(d.bin, program), args...)
	cmd.Dir = d.folder
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, said.String())
	}
	return string(out)
}

func (d *dendrite) start(t *testing.T) {
	t.Helper()
	d.said = new(bytes.Buffer)
	d.running = exec.Command(filepath.Join(d.bin, "dendrite"),
		"--config", "dendrite.yaml", "--http-bind-address", strings.TrimPrefix(d.url, "http://"))
	d.running.Dir, d.running.Stdout, d.running.Stderr = d.folder, d.said, d.said
	if err := d.running.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Dendrite answers", func() bool {
		resp, err := http.Get(d.url + "/_matrix/client/versions")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// stop ends it at once, as a crash would.
func (d *dendrite) stop(t *testing.T) {
	t.Helper()
	_ = d.running.Process.Kill()
	_ = d.running.Wait()
	http.DefaultClient.CloseIdleConnections()
	if t.Failed() {
		t.Logf("Dendrite said, at the end:\n%s", d.said.Bytes()[max(0, d.said.Len()-4000):])
	}
}

const matrixPassword = "correct-horse-battery"

// account makes an account, logged in as a person's client would be.
func (d *dendrite) account(t *testing.T, name string) *mautrix.Client {
	t.Helper()
	d.newAccount(t, name)
	return d.login(t, name)
}

func (d *dendrite) login(t *testing.T, name string) *mautrix.Client {
	t.Helper()
	c := &mautrix.Client{UserAgent: "a person's client", Client: &http.Client{Transport: &http.Transport{}}, Log: zerolog.Nop(), Store: mautrix.NewMemorySyncStore(), Syncer: mautrix.NewDefaultSyncer()}
	var err error
	if c.HomeserverURL, err = mautrix.ParseAndNormalizeBaseURL(d.url); err != nil {
		t.Fatal(err)
	}
	_, err = c.Login(t.Context(), &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: name},
		Password: matrixPassword, StoreCredentials: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Client.CloseIdleConnections)
	return c
}

func (d *dendrite) newAccount(t *testing.T, name string) {
	t.Helper()
	d.run(t, "create-account", "--config", "dendrite.yaml", "-username", name, "-password", matrixPassword, "-url", d.url)
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("in vain: %s", what)
}

// reports keeps what a channel reports.
type reports struct {
	mu  sync.Mutex
	all []delivery.Report
	err error // answered in place of keeping
}

func (r *reports) Report(_ context.Context, report delivery.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.all = append(r.all, report)
	}
	return r.err
}

func (r *reports) of(job string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range r.all {
		if report.Job == job && report.What == delivery.WasRead {
			n++
		}
	}
	return n
}

// bot is a channel under test on a homeserver, and what it has around it.
type bot struct {
	*matrix
	o       *MatrixOptions
	env     Env
	reports *reports
	links   *linkedChats
}

// bot makes the account afterbeep-NAME and opens a channel for it.
func (d *dendrite) bot(t *testing.T, name string, change func(*MatrixOptions)) *bot {
	t.Helper()
	d.newAccount(t, name)
	b := &bot{reports: &reports{}, links: newChats(map[string]string{"CODE": "+4930123456"})}
	b.o = &MatrixOptions{Homeserver: d.url, User: "@" + name + ":localhost", Password: matrixPassword, HTTP: defaultHTTP()}
	b.o.AllowPrivate = true
	if change != nil {
		change(b.o)
	}
	b.env = Env{
		Log: slog.New(slog.DiscardHandler), UserAgent: "afterbeep/test", Name: "chat", Folder: t.TempDir(),
		Memory: &delivery.Scratch{}, Chats: b.links, Report: b.reports.Report,
	}
	b.reopen(t)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// reopen is a restart of the gateway.
func (b *bot) reopen(t *testing.T) {
	t.Helper()
	if b.matrix != nil {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	c, err := b.o.Open(b.env)
	if err != nil {
		t.Fatal(err)
	}
	b.matrix = c.(*matrix)
}

// listening runs the channel's sync until the test ends: again and again, as the
// gateway does.
func (b *bot) listening(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := b.Run(ctx); err != nil {
				t.Logf("listening ended: %v", err)
			}
			rest(ctx, time.Second)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (b *bot) send(t *testing.T, p delivery.Parcel) delivery.Receipt {
	t.Helper()
	receipt, err := b.Send(t.Context(), p)
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) && failed.Status == http.StatusInternalServerError {
		p.Attempt++ // as the queue would
		receipt, err = b.Send(t.Context(), p)
	}
	if err != nil {
		t.Fatalf("%v (%s)", err, receipt.Detail)
	}
	if receipt.ID == "" || receipt.Detail == "" {
		t.Errorf("receipt %+v", receipt)
	}
	return receipt
}

func to(address string, n delivery.Note) delivery.Parcel {
	p := parcelOf(n)
	p.Address, p.Key = address, delivery.NewID()
	return p
}

// recentNote is one whose call was just now, as the server's clock knows it.
func recentNote() delivery.Note {
	n := sampleNote()
	n.CalledAt = time.Now().Add(-20 * time.Second)
	n.EndedAt = time.Now()
	return n
}

// invitation waits for one and accepts it.
func invitation(t *testing.T, c *mautrix.Client) (room id.RoomID) {
	t.Helper()
	eventually(t, "an invitation", func() bool {
		answer, err := c.FullSyncRequest(t.Context(), mautrix.ReqSync{})
		if err != nil {
			t.Log(err)
			return false
		}
		for invited := range answer.Rooms.Invite {
			room = invited
		}
		return room != ""
	})
	if _, err := c.JoinRoomByID(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	return room
}

// writtenIn waits until a room has so many messages: the newest first.
func writtenIn(t *testing.T, c *mautrix.Client, room id.RoomID, n int) (messages []*mevent.Event) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " messages"), func() bool {
		messages = history(t, c, room)
		return len(messages) >= n
	})
	if len(messages) != n {
		t.Fatalf("%d messages, want %d", len(messages), n)
	}
	return messages
}

// history is what was written into a room, the newest first.
func history(t *testing.T, c *mautrix.Client, room id.RoomID) (messages []*mevent.Event) {
	t.Helper()
	var page *mautrix.RespMessages
	eventually(t, "the room's history", func() bool {
		var err error
		page, err = c.Messages(t.Context(), room, "", "", mautrix.DirectionBackward, nil, 100)
		return err == nil
	})
	for _, e := range page.Chunk {
		if e.Type.Type == mevent.EventMessage.Type || e.Type.Type == mevent.EventEncrypted.Type {
			messages = append(messages, e)
		}
	}
	return messages
}
