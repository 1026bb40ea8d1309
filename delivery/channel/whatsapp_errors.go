package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// waCode says what an error code of the service means, in an answer as in a
// failed status.
type waCode struct {
	first, last int
	sub         int // the error_subcode; 0 for any
	outcome     delivery.Outcome
	credentials bool
	hint        string // what to do about it, "" when there is nothing to do
}

// closedCode is the answer to a message outside the recipient's window.
const closedCode = 131047

// pairCode says that one recipient gets too many messages.
const pairCode = 131056

// errClosed is a note to a recipient who must write first.
var errClosed = errors.New("the recipient has not written or called for 24 hours; " +
	"let him write to the number once, or set template on this channel, which invites him")

// whatsappCodes are Meta's error codes (Cloud API, "Error codes"); the first
// row that fits counts.
var whatsappCodes = []waCode{
	{0, 0, 0, delivery.Retry, true, "the token is refused; see token"},
	{1, 2, 0, delivery.Retry, false, ""},
	{3, 3, 0, delivery.Retry, true, "the app has no access to the WhatsApp product; see its permissions"},
	{4, 4, 0, delivery.Retry, false, "the app makes too many requests; lower rate"},
	{10, 10, 0, delivery.Retry, true, "the token lacks whatsapp_business_messaging, or the number is not assigned to its system user"},
	{33, 33, 0, delivery.Retry, true, "the phone number does not exist any more; see phone_number_id"},
	{100, 100, 33, delivery.Retry, true, "there is no such phone number for this token; see phone_number_id and token"},
	{100, 100, 0, delivery.Dead, false, "the service finds a parameter wrong; see the recipient's address and version"},
	{190, 190, 0, delivery.Retry, true, "the token has expired or was withdrawn; see token"},
	{200, 299, 0, delivery.Retry, true, "the token lacks a permission; it needs whatsapp_business_messaging"},
	{368, 368, 0, delivery.Retry, true, "the account is blocked for a violation of policy; see WhatsApp Manager"},
	{80007, 80007, 0, delivery.Retry, false, "the account makes too many requests; lower rate"},
	{130429, 130429, 0, delivery.Retry, false, "the number sends more than it may; lower rate"},
	{130472, 130472, 0, delivery.Dead, false, "the recipient is part of an experiment of Meta's and gets no such message"},
	{130497, 130497, 0, delivery.Dead, false, "the account may not send to the recipient's country"},
	{131000, 131000, 0, delivery.Retry, false, ""},
	{131005, 131005, 0, delivery.Retry, true, "the token lacks a permission; it needs whatsapp_business_messaging"},
	{131008, 131009, 0, delivery.Dead, false, "the service finds a parameter wrong; see the recipient's address and version"},
	{131016, 131016, 0, delivery.Retry, false, ""},
	{131021, 131021, 0, delivery.Dead, false, "the recipient's address is the business's own number"},
	{131026, 131026, 0, delivery.Dead, false, "the number is not at WhatsApp, has blocked this one, or its app is too old"},
	{131030, 131030, 0, delivery.Dead, false, "a test number sends to listed recipients alone; add this one under API Setup"},
	{131031, 131031, 0, delivery.Retry, true, "the account is locked; see WhatsApp Manager"},
	{131037, 131037, 0, delivery.Retry, true, "the number's display name is not approved; see WhatsApp Manager"},
	{131042, 131042, 0, delivery.Retry, true, "the account's payment method is not in order; see WhatsApp Manager"},
	{131045, 131045, 0, delivery.Retry, true, "the number is not registered rightly; register it again"},
	{closedCode, closedCode, 0, delivery.Dead, false, ""}, // errClosed says it
	{131048, 131048, 0, delivery.Retry, true, "too many recipients blocked or reported the number; see its quality in WhatsApp Manager"},
	{131049, 131049, 0, delivery.Dead, false, "Meta holds the message back, for this recipient's sake"},
	{131050, 131050, 0, delivery.Dead, false, "the recipient wants no such messages from this business"},
	{131051, 131051, 0, delivery.Dead, false, "the recipient's app cannot show this kind of message"},
	{131052, 131053, 0, delivery.Dead, false, "the service cannot use the file"},
	{pairCode, pairCode, 0, delivery.Retry, false, ""},
	{131057, 131057, 0, delivery.Retry, false, "the account is under maintenance"},
	{131062, 131062, 0, delivery.Dead, false, "such a message needs the recipient's number, not a business-scoped user id"},
	{132000, 132000, 0, delivery.Dead, false, waTemplateHint},
	{132001, 132001, 0, delivery.Dead, false, "there is no approved template of this name in this language; see template"},
	{132005, 132007, 0, delivery.Dead, false, waTemplateHint},
	{132012, 132012, 0, delivery.Dead, false, waTemplateHint},
	{132015, 132016, 0, delivery.Dead, false, "the template is paused or disabled for its quality; see WhatsApp Manager"},
	{132018, 132018, 0, delivery.Dead, false, waTemplateHint},
	{133004, 133004, 0, delivery.Retry, false, ""},
	{133000, 133015, 0, delivery.Retry, true, "the number is not registered at the Cloud API; register it"},
	{135000, 135000, 0, delivery.Dead, false, "the service finds a parameter wrong; see version"},
}

const waTemplateHint = "the template must have {{1}} and {{2}} in its body and one quick-reply button, and nothing else to fill in"

// whatsappStatuses says what an answer without a code means: it comes from
// something before the service. Nothing tells a repeat, so what may have been
// taken is unknown.
var whatsappStatuses = []rule{
	{200, 299, delivery.Done, false, ""},
	{300, 399, delivery.Dead, false, "redirects are not followed; see api_url and version"},
	{401, 401, delivery.Retry, true, "the token is refused; see token"},
	{403, 403, delivery.Retry, true, "the token is refused; see token"},
	{408, 408, delivery.Retry, false, ""},
	{425, 425, delivery.Retry, false, ""},
	{429, 429, delivery.Retry, false, "lower rate"},
	{400, 499, delivery.Dead, false, "the service does not want this message; see api_url and version"},
	{503, 503, delivery.Retry, false, ""},
	{500, 599, delivery.Unknown, false, ""},
}

// waError is an error object of the service.
type waError struct {
	Code    int    `json:"code"`
	Sub     int    `json:"error_subcode"`
	Title   string `json:"title"`   // in a status
	Message string `json:"message"` // in an answer
	Data    struct {
		Details string `json:"details"`
	} `json:"error_data"`
}

// said is the error in the service's own words.
func (e waError) said() string {
	for _, words := range []string{e.Data.Details, e.Message, e.Title} {
		if words != "" {
			return words
		}
	}
	return ""
}

func (e waError) rule() (waCode, bool) {
	for _, c := range whatsappCodes {
		if c.first <= e.Code && e.Code <= c.last && (c.sub == 0 || c.sub == e.Sub) {
			return c, true
		}
	}
	return waCode{}, false
}

// judge reads an answer: by the error's code where there is one, else by the
// status.
func (w *whatsapp) judge(a answer, n delivery.Note, attempt int) (waReply, error) {
	var body struct {
		Error *waError `json:"error"`
	}
	if a.status >= 300 && json.Unmarshal(a.body, &body) == nil && body.Error != nil {
		if c, known := body.Error.rule(); known {
			failed := &delivery.SendError{Outcome: c.outcome, Status: a.status, Credentials: c.credentials, Err: c.err(*body.Error, a.status)}
			if c.outcome == delivery.Retry {
				failed.After = max(a.after, pairWait(body.Error.Code, attempt))
			}
			return waReply{detail: w.redact.excerpt([]byte(body.Error.said()), n)}, failed
		}
	}
	receipt, err := w.verdict(whatsappStatuses, a, n)
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) && body.Error != nil {
		failed.Err = fmt.Errorf("%w, error %d", failed.Err, body.Error.Code)
	}
	return waReply{detail: receipt.Detail}, err
}

func (c waCode) err(e waError, status int) error {
	said := fmt.Errorf("the service answered error %d (%d %s)", e.Code, status, http.StatusText(status))
	switch {
	case e.Code == closedCode:
		return fmt.Errorf("%w: %w", said, errClosed)
	case c.hint != "":
		return fmt.Errorf("%w: %s", said, c.hint)
	}
	return said
}

// pairWait is how long to wait with one recipient: 4 s, 16 s, 64 s …, as Meta
// asks.
func pairWait(code, attempt int) time.Duration {
	if code != pairCode {
		return 0
	}
	return time.Second << (2 * min(max(attempt, 1), 6))
}
