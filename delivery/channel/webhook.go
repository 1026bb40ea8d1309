package channel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// WebhookOptions are the settings of a generic webhook: one POST a note, signed
// as Standard Webhooks 1.0 says.
type WebhookOptions struct {
	URL    string `yaml:"url" required:"true" secret:"true" help:"where notes are posted to" example:"https://crm.example/notes"`
	Secret string `yaml:"secret" required:"true" secret:"true" help:"signs each request: whsec_ and the base64 of 24 to 64 random bytes" example:"${CRM_SECRET}"`
	Attach bool   `yaml:"attach" help:"send the file along (multipart/form-data) in place of a link to it, which needs http.public_url"`
	HTTP   `hidden:"api_url|ack"`
}

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *WebhookOptions) Validate() error {
	wrong := checkHook(o.URL, o.Secret, o.HTTP)
	wrong = append(wrong, o.onlyAccepted("a webhook can say nothing more about a note"))
	return errors.Join(wrong...)
}

// NeedsPublicURL says that the receiver gets a link to the file.
func (o *WebhookOptions) NeedsPublicURL() bool { return !o.Attach }

// Open makes the channel.
func (o *WebhookOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	h, err := openHook(o.URL, o.Secret, o.HTTP, env)
	if err != nil {
		return nil, err
	}
	return &webhook{h, o.Attach, o.Within}, nil
}

// webhook posts each note to one address.
type webhook struct {
	*hook
	attach bool
	within time.Duration
}

// Within is how long a chain waits for the receiver.
func (w *webhook) Within() time.Duration { return w.within }

// Send posts the note.
func (w *webhook) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	body, contentType, err := w.body(ctx, p)
	if err != nil {
		return delivery.Receipt{}, err
	}
	return w.post(ctx, p, body, contentType)
}

// maxAttach is how much of a file is held in memory for a request.
const maxAttach = 8 << 20 // bytes

// body is the request's body and its content type: the event, and with attach
// the file beside it.
func (w *webhook) body(ctx context.Context, p delivery.Parcel) ([]byte, string, error) {
	e := newEvent(p.Note)
	if p.Note.Kind == delivery.Missed {
		if w.attach { // a receiver of forms gets nothing else
			return encodeForm(e, nil)
		}
		return encode(e)
	}
	if !w.attach {
		e.Data.Media.URL = p.Link(time.Now().Add(linkLife))
		if e.Data.Media.URL == "" {
			return nil, "", &delivery.SendError{Outcome: delivery.Dead, Err: errors.New("there is no address that a link to the file could lead to; set http.public_url, or attach: true on this channel")}
		}
		return encode(e)
	}
	if p.Note.Media.Bytes > maxAttach {
		return nil, "", &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the file has %d bytes, a webhook carries %d; set attach: false, and the receiver gets a link", p.Note.Media.Bytes, maxAttach)}
	}
	file, err := openNote(ctx, p)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }() // only read from
	body, contentType, err := encodeForm(e, file)
	if err != nil {
		return nil, "", unreadable(err)
	}
	return body, contentType, nil
}
