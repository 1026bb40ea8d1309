package channel

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/afterbeep/afterbeep/delivery"
)

// session is one conversation with the server.
type session struct {
	mail *mail
	note delivery.Note // zero for a session that sends none
	to   string        // its recipient
	smtp *smtp.Client
	conn *wire
	step step
	stop func() bool // frees the session of its context, unless that has ended
	sent bool        // the message was written, its final dot included
	lost bool        // the server does not answer any more
}

// wire is a connection that counts what it read.
type wire struct {
	net.Conn
	read atomic.Int64 // bytes
}

// maxSession is far above what a server says in a session, TLS included: one
// that talks without end is not listened to.
const maxSession = 1 << 20 // bytes

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.read.Add(int64(n)) > maxSession {
		return 0, errors.New("the server talks without end")
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
	s.endWith(ctx)
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

// endWith has the session end with ctx.
func (s *session) endWith(ctx context.Context) {
	s.stop = context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) }) // fails on closed connections alone
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

// submit hands a message over, its final dot included, before ctx ends.
func (s *session) submit(ctx context.Context, message []byte) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	s.step = stepSender
	if limit, err := strconv.Atoi(s.limit()); err == nil && limit > 0 && len(message) > limit { // RFC 1870 §4
		return &textproto.Error{Code: 552, Msg: "over the size that the server declares"}
	}
	if err := s.smtp.Mail("<" + s.mail.from.Address + ">"); err != nil {
		return err
	}
	s.step = stepRecipient
	if err := s.smtp.Rcpt("<" + s.to + ">"); err != nil {
		return err
	}
	s.step = stepData
	data, err := s.smtp.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(message); err != nil {
		return err
	}
	s.step = stepMessage
	dot, _ := data.(*smtp.DataCloser)
	s.sent = dot.WriteCloser.Close() == nil // which does not wait; a server that hung up may have said why
	return nil
}

// answer is what the server says to the message, without what it must not show.
// One that has the message is waited for until ctx ends.
func (s *session) answer(ctx context.Context) (said string, err error) {
	if s.sent && s.stop() {
		s.endWith(ctx)
	}
	if _, said, err = s.smtp.Text.ReadResponse(250); err != nil {
		return "", err
	}
	return cmp.Or(s.excerpt(said), "250"), nil
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
