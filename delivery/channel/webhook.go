package channel

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

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
	wrong := o.validate()
	if _, err := webURL(o.URL); err != nil {
		wrong = append(wrong, &settingError{"url", err.Error()})
	}
	if o.Ack != "accepted" {
		wrong = append(wrong, &settingError{"ack", fmt.Sprintf("expected accepted, not %q: a webhook can say nothing more about a note", o.Ack)})
	}
	key, found := strings.CutPrefix(o.Secret, "whsec_")
	raw, err := base64.StdEncoding.DecodeString(key)
	if !found || err != nil || len(raw) < 24 || len(raw) > 64 {
		wrong = append(wrong, &settingError{"secret", "expected whsec_ and the base64 of 24 to 64 bytes, like the output of: echo whsec_$(openssl rand -base64 32)"})
	}
	return errors.Join(wrong...)
}

// NeedsPublicURL says that the receiver gets a link to the file.
func (o *WebhookOptions) NeedsPublicURL() bool { return !o.Attach }

// Open makes the channel.
func (o *WebhookOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	address, err := o.address(o.URL)
	if err != nil {
		return nil, err
	}
	signer, err := standardwebhooks.NewWebhook(o.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	redact := newRedactor(address, o.Secret, strings.TrimPrefix(o.Secret, "whsec_"))
	return &webhook{newClient(o.HTTP, env, redact), address, signer, o.Attach, o.Within}, nil
}

// webhook posts each note to one address. The webhook-id is the job's, the same
// on every attempt, so the receiver can tell a repeat.
type webhook struct {
	*client
	address *url.URL
	signer  *standardwebhooks.Webhook
	attach  bool
	within  time.Duration
}

// webhookStatuses says what a receiver's answer means.
var webhookStatuses = []rule{
	{200, 299, delivery.Done, false, ""},
	{300, 399, delivery.Dead, false, "redirects are not followed; set url to the address it leads to"},
	{401, 401, delivery.Retry, true, "the receiver refuses the signature or the login; see secret and url"},
	{403, 403, delivery.Retry, true, "the receiver refuses the signature or the login; see secret and url"},
	{408, 408, delivery.Retry, false, ""},
	{410, 410, delivery.Dead, false, "the receiver wants no more notes; take the channel out of the mailboxes"},
	{413, 413, delivery.Dead, false, "the note is too large for the receiver; set attach: false, and it gets a link"},
	{425, 425, delivery.Retry, false, ""},
	{429, 429, delivery.Retry, false, ""},
	{400, 499, delivery.Dead, false, "the receiver does not want this note"},
	{500, 599, delivery.Retry, false, ""},
}

// Within is how long a chain waits for the receiver.
func (w *webhook) Within() time.Duration { return w.within }

// Send posts the note.
func (w *webhook) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	body, contentType, err := w.body(ctx, p)
	if err != nil {
		return delivery.Receipt{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.address.String(), bytes.NewReader(body))
	if err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: errURL}
	}
	now := time.Now()
	signature, err := w.signer.Sign(p.Key, now, body)
	if err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("signing the request: %w", err)}
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set(standardwebhooks.HeaderWebhookID, p.Key)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := w.do(req)
	if err != nil {
		return delivery.Receipt{}, err
	}
	return w.verdict(webhookStatuses, answer, p.Note)
}

// Check asks the receiver for its headers: any answer shows that it is there.
func (w *webhook) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.address.String(), http.NoBody)
	if err != nil {
		return errURL
	}
	_, err = w.do(req)
	return err
}

const (
	linkLife  = 7 * 24 * time.Hour // as long as a job lives
	maxAttach = 8 << 20            // bytes of a file that are held in memory for a request
)

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
	file, err := p.Open(ctx)
	if err != nil {
		return nil, "", unreadable(err)
	}
	defer func() { _ = file.Close() }() // only read from
	body, contentType, err := encodeForm(e, io.LimitReader(file, maxAttach))
	if err != nil {
		return nil, "", unreadable(err)
	}
	return body, contentType, nil
}

// unreadable is a file that the store cannot give.
func unreadable(err error) *delivery.SendError {
	outcome := delivery.Retry
	if errors.Is(err, delivery.ErrNotFound) {
		outcome = delivery.Dead
	}
	return &delivery.SendError{Outcome: outcome, Err: fmt.Errorf("the note's file cannot be read: %w", err)}
}
