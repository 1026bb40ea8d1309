package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// telegramUpload is how large a file a bot may send.
const telegramUpload = 50 << 20 // bytes

// telegramPatience is how long an attempt waits for a chat's turn; a job whose
// turn is later comes back for it.
const telegramPatience = 2 * time.Second

// telegramSend are the parameters of a message.
type telegramSend struct {
	Chat      telegramChat   `json:"chat_id"`
	Topic     int64          `json:"message_thread_id,omitempty"`
	Reply     *telegramReply `json:"reply_parameters,omitempty"`
	Text      string         `json:"text,omitempty"`
	Caption   string         `json:"caption,omitempty"`
	ParseMode string         `json:"parse_mode"`
	Preview   *telegramOff   `json:"link_preview_options,omitempty"`           // of a text
	Duration  int64          `json:"duration,omitempty"`                       // seconds
	Title     string         `json:"title,omitempty"`                          // of an audio file
	Streaming bool           `json:"supports_streaming,omitempty"`             // of a video
	AsIs      bool           `json:"disable_content_type_detection,omitempty"` // of a document

	method string
	file   *formFile
}

// telegramOff switches previews off (LinkPreviewOptions): callers name
// themselves, and could name a page.
type telegramOff struct {
	Off bool `json:"is_disabled"`
}

// Send sends the note, with what can be mended mended at once.
func (t *telegram) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	to, err := t.target(ctx, p)
	if err != nil {
		return delivery.Receipt{}, err
	}
	m, err := t.message(ctx, p, to.chat)
	if err != nil {
		return delivery.Receipt{}, err
	}
	if err := t.turn(ctx, to.chat); err != nil {
		return delivery.Receipt{}, err
	}
	tried := map[remedy]bool{noRemedy: true} // each of the others once
	for {
		receipt, err := t.post(ctx, m, to, p.Note)
		refused := (*telegramError)(nil)
		if !errors.As(err, &refused) {
			return receipt, err
		}
		if refused.Status == http.StatusTooManyRequests {
			t.pace.hold(to.chat, refused.After)
		}
		cure := refused.fault.remedy
		again := !tried[cure] && t.mend(ctx, p, refused, &to, &m)
		if tried[cure] = true; !again {
			return delivery.Receipt{Detail: refused.said}, refused.SendError
		}
	}
}

// turn waits for the chat's turn.
func (t *telegram) turn(ctx context.Context, chat telegramChat) error {
	wait, booked := t.pace.take(chat, telegramPatience)
	if !booked {
		return &delivery.SendError{Outcome: delivery.Retry, After: wait, Early: true, Err: errors.New("the chat takes no more messages just now")}
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("waiting for the chat's turn: %w", ctx.Err())}
	}
}

// post sends a message to its place in the chat.
func (t *telegram) post(ctx context.Context, m telegramSend, to telegramTarget, n delivery.Note) (delivery.Receipt, error) {
	m.Chat = to.chat
	if err := t.thread(ctx, &m, to, n); err != nil {
		return delivery.Receipt{}, err
	}
	result, err := t.call(ctx, m.method, m, m.file, n)
	if err != nil {
		return delivery.Receipt{}, err
	}
	receipt := delivery.Receipt{Detail: "200 OK, " + m.method}
	id := messageID(result)
	if id != 0 {
		receipt.ID = string(to.chat) + "/" + strconv.FormatInt(id, 10)
	}
	t.keep(ctx, m, to, n, id)
	return receipt, nil
}

// mend does what can be done about a refusal; true when it is worth another
// request.
func (t *telegram) mend(ctx context.Context, p delivery.Parcel, refused *telegramError, to *telegramTarget, m *telegramSend) bool {
	switch refused.fault.remedy {
	case moveChat:
		if refused.movedTo == 0 {
			return false
		}
		t.moved(ctx, p.Note, to.chat, chatOf(refused.movedTo))
		to.chat = chatOf(refused.movedTo)
		return true
	case sendAudio:
		if m.method != "sendVoice" {
			return false
		}
		t.remember(ctx, p.Note, silentKey(to.chat), "yes", rememberVoice)
		*m = t.audio(ctx, p)
		return true
	case newTopic:
		t.env.forget(ctx, telegramThread("topic", *to, p.Note))
		t.env.forget(ctx, forumKey(to.chat)) // its topics may be switched off
		return !to.fixed
	case chatClosed:
		if to.linked == "" {
			return false
		}
		if _, err := t.unlink(ctx, telegramChat(to.linked)); err != nil {
			t.env.Log.Warn("a chat that is closed to the bot is still linked", "note_id", p.Note.ID, "error", plainly(err))
		}
	case noRemedy, noTopics, dropHook:
	}
	return false
}

// message is the message that a note becomes.
func (t *telegram) message(ctx context.Context, p delivery.Parcel, chat telegramChat) (telegramSend, error) {
	if p.Note.Kind == delivery.Missed {
		return telegramSend{
			method: "sendMessage", ParseMode: "HTML", Text: telegramHTML(p, telegramMessage), Preview: &telegramOff{Off: true},
		}, nil
	}
	if p.Note.Media.Bytes > telegramUpload {
		return telegramSend{}, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the file has %d bytes, a bot may send %d; it stays in the inbox", p.Note.Media.Bytes, telegramUpload)}
	}
	if p.Note.Kind == delivery.Video {
		return telegramVideo(p), nil
	}
	silent, err := t.env.recall(ctx, silentKey(chat))
	if err != nil {
		return telegramSend{}, err
	}
	if silent != "" {
		return t.audio(ctx, p), nil
	}
	m := withCaption(p, "sendVoice", noteFile(p, "voice", "note.ogg", "audio/ogg"))
	m.Duration = seconds(p.Note.Duration)
	return m, nil
}

// telegramVideo sends a video. A round video note would have to be square, and
// has no caption that says who called; other formats than MPEG-4 are mere files
// to Telegram.
func telegramVideo(p delivery.Parcel) telegramSend {
	if !strings.HasPrefix(p.Note.Media.Type, "video/mp4") {
		return document(p, "note"+extension(p.Note.Media.Type), p.Note.Media.Type)
	}
	m := withCaption(p, "sendVideo", noteFile(p, "video", "note.mp4", "video/mp4"))
	m.Duration, m.Streaming = seconds(p.Note.Duration), true
	return m
}

// audio is a voice note for a person who takes no voice messages: music to
// Telegram, in the one form of it that can be made here, else a mere file.
func (t *telegram) audio(ctx context.Context, p delivery.Parcel) telegramSend {
	if p.Convert == nil {
		return document(p, "note.ogg", "audio/ogg")
	}
	mp3, err := p.Convert(ctx, mp3Type)
	if err != nil {
		t.env.Log.Warn("note cannot be converted to MP3; it goes as a file", "note_id", p.Note.ID, "error", err)
		return document(p, "note.ogg", "audio/ogg")
	}
	m := withCaption(p, "sendAudio", &formFile{
		field: "audio", name: "note.mp3", mime: mp3Type, bytes: int64(len(mp3)),
		open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(mp3)), nil },
	})
	m.Duration, m.Title = seconds(p.Note.Duration), captionOf(p).Title
	return m
}

// document sends the note's file as it is, whatever Telegram could make of it.
func document(p delivery.Parcel, name, mime string) telegramSend {
	m := withCaption(p, "sendDocument", noteFile(p, "document", name, mime))
	m.AsIs = true
	return m
}

func withCaption(p delivery.Parcel, method string, file *formFile) telegramSend {
	return telegramSend{method: method, file: file, ParseMode: "HTML", Caption: telegramHTML(p, telegramCaption)}
}

// seconds are whole ones, one at least.
func seconds(d time.Duration) int64 { return max(1, int64(d.Round(time.Second)/time.Second)) }
