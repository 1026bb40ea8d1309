package channel

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	netmail "net/mail"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// message writes a parcel as an e-mail (RFC 5322, 2045) and names its
// Message-ID. Its errors are *delivery.SendError.
func (m *mail) message(ctx context.Context, p delivery.Parcel) (message []byte, id string, err error) {
	n, texts := p.Note, text.For(p.Note.Recipient.Language)
	caption := texts.Caption(n, p.Repeat)
	caption.Title = oneLine(clip(caption.Title)) // what a caller calls himself could have line ends
	domain := m.from.Address[strings.LastIndexByte(m.from.Address, '@')+1:]
	id = p.Key + "@" + domain // the same on every attempt: who has it already may drop it

	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&netmail.Address{Name: m.sender(texts, n.Caller), Address: m.from.Address})
	msg.ToMailAddress(&netmail.Address{Address: p.Address})
	msg.Subject(caption.Title)
	msg.SetDateWithValue(n.EndedAt)
	msg.SetMessageIDWithValue(id)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")  // Exchange's word for the same
	thread, err := m.thread(ctx, n)
	if err != nil {
		return nil, "", &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("the channel's memory: %w", err)}
	}
	if thread != "" { // RFC 5322 §3.6.4
		msg.SetGenHeader("In-Reply-To", "<"+thread+"@"+domain+">")
		msg.SetGenHeader("References", "<"+thread+"@"+domain+">")
	}
	if err := mailBody(msg, texts, caption, pageOf(p)); err != nil {
		return nil, "", &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("writing the message: %w", err)}
	}
	if err := mailAttach(ctx, msg, p); err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	if _, err := msg.WriteTo(&out); err != nil {
		return nil, "", &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("writing the message: %w", err)}
	}
	return out.Bytes(), id, nil
}

// sender is who the message is from: the caller, by way of us.
func (m *mail) sender(texts *text.Texts, c delivery.Caller) string {
	name := texts.Private
	if !c.Private {
		name = oneLine(clip(c.Name))
		if name == "" {
			name = texts.Who(c)
		}
	}
	if m.from.Name == "" {
		return name
	}
	return name + " via " + m.from.Name
}

// pageOf is a link to a page that plays the note; "" where there is none.
func pageOf(p delivery.Parcel) string {
	if p.Page == nil {
		return ""
	}
	return p.Page(time.Now().Add(linkLife))
}

// threadKey is where the memory has the secret of the threads' names.
const threadKey = "thread key"

// thread names what all messages of one caller to one mailbox refer to, so that
// mail programs show them together. No number can be guessed from it. "" for
// private callers, who need not be the same.
func (m *mail) thread(ctx context.Context, n delivery.Note) (string, error) {
	c := n.Caller
	if c.Private || (c.Number == "" && c.Name == "") {
		return "", nil
	}
	key, err := m.memory.Get(ctx, threadKey)
	if errors.Is(err, delivery.ErrNotFound) {
		fresh := make([]byte, sha256.Size)
		_, _ = rand.Read(fresh) // never fails (crypto/rand)
		if _, err = m.memory.Add(ctx, delivery.Entry{Key: threadKey, Value: fresh}); err == nil {
			key, err = m.memory.Get(ctx, threadKey) // another's, if that was faster
		}
	}
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%q %q", n.Recipient.Number, c.Number)
	if c.Number == "" {
		_, _ = fmt.Fprintf(mac, " %q", c.Name)
	}
	return "thread-" + hex.EncodeToString(mac.Sum(nil)[:16]), nil
}

// mailPage is the message for programs that show HTML.
var mailPage = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="{{.Texts.Language}}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>
<body style="font: 16px/1.5 sans-serif">
<p><strong dir="auto">{{.Title}}</strong><br>{{.Line}}</p>
{{range .Hints}}<p>{{.}}</p>
{{end}}{{with .Number}}<p>{{$.Texts.CallBack}} {{if $.URI}}<a href="{{$.Call}}">{{.}}</a>{{else}}{{.}}{{end}}</p>
{{end}}{{with .Page}}<p>{{$.Texts.Listen}} <a href="{{.}}">{{$.Texts.Play}}</a></p>
{{end}}</body>
</html>
`))

// mailBody writes the caption as text and as HTML.
func mailBody(msg *gomail.Msg, texts *text.Texts, caption text.Caption, page string) error {
	plain := caption.Plain() + "\n"
	if page != "" {
		plain += "\n" + texts.Listen + " " + page + "\n"
	}
	var html strings.Builder
	err := mailPage.Execute(&html, struct {
		text.Caption
		Texts *text.Texts
		Call  template.URL // html/template does not know tel:, but encodes what is in it
		Page  string
	}{caption, texts, template.URL(caption.URI), page}) //nolint:gosec // it begins with tel:
	if err != nil {
		return err
	}
	msg.SetBodyString(gomail.TypeTextPlain, plain)
	msg.AddAlternativeString(gomail.TypeTextHTML, html.String())
	return nil
}

const (
	mp3Type = "audio/mpeg" // what every mail program plays
	maxMail = 16 << 20     // bytes of a file that are held in memory for a message
)

// mailAttach adds the note's file. A voice note becomes an MP3; what cannot be
// converted goes as it is, for a note that plays in some programs is more than
// none.
func mailAttach(ctx context.Context, msg *gomail.Msg, p delivery.Parcel) error {
	n := p.Note
	if n.Kind == delivery.Missed {
		return nil
	}
	mimeType, ending, err := mp3Type, ".mp3", errors.New("this note becomes no MP3")
	var content []byte
	if n.Kind == delivery.Voice && p.Convert != nil {
		content, err = p.Convert(ctx, mp3Type)
	}
	if ctx.Err() != nil {
		return &delivery.SendError{Outcome: delivery.Retry, Err: errors.New("the time for an attempt was over before the note was an MP3")}
	}
	if err != nil {
		mimeType, ending = n.Media.Type, extension(n.Media.Type)
		if content, err = readNote(ctx, p); err != nil {
			return err
		}
	}
	if err := msg.AttachReader(fileName(n)+ending, bytes.NewReader(content), gomail.WithFileContentType(gomail.ContentType(mimeType))); err != nil {
		return &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("attaching the note: %w", err)}
	}
	return nil
}

// readNote is the note's file as it is.
func readNote(ctx context.Context, p delivery.Parcel) ([]byte, error) {
	if p.Note.Media.Bytes > maxMail {
		return nil, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the file has %d bytes, an e-mail carries %d; deliver by a channel that sends a link", p.Note.Media.Bytes, maxMail)}
	}
	file, err := p.Open(ctx)
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = file.Close() }() // only read from
	content, err := io.ReadAll(io.LimitReader(file, maxMail))
	if err == nil && int64(len(content)) != p.Note.Media.Bytes {
		err = fmt.Errorf("it has %d bytes, not the %d that were kept", len(content), p.Note.Media.Bytes)
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return content, nil
}

// fileName is what the attachment is saved as, without its ending: the kind,
// the caller as far as ASCII has the letters, the recipient's local time.
func fileName(n delivery.Note) string {
	zone, err := time.LoadLocation(n.Recipient.Timezone)
	if err != nil {
		zone = time.UTC
	}
	parts := []string{string(n.Kind)}
	if caller := fold(n.Caller.Name) + " " + n.Caller.Number; !n.Caller.Private {
		parts = append(parts, strings.FieldsFunc(clip(caller), func(c rune) bool {
			return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c)
		})...)
	}
	return strings.Join(append(parts, n.CalledAt.In(zone).Format("2006-01-02-1504")), "-")
}
