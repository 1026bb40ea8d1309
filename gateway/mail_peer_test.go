package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// mailServer is Debian's aiosmtpd without TLS, started by the test.
type mailServer struct {
	address string
	letters chan []byte // RFC 5322
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	peertest.Needs(t, "aiosmtpd", "ffprobe")
	cmd := exec.Command("/usr/bin/python3", "../delivery/channel/testdata/smtpd.py", "plain")
	cmd.Stderr = testWriter{t}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	port, err := lines.ReadString('\n')
	s := &mailServer{"127.0.0.1:" + strings.TrimSpace(port), make(chan []byte, 16)}
	var reading sync.WaitGroup
	reading.Go(func() {
		for decoder := json.NewDecoder(lines); ; {
			var letter struct{ Content []byte }
			if decoder.Decode(&letter) != nil {
				return
			}
			s.letters <- letter.Content
		}
	})
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the mail server: %v", err)
		}
	})
	if err != nil {
		t.Fatalf("the mail server names no port: %v", err)
	}
	return s
}

// next is the next message, with the file that is attached to it.
func (s *mailServer) next(t *testing.T) (subject string, file []byte) {
	t.Helper()
	var content []byte
	select {
	case content = <-s.letters:
	case <-time.After(90 * time.Second):
		t.Fatal("no message came")
	}
	msg, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for parts := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatalf("no audio: %v", err)
		}
		if !strings.HasPrefix(part.Header.Get("Content-Type"), "audio/mpeg") {
			continue
		}
		if file, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, part)); err != nil {
			t.Fatal(err)
		}
		return subject, file
	}
}

// playable fails when a file is no MP3 of the given length.
func playable(t *testing.T, file []byte, length time.Duration) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "note.mp3")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	raw := path + ".raw"
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "warning", "-i", path, "-f", "s16le", "-ac", "1", "-ar", "16000", raw).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("ffmpeg: %v %s", err, out)
	}
	stat, err := os.Stat(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(stat.Size()/2) * time.Second / 16000; (got - length).Abs() > 50*time.Millisecond {
		t.Errorf("it plays %v, the note lasts %v", got, length)
	}
}

func mailFile(t *testing.T, server string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "afterbeep.yaml")
	text := fmt.Sprintf(`
sip:
  listen: udp://127.0.0.1:0
  trunks: [{name: test, from: [127.0.0.1/32], country: DE}]
media: {address: 127.0.0.1, ports: 31000-33999}
store: {path: data}
http: {listen: "127.0.0.1:0"}
channels:
  post: {type: mail, server: "smtp://%s", from: Voicemail <voicemail@example.org>, allow_plain: true, allow_private: true}
  gone: {type: mail, server: "smtp://127.0.0.1:1", from: Voicemail <voicemail@example.org>, allow_plain: true, allow_private: true}
mailboxes:
  - {number: %s, deliver: ["post:anna@example.com"]}
  - {number: 101, language: en, deliver: ["post:bert@example.com", "gone:bert@example.com"]}
`, server, strconv.Quote(reception))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A call becomes an e-mail that plays; `channel test` sends the sample, with
// and without a gateway.
func TestCallBecomesAnEmail(t *testing.T) {
	t.Parallel()
	server := newMailServer(t)
	path := mailFile(t, server.address)

	said := run(t, "channel", "test", "post:bert@example.com", "--config", path)
	if !strings.Contains(said, "sent") || !strings.Contains(said, "queued as 4AF3C7") || strings.Contains(said, "running gateway") {
		t.Errorf("channel test said:\n%s", said)
	}
	sampleLength := 10*time.Second + 400*time.Millisecond
	if subject, file := server.next(t); !strings.Contains(subject, "Afterbeep") {
		t.Errorf("the sample's subject is %q", subject)
	} else {
		playable(t, file, sampleLength)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("channel test has left behind %v", left)
	}

	g := startGateway(t, path)
	leave(t, g.address("udp"))
	subject, file := server.next(t)
	if subject != "Voice message from Maria (+49 170 5550101)" {
		t.Errorf("the note's subject is %q", subject)
	}
	notes, err := g.store.List(t.Context(), delivery.Filter{Limit: 1})
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	playable(t, file, notes[0].Note.Duration)

	said = run(t, "channel", "test", "post:bert@example.com", "--mailbox", "101", "--config", path)
	if !strings.Contains(said, "by the running gateway") || !strings.Contains(said, "queued as 4AF3C7") {
		t.Errorf("channel test said:\n%s", said)
	}
	if _, file := server.next(t); len(file) == 0 {
		t.Error("the sample is empty")
	}
	if notes, err := g.store.List(t.Context(), delivery.Filter{Limit: 10}); err != nil || len(notes) != 1 {
		t.Errorf("the sample is kept: %v, %v", notes, err)
	}
	testChannelFails(t, path)
}

// testChannelFails goes through what can be wrong with a test.
func testChannelFails(t *testing.T, path string) {
	t.Helper()
	for _, tc := range []struct {
		args []string
		says string // in the output, or the error
	}{
		{[]string{"gone:anna@example.com"}, "connection refused"},
		{[]string{"gone:anna@example.com"}, "a note would be sent again"},
		{[]string{"post:anna"}, "post:anna: expected an e-mail address"},
		{[]string{"nothing:anna"}, `there is no channel "nothing" in ` + path + "; it has gone, post"},
		{[]string{"post:anna@example.com", "--mailbox", "999"}, "there is no mailbox 999"},
		{[]string{"inbox"}, "the inbox needs no test"},
		{[]string{":"}, "expected CHANNEL"},
	} {
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs(append([]string{"channel", "test", "--config", path}, tc.args...))
		cmd.SetOut(&out)
		err := cmd.ExecuteContext(t.Context())
		if err == nil {
			t.Errorf("%v: it does not fail", tc.args)
			continue
		}
		if said := out.String() + err.Error(); !strings.Contains(said, tc.says) {
			t.Errorf("%v: %q does not say %q", tc.args, said, tc.says)
		}
	}
}
