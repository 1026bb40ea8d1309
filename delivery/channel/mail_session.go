package channel

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail/smtp"

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

// session is one conversation with the server.
type session struct {
	mail *mail
	note delivery.Note // zero for a session that sends none
	to   string        // its recipient
	smtp *smtp.Client
	conn *wire
	step step
	stop func() bool
	lost bool // the server does not answer any more
}

// wire is a connection that remembers whether a write has failed: what came
// last of a message, its final dot, cannot have arrived then.
type wire struct {
	net.Conn
	broken atomic.Bool
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}

// open connects, secures the connection and logs in. The session ends with ctx.
func (s *session) open(ctx context.Context) error {
	m := s.mail
	s.step = stepConnect
	conn, err := m.dial(ctx, "tcp", m.address)
	if err != nil {
		return err
	}
	s.conn = &wire{Conn: conn}
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.conn.SetDeadline(deadline) // fails on closed connections alone
	}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	var secured net.Conn = s.conn
	if m.implicit {
		secured = tls.Client(s.conn, m.tls)
	}
	if s.smtp, err = smtp.NewClient(secured, m.tls.ServerName); err != nil {
		return err
	}
	s.step = stepHello
	if err := s.smtp.Hello(literal(conn.LocalAddr())); err != nil {
		return err
	}
	if err := s.secure(); err != nil {
		return err
	}
	return s.login()
}

// literal is how a client without a name of its own greets (RFC 5321 §4.1.3).
func literal(local net.Addr) string {
	tcp, ok := local.(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	default:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
}

// settingsError is what the server lacks that the settings ask for.
type settingsError struct{ error }

// secure begins TLS where it has not begun.
func (s *session) secure() error {
	if s.mail.implicit {
		return nil
	}
	s.step = stepTLS
	if offered, _ := s.smtp.Extension("STARTTLS"); offered {
		return s.smtp.StartTLS(s.mail.tls)
	}
	if s.mail.o.AllowPlain {
		return nil
	}
	return settingsError{errors.New("the server offers no STARTTLS; use smtps://, or set allow_plain: true where the way to it is safe")}
}

// login logs in by the first way that both sides know.
func (s *session) login() error {
	o := s.mail.o
	if o.User == "" {
		return nil
	}
	s.step = stepLogin
	_, offered := s.smtp.Extension("AUTH")
	host := s.mail.tls.ServerName
	for _, way := range []struct {
		name string
		auth smtp.Auth
	}{
		{"PLAIN", smtp.PlainAuth("", o.User, o.Password, host, o.AllowPlain)},
		{"LOGIN", smtp.LoginAuth(o.User, o.Password, host, o.AllowPlain)},
	} {
		for name := range strings.FieldsSeq(offered) {
			if strings.EqualFold(name, way.name) {
				return s.smtp.Auth(way.auth)
			}
		}
	}
	return settingsError{errors.New("the server offers no login by PLAIN or LOGIN; see server and its port, or leave user and password away")}
}

// submit hands a message over and returns what the server said last, without
// what it must not show.
func (s *session) submit(ctx context.Context, message []byte) (said string, err error) {
	if err := s.open(ctx); err != nil {
		return s.reply(err), err
	}
	s.step = stepSender
	if limit, err := strconv.Atoi(s.limit()); err == nil && limit > 0 && len(message) > limit { // RFC 1870 §4
		return "", &textproto.Error{Code: 552, Msg: "over the size that the server declares"}
	}
	if err := s.smtp.Mail("<" + s.mail.from.Address + ">"); err != nil {
		return s.reply(err), err
	}
	s.step = stepRecipient
	if err := s.smtp.Rcpt("<" + s.to + ">"); err != nil {
		return s.reply(err), err
	}
	s.step = stepData
	data, err := s.smtp.Data()
	if err != nil {
		return s.reply(err), err
	}
	if _, err := data.Write(message); err != nil {
		return "", err
	}
	s.step = stepMessage
	if err := data.Close(); err != nil {
		return s.reply(err), err
	}
	answer, _ := data.(*smtp.DataCloser)
	return cmp.Or(s.excerpt(answer.ServerResponse()), "250"), nil
}

// limit is the size of messages that the server declares, in bytes.
func (s *session) limit() string {
	_, size := s.smtp.Extension("SIZE")
	return size
}

// reply is what the server said where it refused.
func (s *session) reply(err error) string {
	if refused := (*textproto.Error)(nil); errors.As(err, &refused) {
		return s.excerpt(refused.Msg)
	}
	return ""
}

// addresses are words that could be an e-mail address.
var addresses = regexp.MustCompile(`\S+@\S+`)

func (s *session) excerpt(said string) string {
	said = addresses.ReplaceAllString(s.mail.redact.hide(said, s.to), hidden)
	return s.mail.redact.excerpt([]byte(said), s.note)
}

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
	if s.step == stepMessage && !s.conn.broken.Load() {
		failed.Outcome = delivery.Unknown
		failed.Err = fmt.Errorf("the message got through, the server's answer did not: %w", s.safe(err))
	}
	return failed
}

// refused reads a reply by the tables.
func (s *session) refused(code int) *delivery.SendError {
	r := find(slices.Concat(mailReplies, mailRefusals[s.step]), code)
	failed := &delivery.SendError{Outcome: r.outcome, Status: code, Credentials: r.credentials}
	failed.Err = fmt.Errorf("the server answered %d to %s", code, s.step)
	if r.hint != "" {
		failed.Err = fmt.Errorf("%w: %s", failed.Err, r.hint)
	}
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

// close says goodbye to a server that is still there, and hangs up.
func (s *session) close() {
	if s.conn == nil {
		return
	}
	if s.stop() && s.smtp != nil && !s.lost {
		_ = s.conn.SetDeadline(time.Now().Add(time.Second))
		_ = s.smtp.Quit() // what was said counts already
	}
	_ = s.conn.Close()
}
