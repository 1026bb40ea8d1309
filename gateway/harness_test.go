package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/deploy/peertest"
	"github.com/afterbeep/afterbeep/media"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// received is one note as the webhook's receiver got it.
type received struct {
	Type string `json:"type"`
	Data struct {
		ID, Kind, Reason string
		Recipient        struct{ Number, Name string }
		Caller           struct {
			Number, Name string
			Private      bool
			Trust        string
		}
		DurationMS int64 `json:"duration_ms"`
		Partial    bool
		Waveform   []int
		Media      *struct{ Type, SHA256 string }
	} `json:"data"`
	key  string
	file []byte
}

// receiver is a webhook's other end: it checks each signature and keeps what
// it got.
type receiver struct {
	*httptest.Server
	notes chan received
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	hook, err := webhooks.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{notes: make(chan received, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, err := receive(hook, req)
		if err != nil {
			t.Errorf("the webhook's request: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.notes <- n
	}))
	t.Cleanup(r.Close)
	return r
}

// receive reads a request and checks its signature.
func receive(hook *webhooks.Webhook, req *http.Request) (received, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return received{}, err
	}
	if err := hook.Verify(body, req.Header); err != nil {
		return received{}, err
	}
	return readNote(req.Header, body)
}

// readNote reads multipart/form-data with the parts note and media.
func readNote(h http.Header, body []byte) (n received, err error) {
	n.key = h.Get("Webhook-Id")
	_, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return n, err
	}
	form := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // NextPart returns it bare
			return n, nil
		}
		if err != nil {
			return n, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return n, err
		}
		switch part.FormName() {
		case "note":
			err = json.Unmarshal(content, &n)
		case "media":
			n.file = content
		default:
			err = fmt.Errorf("a part %q", part.FormName())
		}
		if err != nil {
			return n, err
		}
	}
}

// next is the next note: a gateway waits up to 40 s before it tries again.
func (r *receiver) next(t *testing.T) received {
	t.Helper()
	select {
	case n := <-r.notes:
		return n
	case <-time.After(90 * time.Second):
		t.Fatal("no note came")
		return received{}
	}
}

// none fails when a note comes after all.
func (r *receiver) none(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case n := <-r.notes:
		t.Fatalf("a note came that should not: %+v", n.Data)
	case <-time.After(within):
	}
}

// configFile writes a configuration for a gateway on free loopback ports,
// whose mailbox +4930123456 delivers to the receiver. A line of the media part
// may be given, and whole further parts.
func configFile(t *testing.T, dir, hook, mediaLine string, parts ...string) string {
	t.Helper()
	path := filepath.Join(dir, "afterbeep.yaml")
	text := fmt.Sprintf(`
sip:
  listen: [udp://127.0.0.1:0, tcp://127.0.0.1:0]
  trunks: [{name: test, from: [127.0.0.1/32], country: DE}]
media:
  address: 127.0.0.1
  ports: 31000-33999
  %s
store: {path: data}
http: {listen: "127.0.0.1:0"}
channels:
  hook: {type: webhook, url: %q, secret: %s, attach: true, allow_private: true}
mailboxes:
  - {number: "+4930123456", name: Reception, deliver: [hook]}
`, cmp.Or(mediaLine, "no_rtp: 10s"), hook, webhookSecret) + strings.Join(parts, "\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startGateway runs a gateway in this process until the test ends.
func startGateway(t *testing.T, path string) *gateway {
	t.Helper()
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return startConfigured(t, cfg)
}

// startConfigured is startGateway with a configuration that was read.
func startConfigured(t *testing.T, cfg *config.Config) *gateway {
	t.Helper()
	g, err := open(t.Context(), cfg, slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	abort := make(chan struct{})
	close(abort)
	go func() { done <- g.run(ctx, abort) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the gateway: %v", err)
		}
		if err := g.close(); err != nil {
			t.Errorf("closing the gateway: %v", err)
		}
	})
	return g
}

// address is where the gateway listens on the network.
func (g *gateway) address(network string) netip.AddrPort {
	for _, l := range g.sip.Addrs() {
		if l.Network == network {
			return l.Addr
		}
	}
	return netip.AddrPort{}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// speech is human speech at 8 kHz, of the given length.
func speech(t *testing.T, length time.Duration) []int16 {
	t.Helper()
	files, _ := filepath.Glob("/usr/share/asterisk/sounds/en_US_f_Allison/vm-*.wav")
	if len(files) == 0 {
		peertest.Missing(t, "the Debian package asterisk-core-sounds-en-wav")
	}
	var all []int16
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i := 44; i+1 < len(b); i += 2 {
			all = append(all, int16(binary.LittleEndian.Uint16(b[i:])))
		}
		if n := int(length.Seconds() * 8000); len(all) >= n {
			return all[:n]
		}
	}
	t.Fatal("not that much speech")
	return nil
}

// decode turns a note's file into PCM at 8 kHz with ffmpeg, a decoder that is
// not ours, and lets opusinfo look for faults in it.
func decode(t *testing.T, file []byte) []int16 {
	t.Helper()
	peertest.Needs(t, "ffmpeg", "opusinfo")
	path := filepath.Join(t.TempDir(), "note.ogg")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := exec.CommandContext(t.Context(), "opusinfo", path).CombinedOutput()
	if err != nil || bytes.Contains(bytes.ToUpper(info), []byte("WARNING")) {
		t.Errorf("opusinfo: %v\n%s", err, info)
	}
	var fault bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "warning", "-i", path, "-f", "s16le", "-ac", "1", "-ar", "8000", "-")
	cmd.Stderr = &fault
	raw, err := cmd.Output()
	if err != nil || fault.Len() > 0 {
		t.Errorf("ffmpeg: %v %s", err, fault.String())
	}
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return pcm
}

// sameLength fails when a note is not as long as what was sent, to 20 ms.
func sameLength(t *testing.T, n received, sent time.Duration) {
	t.Helper()
	got := time.Duration(n.Data.DurationMS) * time.Millisecond
	if d := (got - sent).Abs(); d > 20*time.Millisecond {
		t.Errorf("the note says %v, %v was sent", got, sent)
	}
	decoded := time.Duration(len(decode(t, n.file))) * time.Second / 8000
	if d := (decoded - sent).Abs(); d > 20*time.Millisecond {
		t.Errorf("the file is %v long, %v was sent", decoded, sent)
	}
}

// likeness is the correlation of two recordings at the best shift within
// 20 ms: 1 when they are the same but for loudness, 0 when they have nothing
// in common.
func likeness(a, b []int16) float64 {
	best := 0.0
	for shift := -160; shift <= 160; shift++ {
		var ab, aa, bb float64
		for i := max(0, -shift); i < len(a) && i+shift < len(b); i++ {
			x, y := float64(a[i]), float64(b[i+shift])
			ab += x * y
			aa += x * x
			bb += y * y
		}
		if aa > 0 && bb > 0 {
			best = max(best, ab/math.Sqrt(aa*bb))
		}
	}
	return best
}

func audioOf(pcm []int16) media.Audio { return media.Audio{Rate: 8000, Samples: pcm} }
