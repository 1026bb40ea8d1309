package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// waMessage is what POST /PHONE_NUMBER_ID/messages takes: one of text, audio,
// video and template, as its type says.
type waMessage struct {
	Product   string      `json:"messaging_product"`   // whatsapp
	Kind      string      `json:"recipient_type"`      // individual
	To        string      `json:"to,omitempty"`        // a number's digits
	Recipient string      `json:"recipient,omitempty"` // a business-scoped user id; the service drops it where a number is expected
	Context   *waContext  `json:"context,omitempty"`
	Callback  string      `json:"biz_opaque_callback_data,omitempty"` // given back with each status
	Type      string      `json:"type"`
	Text      *waText     `json:"text,omitempty"`
	Audio     *waAudio    `json:"audio,omitempty"`
	Video     *waVideo    `json:"video,omitempty"`
	Template  *waTemplate `json:"template,omitempty"`
}

type waContext struct {
	ID string `json:"message_id"` // the message that this one replies to
}

type waText struct {
	Body string `json:"body"` // 4096 characters at most
}

type waAudio struct {
	ID    string `json:"id"`
	Voice bool   `json:"voice"` // shown as a voice message, with its waveform
}

type waVideo struct {
	ID      string `json:"id"`
	Caption string `json:"caption"` // 1024 characters at most
}

type waTemplate struct {
	Name       string        `json:"name"`
	Language   waLanguage    `json:"language"`
	Components []waComponent `json:"components"`
}

type waLanguage struct {
	Code string `json:"code"`
}

type waComponent struct {
	Type       string        `json:"type"`
	SubType    string        `json:"sub_type,omitempty"`
	Index      string        `json:"index,omitempty"`
	Parameters []waParameter `json:"parameters"`
}

type waParameter struct {
	Type    string `json:"type"`
	Text    string `json:"text,omitempty"`
	Payload string `json:"payload,omitempty"`
}

// messageTo is a message without its content.
func messageTo(user, kind string) waMessage {
	m := waMessage{Product: "whatsapp", Kind: "individual", Type: kind}
	if waNumber.MatchString(user) {
		m.To = user
	} else {
		m.Recipient = user
	}
	return m
}

// textTo is a line of text, cut to what the service takes.
func textTo(user, body string) waMessage {
	m := messageTo(user, "text")
	m.Text = &waText{clipRunes(body, 4096)}
	return m
}

// clipRunes keeps the first runes of a text.
func clipRunes(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

// waReply is what the service said to a message or an upload. It stands beside an
// error too.
type waReply struct {
	id     string // of the message, or the upload
	user   string // the recipient as the service knows him: not always the number that was given
	detail string // for `note show`
}

// post sends a message. attempt counts from 1, for how long to wait.
func (w *whatsapp) post(ctx context.Context, m waMessage, n delivery.Note, attempt int) (waReply, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return waReply{}, &delivery.SendError{Outcome: delivery.Dead, Err: err}
	}
	req, err := w.request(ctx, http.MethodPost, w.url(w.o.PhoneNumberID, "messages"), bytes.NewReader(body))
	if err != nil {
		return waReply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	a, err := w.do(req)
	if err != nil {
		return waReply{}, untilStatus(err)
	}
	r, err := w.judge(a, n, attempt)
	if err != nil {
		return r, untilStatus(err)
	}
	var got struct {
		Contacts []struct {
			WaID   string `json:"wa_id"`
			UserID string `json:"user_id"`
		} `json:"contacts"`
		Messages []struct {
			ID     string `json:"id"`
			Status string `json:"message_status"`
		} `json:"messages"`
	}
	err = json.Unmarshal(a.body, &got)
	switch {
	case a.cut: // the status has decided: without an id its callbacks still name the job
		return r, nil
	case err != nil || len(got.Messages) == 0 || got.Messages[0].ID == "":
		return r, &delivery.SendError{
			Outcome: delivery.Retry, Status: a.status, Credentials: true, Err: errors.New("what answers there is not WhatsApp; see api_url"),
		}
	}
	r.id = got.Messages[0].ID
	if held := got.Messages[0].Status; held != "" && held != "accepted" {
		r.detail += ", " + w.redact.excerpt([]byte(held), n)
	}
	if len(got.Contacts) > 0 {
		r.user = got.Contacts[0].WaID
	}
	return r, nil
}

// statusWithin is how long a lost answer's own status callback may take: it
// settles the attempt, and nothing is sent again.
const statusWithin = time.Minute

// untilStatus lets an unknown outcome wait for its status.
func untilStatus(err error) error {
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) && failed.Outcome == delivery.Unknown {
		failed.After = max(failed.After, statusWithin)
	}
	return err
}

// unsent is the failure of a step that shows the recipient no note: whatever
// became of it, the note is not there.
func unsent(err error) error {
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) && failed.Outcome == delivery.Unknown {
		failed.Outcome, failed.After = delivery.Retry, 0
	}
	return err
}

// upload gives the service a note's file; the id is good for 30 days.
func (w *whatsapp) upload(ctx context.Context, p delivery.Parcel) (waReply, error) {
	req, err := w.request(ctx, http.MethodPost, w.url(w.o.PhoneNumberID, "media"), http.NoBody)
	if err != nil {
		return waReply{}, err
	}
	file := noteFile(p, "file", p.Note.ID+extension(p.Note.Media.Type), p.Note.Media.Type)
	if err := setForm(ctx, req, map[string]string{"messaging_product": "whatsapp"}, file); err != nil {
		return waReply{}, err
	}
	a, err := w.do(req)
	if err != nil {
		return waReply{}, unsent(err)
	}
	r, err := w.judge(a, p.Note, p.Attempt)
	if err != nil {
		return r, unsent(err)
	}
	var got struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || got.ID == "" {
		return r, &delivery.SendError{Outcome: delivery.Retry, Status: a.status, Err: errors.New("the service took the file and gave it no id")}
	}
	r.id = got.ID
	return r, nil
}

// get reads a node of the graph into to.
func (w *whatsapp) get(ctx context.Context, address *url.URL, to any) error {
	req, err := w.request(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	a, err := w.do(req)
	if err != nil {
		return err
	}
	if _, err := w.judge(a, delivery.Note{}, 1); err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		return errors.New("the service's answer is no JSON; is api_url the address of a WhatsApp Cloud API?")
	}
	return nil
}

func (w *whatsapp) url(path ...string) *url.URL { return w.graph.JoinPath(path...) }

func (w *whatsapp) request(ctx context.Context, method string, to *url.URL, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, &delivery.SendError{Outcome: delivery.Dead, Err: errURL}
	}
	req.Header.Set("Authorization", "Bearer "+w.o.Token)
	return req, nil
}
