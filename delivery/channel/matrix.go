package channel

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// MatrixOptions are the settings of an account on a Matrix homeserver that
// sends the notes: into clear rooms always, into encrypted ones where the
// binary is built with the tag goolm.
//
// With a password each machine logs in as a device of its own, kept in its
// folder, and logs in again when the server has ended the login. A token is
// one device: it serves one machine, and cannot be renewed here.
type MatrixOptions struct {
	Homeserver  string            `yaml:"homeserver" required:"true" help:"the address of the account's homeserver" example:"https://matrix.example.org"`
	User        string            `yaml:"user" required:"true" help:"the account that sends the notes" example:"\"@afterbeep:example.org\""`
	Password    string            `yaml:"password" secret:"true" help:"the account's; each machine logs in as a device of its own" example:"${MATRIX_PASSWORD}"`
	Token       string            `yaml:"token" secret:"true" help:"an access token in place of the password, for one machine"`
	RecoveryKey string            `yaml:"recovery_key" secret:"true" help:"of an account whose devices are cross-signed already; without it the channel sets cross-signing up and keeps the key"`
	Appservice  *MatrixAppservice `yaml:"appservice" help:"registered at the homeserver: in clear rooms each caller writes as a user of their own" example:"{token: \"${MATRIX_AS_TOKEN}\", hs_token: \"${MATRIX_HS_TOKEN}\", prefix: afterbeep_}"`
	HTTP
}

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *MatrixOptions) Validate() error {
	wrong := o.validate()
	if _, err := webURL(o.Homeserver); err != nil {
		wrong = append(wrong, &settingError{"homeserver", err.Error()})
	}
	if !matrixUser.MatchString(o.User) {
		wrong = append(wrong, &settingError{"user", "expected the whole user id, like @afterbeep:example.org"})
	}
	if o.Password != "" && o.Token != "" {
		wrong = append(wrong, &settingError{"token", "expected a token or the account's password, not both"})
	}
	if o.Ack == string(delivery.WasDelivered) {
		wrong = append(wrong, &settingError{"ack", "expected accepted or read: a homeserver tells nothing of devices"})
	}
	return errors.Join(wrong...)
}

// The ids of Matrix (appendices 4.2): a room's may come without a server as of
// room version 12.
var (
	matrixUser    = regexp.MustCompile(`^@[!-9;-~]+:[\w.:\[\]-]+$`)
	matrixAddress = regexp.MustCompile(`^(![!-9;-~]+(:[\w.:\[\]-]+)?|[#@][^\s:]+:[\w.:\[\]-]+)$`)
)

// CheckAddress says what is wrong with a target's address.
func (o *MatrixOptions) CheckAddress(address string) error {
	if address == "" || matrixAddress.MatchString(address) {
		return nil
	}
	return errors.New("expected a room like !abc:example.org, an alias like #office:example.org, a user like @maria:example.org, or nothing for the chat that the mailbox is linked to")
}

// Open makes the channel. It connects when it is first used.
func (o *MatrixOptions) Open(env Env) (delivery.Channel, error) {
	if err := errors.Join(o.Validate(), o.Appservice.Validate()); err != nil {
		return nil, err
	}
	if o.Password == "" && o.Token == "" {
		return nil, &settingError{"password", "expected the account's password, or a token in its place"}
	}
	server, err := o.address(o.Homeserver)
	if err != nil {
		return nil, err
	}
	m := &matrix{
		o: o, env: env, server: server, user: id.UserID(o.User),
		opening: make(turn, 1), making: make(turn, 1), invitations: make(chan directInvite, mostInvitations),
	}
	m.client = newClient(o.HTTP, env, newRedactor(server, o.Password, o.Token, o.RecoveryKey))
	if a := o.Appservice; a != nil {
		m.client.redact.secrets = append(m.client.redact.secrets, a.Token, a.HSToken)
	}
	m.client.http.Transport = matrixTransport{m.client, m.client.http.Transport}
	return m, nil
}

// matrix writes into rooms of a homeserver.
type matrix struct {
	o      *MatrixOptions
	env    Env
	server *url.URL
	user   id.UserID
	client *client

	opening     turn
	device      *matrixDevice     // nil until the first use
	making      turn              // held while a direct chat is made: each recipient gets one
	invitations chan directInvite // that are to be accepted
}

// turn is taken by one at a time; who waits for it can give up.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) giveBack() { <-t }

// Ack is what settles a chain.
func (m *matrix) Ack() delivery.What { return delivery.What(m.o.Ack) }

// Tells says that read receipts come, and nothing more.
func (m *matrix) Tells(level delivery.What) bool { return level == delivery.WasRead }

// Within is how long a chain waits for this channel.
func (m *matrix) Within() time.Duration { return m.o.Within }

// Rate is how many sends the homeserver takes.
func (m *matrix) Rate() delivery.Rate { return m.o.Rate }

// DeepLink opens a chat with the account: Matrix has no links that bring a
// text along.
func (m *matrix) DeepLink(_ context.Context, code string) (link, say string, err error) {
	return "https://matrix.to/#/" + url.PathEscape(m.o.User), "link " + code, nil
}

// Check proves the credentials without leaving a device behind: a token, or
// that of the kept device, by asking who it is; a password by a login that is
// ended at once.
func (m *matrix) Check(ctx context.Context) error {
	d, err := m.open(ctx)
	if err != nil {
		return m.failure(err)
	}
	who, err := d.Whoami(ctx)
	if err != nil {
		return m.failure(err)
	}
	if who.UserID != m.user {
		return &delivery.SendError{Outcome: delivery.Retry, Credentials: true, Err: errors.New("the token belongs to another account than user says")}
	}
	return m.checkAppservice(ctx)
}

// Close ends what is open; a login that no folder keeps is ended too.
func (m *matrix) Close() error {
	m.opening <- struct{}{}
	defer m.opening.giveBack()
	if m.device != nil {
		m.device.close(m.env.Log)
		m.device = nil
	}
	return m.client.Close()
}

// matrixKey joins the parts of a key of the memory.
func matrixKey(parts ...string) string { return strings.Join(parts, " ") }

// matrixLife is how long it is remembered what belongs to a note that was sent.
const matrixLife = 30 * 24 * time.Hour
