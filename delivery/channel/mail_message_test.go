package channel

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"html"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// writtenMail is a parcel's message, read as a mail program reads it.
func writtenMail(t *testing.T, c delivery.Channel, p delivery.Parcel) (*netmail.Message, map[string]string) {
	t.Helper()
	content, _, err := c.(*mail).message(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return readMail(t, content)
}

// readMail takes a message apart: its parts by their types, files by their
// names.
func readMail(t *testing.T, content []byte) (*netmail.Message, map[string]string) {
	t.Helper()
	msg, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(content) {
		if len(line) > 1000 || bytes.ContainsFunc(line, func(c rune) bool { return c > 127 }) { // RFC 5322 §2.1.1
			t.Errorf("a line that not every server takes: %q", line)
		}
	}
	parts := map[string]string{}
	readPart(t, msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body, parts)
	return msg, parts
}

func readPart(t *testing.T, contentType, encoding string, body io.Reader, parts map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		switch encoding {
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		default:
			t.Errorf("encoding %q", encoding)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
		if kind != "text/plain" && kind != "text/html" {
			parts[kind] = string(text)
		}
		return
	}
	for reader := multipart.NewReader(body, params["boundary"]); ; {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if name := part.FileName(); name != "" {
			parts["file"] = name
		}
		readPart(t, part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part, parts)
	}
}

func header(t *testing.T, msg *netmail.Message, name string) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get(name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// All that mail programs, filters and autoresponders look at.
func TestMailMessage(t *testing.T) {
	c := open(t, mailOptions("smtps://mail.example"))
	n := sampleNote()
	n.Recipient.Timezone = "Europe/Berlin"
	msg, parts := writtenMail(t, c, mailParcel(n))
	from, err := msg.Header.AddressList("From")
	if err != nil || len(from) != 1 || *from[0] != (netmail.Address{Name: "Зоя 🙂 via Voicemail", Address: "voicemail@example.org"}) {
		t.Errorf("From %v, %v", from, err)
	}
	for name, want := range map[string]string{
		"To": "<anna@example.com>", "Message-ID": "<" + n.ID + "@example.org>",
		"Subject":        "Voice message from Зоя 🙂 (+33 6 12 34 56 78)",
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All",
		"Reply-To": "", "User-Agent": "", "X-Mailer": "", "Mime-Version": "1.0",
	} {
		if got := header(t, msg, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if date, err := msg.Header.Date(); err != nil || !date.Equal(n.EndedAt) {
		t.Errorf("Date %v, %v", date, err)
	}
	if got := slices.Sorted(maps.Keys(parts)); !slices.Equal(got, []string{"audio/mpeg", "file", "text/html", "text/plain"}) {
		t.Fatalf("the message has %v", got)
	}
	if parts["audio/mpeg"] != "audio/mpeg"+string(speech) || parts["file"] != "voice-33612345678-2026-03-01-1200.mp3" {
		t.Errorf("the file %s of %d bytes", parts["file"], len(parts["audio/mpeg"]))
	}
	for _, part := range []string{"text/plain", "text/html"} {
		for _, want := range []string{
			"Зоя", "Sunday 1 March, 12:00 · 0:12 · the line was busy", "the end may be missing", "+33 6 12 34 56 78", "https://notes.example/note/" + n.ID,
		} {
			if !strings.Contains(html.UnescapeString(parts[part]), want) {
				t.Errorf("%s lacks %q:\n%s", part, want, parts[part])
			}
		}
	}
	if !strings.Contains(parts["text/html"], `<a href="tel:&#43;33612345678">`) || strings.Contains(parts["text/html"], "\u202e") || strings.Contains(parts["text/html"], "ZgotmplZ") {
		t.Errorf("nobody can call back:\n%s", parts["text/html"])
	}
}

// A caller can call himself anything.
func TestMailOfAHostileCaller(t *testing.T) {
	c := open(t, mailOptions("smtps://mail.example"))
	n := sampleNote()
	n.Caller = delivery.Caller{Name: "<script>alert(1)</script>\r\nBcc: b@example.org\r\n" + strings.Repeat("x", 5000), Number: `"><script>`}
	msg, parts := writtenMail(t, c, mailParcel(n))
	if len(msg.Header["Bcc"]) > 0 || strings.Contains(parts["text/html"], "<script") {
		t.Errorf("it got through: %v\n%s", msg.Header, parts["text/html"])
	}
	if from, err := msg.Header.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != "voicemail@example.org" {
		t.Errorf("From %v, %v", from, err)
	}
	if strings.ContainsAny(parts["file"], "<>/\\\"") || len(parts["file"]) > 600 {
		t.Errorf("the file is %q", parts["file"])
	}
}

// Messages of one caller to one mailbox refer to the same, whichever machine
// sends them, and nobody can tell the caller from it.
func TestMailThreads(t *testing.T) {
	env := testEnv(t)
	here, there := openWith(t, mailOptions("smtps://mail.example"), env), openWith(t, mailOptions("smtps://mail.example"), env)
	elsewhere := open(t, mailOptions("smtps://mail.example"))
	thread := func(c delivery.Channel, change func(n *delivery.Note)) string {
		n := sampleNote()
		change(&n)
		msg, _ := writtenMail(t, c, mailParcel(n))
		if msg.Header.Get("In-Reply-To") != msg.Header.Get("References") {
			t.Errorf("In-Reply-To %q, References %q", msg.Header.Get("In-Reply-To"), msg.Header.Get("References"))
		}
		return msg.Header.Get("References")
	}
	first := thread(here, func(*delivery.Note) {})
	if len(first) != len("<thread-@example.org>")+32 || strings.Contains(first, "612345678") {
		t.Errorf("the thread is %q", first)
	}
	for name, tc := range map[string]struct {
		c      delivery.Channel
		change func(n *delivery.Note)
		same   bool
	}{
		"the other machine":          {there, func(*delivery.Note) {}, true},
		"by another name":            {here, func(n *delivery.Note) { n.Caller.Name = "Mum" }, true},
		"another caller":             {here, func(n *delivery.Note) { n.Caller.Number = "+33612345679" }, false},
		"another mailbox":            {here, func(n *delivery.Note) { n.Recipient.Number = "101" }, false},
		"a name alone":               {here, func(n *delivery.Note) { n.Caller.Number = "" }, false},
		"another installation":       {elsewhere, func(*delivery.Note) {}, false},
		"private, who may be anyone": {here, func(n *delivery.Note) { n.Caller = delivery.Caller{Private: true} }, false},
	} {
		if got := thread(tc.c, tc.change); (got == first) != tc.same || strings.HasPrefix(name, "private") && got != "" {
			t.Errorf("%s: %q, the first was %q", name, got, first)
		}
	}
}

// What a note has, and what can be made of it, decides what travels along.
func TestMailAttachment(t *testing.T) {
	broken := func(context.Context, string) ([]byte, error) { return nil, errors.New("no note of ours") }
	for name, tc := range map[string]struct {
		change func(p *delivery.Parcel)
		parts  []string
		file   string
	}{
		"missed": {func(p *delivery.Parcel) {
			p.Note.Kind, p.Open, p.Convert, p.Page = delivery.Missed, nil, nil, nil
		}, []string{"text/html", "text/plain"}, ""},
		"private":              {func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Private: true} }, []string{"audio/mpeg", "file", "text/html", "text/plain"}, "voice-2026-03-01-1100.mp3"},
		"a name with accents":  {func(p *delivery.Parcel) { p.Note.Caller.Name = "Jiří Łoś" }, []string{"audio/mpeg", "file", "text/html", "text/plain"}, "voice-Jiri-Los-33612345678-2026-03-01-1100.mp3"},
		"none can convert":     {func(p *delivery.Parcel) { p.Convert = nil }, []string{"audio/ogg", "file", "text/html", "text/plain"}, "voice-33612345678-2026-03-01-1100.ogg"},
		"it is not to convert": {func(p *delivery.Parcel) { p.Convert = broken }, []string{"audio/ogg", "file", "text/html", "text/plain"}, "voice-33612345678-2026-03-01-1100.ogg"},
		"video": {func(p *delivery.Parcel) {
			p.Note.Kind, p.Note.Media.Type = delivery.Video, "video/mp4"
		}, []string{"file", "text/html", "text/plain", "video/mp4"}, "video-33612345678-2026-03-01-1100.mp4"},
	} {
		t.Run(name, func(t *testing.T) {
			p := mailParcel(sampleNote())
			tc.change(&p)
			_, parts := writtenMail(t, open(t, mailOptions("smtps://mail.example")), p)
			if got := slices.Sorted(maps.Keys(parts)); !slices.Equal(got, tc.parts) || parts["file"] != tc.file {
				t.Errorf("the message has %v, and %q", got, parts["file"])
			}
		})
	}
	for name, tc := range map[string]struct {
		change func(p *delivery.Parcel)
		want   delivery.Outcome
	}{
		"gone": {func(p *delivery.Parcel) {
			p.Open = func(context.Context) (io.ReadSeekCloser, error) { return nil, delivery.ErrNotFound }
		}, delivery.Dead},
		"disk fails": {func(p *delivery.Parcel) {
			p.Open = func(context.Context) (io.ReadSeekCloser, error) { return nil, io.ErrUnexpectedEOF }
		}, delivery.Retry},
		"cut":       {func(p *delivery.Parcel) { p.Note.Media.Bytes++ }, delivery.Retry},
		"oversized": {func(p *delivery.Parcel) { p.Note.Media.Bytes = maxMail + 1 }, delivery.Dead},
	} {
		p := mailParcel(sampleNote())
		p.Convert = broken
		tc.change(&p)
		if failed := mailSubject.fail(t, open(t, mailOptions("smtps://127.0.0.1:1")), p, time.Second); failed.Outcome != tc.want {
			t.Errorf("%s: %v", name, failed)
		}
	}
}

// A message that may be a second one says so, and is known by the same id.
func TestMailRepeat(t *testing.T) {
	c := open(t, mailOptions("smtps://mail.example"))
	p := mailParcel(sampleNote())
	first, _ := writtenMail(t, c, p)
	p.Repeat, p.Attempt = true, 2
	second, parts := writtenMail(t, c, p)
	if first.Header.Get("Message-ID") != second.Header.Get("Message-ID") || !strings.Contains(parts["text/plain"], "second copy") {
		t.Errorf("%s, then %s:\n%s", first.Header.Get("Message-ID"), second.Header.Get("Message-ID"), parts["text/plain"])
	}
}
