package channel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/textproto"
	"os"
	"slices"

	"github.com/afterbeep/afterbeep/delivery"
)

// step is what was asked of the server last; it reads in "… in answer to …".
type step string

// The steps of a session, in their order.
const (
	stepConnect   step = "the connection"
	stepHello     step = "the greeting"
	stepTLS       step = "STARTTLS"
	stepLogin     step = "the login"
	stepNoop      step = "NOOP"
	stepSender    step = "the sender"
	stepRecipient step = "the recipient"
	stepData      step = "DATA"
	stepMessage   step = "the message"
)

// mailReplies says what a reply means at any step (RFC 5321 §4.2.3, RFC 4954
// §6), and mailRefusals what every other refusal means at one.
var mailReplies = []rule{
	{400, 499, delivery.Retry, false, ""},
	{530, 530, delivery.Retry, true, "the server wants a login; set user and password"},
	{534, 535, delivery.Retry, true, "the server refuses the login; see user and password (some services want an app password)"},
	{538, 538, delivery.Retry, true, "the server wants TLS; use smtps://"},
}

var mailRefusals = map[step][]rule{
	stepConnect: {{500, 599, delivery.Retry, true, "the server does not serve this machine; see server"}},
	stepHello:   {{500, 599, delivery.Retry, true, "the server does not serve this machine; see server"}},
	stepTLS:     {{500, 599, delivery.Retry, true, "the server refuses TLS; see server"}},
	stepLogin:   {{500, 599, delivery.Retry, true, "the server refuses the login; see user and password (some services want an app password)"}},
	stepNoop:    {{500, 599, delivery.Retry, true, "the server does not serve this machine; see server"}},
	stepSender: {
		tooLarge(523), tooLarge(552),
		{500, 599, delivery.Retry, true, "the server refuses the sender; see from, and whether user may send for it"},
	},
	stepRecipient: {
		{552, 552, delivery.Dead, false, "the recipient's mailbox is full"},
		{500, 599, delivery.Dead, false, "the server does not deliver to this address; see the mailbox's target"},
	},
	stepData: {
		tooLarge(523), tooLarge(552),
		{500, 599, delivery.Dead, false, "the server does not want this message"},
	},
	stepMessage: {
		tooLarge(523), tooLarge(552),
		{500, 599, delivery.Dead, false, "the server does not want this message"},
	},
}

// tooLarge is the reply to a message over the server's limit (RFC 1870 §6).
func tooLarge(code int) rule {
	return rule{code, code, delivery.Dead, false, "the note is too large for the server; lower media.max_duration, or deliver by a channel that sends a link"}
}

// settingsError is what the server lacks that the settings ask for.
type settingsError struct{ error }

// failed says what an error of the step means.
func (s *session) failed(err error) *delivery.SendError {
	if refused := (*textproto.Error)(nil); errors.As(err, &refused) {
		return s.refused(refused.Code)
	}
	s.lost = true
	var wanting settingsError
	failed := &delivery.SendError{
		Outcome:     delivery.Retry,
		Credentials: errors.Is(err, errPrivate) || errors.As(err, &wanting),
		Err:         fmt.Errorf("the session broke off at %s: %w", s.step, s.safe(err)),
	}
	if s.sent {
		failed.Outcome = delivery.Unknown
		failed.Err = fmt.Errorf("the message got through, the server's answer did not: %w", s.safe(err))
	}
	return failed
}

// refused reads a reply by the tables.
func (s *session) refused(code int) *delivery.SendError {
	r := find(slices.Concat(mailReplies, mailRefusals[s.step]), code)
	failed := &delivery.SendError{Outcome: r.outcome, Status: code, Credentials: r.credentials}
	failed.Err = hinted(fmt.Errorf("the server answered %d to %s", code, s.step), r.hint)
	return failed
}

// safe is an error whose text has nothing that it must not show, and says what
// may be wrong with the settings.
func (s *session) safe(err error) error {
	var unknown x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	switch text := s.mail.redact.hide(err.Error(), s.to); {
	case late && s.conn != nil && s.step == stepConnect:
		return errors.New("the server says nothing; if its port begins with TLS, use smtps://")
	case late:
		return errors.New("the time for an attempt is over")
	case errors.As(err, &plain):
		return errors.New("the server does not begin with TLS; use smtp://, which demands STARTTLS")
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; name the authority's certificate in ca_file", err)
	case text != err.Error():
		return errors.New(text)
	}
	return err
}
