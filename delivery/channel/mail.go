package channel

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// MailOptions are the settings of e-mail: one message a note, handed to a mail
// server as a mail program does (RFC 6409).
type MailOptions struct {
	Server     string                 `yaml:"server" required:"true" help:"the mail server: smtps://HOST:465, or smtp://HOST:587, which must offer STARTTLS" example:"smtps://mail.example:465"`
	User       string                 `yaml:"user" help:"the login at the server; empty for none" example:"voicemail@example.org"`
	Password   string                 `yaml:"password" secret:"true" help:"the login's password" example:"${MAIL_PASSWORD}"`
	From       string                 `yaml:"from" required:"true" help:"the sender; its name stands behind the caller's" example:"\"Voicemail <voicemail@example.org>\""`
	CAFile     string                 `yaml:"ca_file" path:"true" help:"the certificates (PEM) that may sign the server's; empty for the system's"`
	AllowPlain bool                   `yaml:"allow_plain" help:"send, and log in, without TLS where the server offers none"`
	HTTP       `hidden:"api_url|ack"` // what all channels have; no request goes over HTTP
}

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *MailOptions) Validate() error {
	var wrong []error
	if o.APIURL != "" {
		wrong = append(wrong, &settingError{"api_url", "server names the mail server; take this away"})
	}
	wrong = append(wrong, o.onlyAccepted("a mail server says nothing more about a message"))
	if _, _, err := mailServer(o.Server); err != nil {
		wrong = append(wrong, &settingError{"server", err.Error()})
	}
	if from, err := netmail.ParseAddress(o.From); err != nil || o.CheckAddress(from.Address) != nil {
		wrong = append(wrong, &settingError{"from", "expected an address, with a name or without, like Voicemail <voicemail@example.org>"})
	}
	if (o.User == "") != (o.Password == "") {
		wrong = append(wrong, &settingError{"password", "user and password go together: set both, or neither"})
	}
	return errors.Join(wrong...)
}

// CheckAddress says what is wrong with a recipient.
func (o *MailOptions) CheckAddress(address string) error {
	parsed, err := netmail.ParseAddress(address)
	if err != nil || parsed.Address != address || strings.Trim(address, printableASCII) != "" {
		return errors.New("expected an e-mail address, like anna@example.org; a domain with other letters in its xn-- form")
	}
	return nil
}

// printableASCII is what an address is written in where a server need not know
// SMTPUTF8 (RFC 6531).
const printableASCII = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.@"

// mailServer takes the address of a mail server apart. implicit says that TLS
// begins at once (RFC 8314), not by STARTTLS.
func mailServer(text string) (address string, implicit bool, err error) {
	u, err := url.Parse(text)
	ports := map[string]string{"smtps": "465", "smtp": "587"}
	if err != nil || u.Hostname() == "" || ports[u.Scheme] == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", false, errors.New("expected smtps://HOST:465 or smtp://HOST:587, and the login in user and password")
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), ports[u.Scheme])), u.Scheme == "smtps", nil
}

// Open makes the channel.
func (o *MailOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	from, err := netmail.ParseAddress(o.From)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	address, implicit, err := mailServer(o.Server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	roots, err := mailRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	return &mail{
		o: *o, from: *from, memory: env.Memory,
		address: address, implicit: implicit,
		dial: guardedDialer(o.AllowPrivate).DialContext,
		tls:  &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12},
		redact: newRedactor(&url.URL{Host: address}, o.User, o.Password, from.Address,
			encoded(o.User), encoded(o.Password), encoded("\x00"+o.User+"\x00"+o.Password)),
	}, nil
}

// encoded is how a login's parts cross the line (RFC 4954 §4).
func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// mailRoots reads ca_file; nil are the system's.
func mailRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate; expected PEM, -----BEGIN CERTIFICATE-----", path)
	}
	return roots, nil
}

// mail hands messages to one mail server, each in a session of its own.
type mail struct {
	o        MailOptions
	from     netmail.Address
	memory   delivery.Memory
	address  string
	implicit bool // TLS from the first byte
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	tls      *tls.Config
	redact   redactor
}

// Within is how long a chain waits for the server.
func (m *mail) Within() time.Duration { return m.o.Within }

// Rate is how many messages the server takes.
func (m *mail) Rate() delivery.Rate { return m.o.Rate }

// What an attempt may take. A server that gets no further is tried again soon,
// as in any other channel; one that has the message gets the time to say so, as
// it would get the message twice if it were not waited for.
const (
	untilTheDot = 30 * time.Second // connecting included
	afterTheDot = 10 * time.Minute // RFC 5321 §4.5.3.2.6
)

// Longest is what an attempt may take.
func (m *mail) Longest() time.Duration { return untilTheDot + afterTheDot }

// Send hands the note's message over. Every attempt has the same Message-ID.
func (m *mail) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	if err := m.o.CheckAddress(p.Address); err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the target's address: %w", err)}
	}
	hurry, cancel := context.WithTimeout(ctx, untilTheDot)
	defer cancel()
	message, id, err := m.message(hurry, p)
	if err != nil {
		return delivery.Receipt{}, err
	}
	s := &session{mail: m, note: p.Note, to: p.Address}
	defer s.close()
	if err := s.submit(hurry, message); err != nil {
		return delivery.Receipt{Detail: s.reply(err)}, s.failed(err)
	}
	said, err := s.answer(ctx)
	if err != nil {
		return delivery.Receipt{Detail: s.reply(err)}, s.failed(err)
	}
	return delivery.Receipt{ID: id, Detail: said}, nil
}

// Check logs in and leaves again.
func (m *mail) Check(ctx context.Context) error {
	s := &session{mail: m}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return s.failed(err)
	}
	s.step = stepNoop
	if err := s.smtp.Noop(); err != nil {
		return s.failed(err)
	}
	return nil
}
