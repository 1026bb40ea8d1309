package channel

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/afterbeep/afterbeep/delivery"
)

// hook posts to one address as Standard Webhooks 1.0 says.
type hook struct {
	*client
	address *url.URL
	signer  *standardwebhooks.Webhook
	rate    delivery.Rate
}

// checkHook returns what is wrong with the settings of a hook.
func checkHook(address, secret string, o HTTP) []error {
	wrong := o.validate()
	if _, err := webURL(address); err != nil {
		wrong = append(wrong, &settingError{"url", err.Error()})
	}
	key, found := strings.CutPrefix(secret, "whsec_")
	raw, err := base64.StdEncoding.DecodeString(key)
	if !found || err != nil || len(raw) < 24 || len(raw) > 64 {
		wrong = append(wrong, &settingError{"secret", "expected whsec_ and the base64 of 24 to 64 bytes, like the output of: echo whsec_$(openssl rand -base64 32)"})
	}
	return wrong
}

func openHook(address, secret string, o HTTP, env Env) (*hook, error) {
	to, err := o.address(address)
	if err != nil {
		return nil, err
	}
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	redact := newRedactor(to, secret, strings.TrimPrefix(secret, "whsec_"))
	return &hook{newClient(o, env, redact), to, signer, o.Rate}, nil
}

// hookStatuses says what a receiver's answer means. A receiver that fails may
// have kept what it got; it tells the repeat by the webhook-id.
var hookStatuses = []rule{
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

// Rate is how many requests the receiver takes.
func (h *hook) Rate() delivery.Rate { return h.rate }

// post sends a body about a parcel's note. The webhook-id is the job's, the
// same on every attempt, so the receiver can tell a repeat.
func (h *hook) post(ctx context.Context, p delivery.Parcel, body []byte, contentType string) (delivery.Receipt, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address.String(), bytes.NewReader(body))
	if err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: errURL}
	}
	now := time.Now()
	signature, err := h.signer.Sign(p.Key, now, body)
	if err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("signing the request: %w", err)}
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set(standardwebhooks.HeaderWebhookID, p.Key)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := h.do(req)
	if err != nil {
		return delivery.Receipt{}, err
	}
	return h.verdict(hookStatuses, answer, p.Note)
}

// Check asks the receiver for its headers: any answer shows that it is there.
func (h *hook) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, h.address.String(), http.NoBody)
	if err != nil {
		return errURL
	}
	_, err = h.do(req)
	return err
}
