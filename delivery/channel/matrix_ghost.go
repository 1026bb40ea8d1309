package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// MatrixAppservice are the settings of an application service: users of their
// own for callers, the ghosts. The homeserver's admin registers it with the
// text of Registration.
type MatrixAppservice struct {
	Token   string `yaml:"token" required:"true" secret:"true" help:"as_token of the registration"`
	HSToken string `yaml:"hs_token" secret:"true" help:"hs_token of the registration"`
	Prefix  string `yaml:"prefix" help:"what the callers' users begin with; afterbeep_ by default"`
}

var matrixPrefix = regexp.MustCompile(`^[a-z0-9._=-]+$`)

// Validate returns what is wrong with the settings, or nil.
func (a *MatrixAppservice) Validate() error {
	if a != nil && a.Prefix != "" && !matrixPrefix.MatchString(a.Prefix) {
		return &settingError{"prefix", "expected lower-case letters, digits and . _ = -"}
	}
	return nil
}

func (a *MatrixAppservice) prefix() string {
	if a.Prefix == "" {
		return "afterbeep_"
	}
	return a.Prefix
}

// Registration is the file that the homeserver's admin registers, YAML; "" when
// there is no appservice. It holds the secrets of the settings.
func (o *MatrixOptions) Registration() string {
	if o.Appservice == nil {
		return ""
	}
	_, server, _ := strings.Cut(o.User, ":")
	return fmt.Sprintf(`id: afterbeep
url: null # nothing is pushed: receipts come by the account's own sync
as_token: %q
hs_token: %q
sender_localpart: %q
rate_limited: false
namespaces:
  users:
    - exclusive: true
      regex: %q
  aliases: []
  rooms: []
`, o.Appservice.Token, o.Appservice.HSToken, o.Appservice.prefix()+"service",
		"@"+regexp.QuoteMeta(o.Appservice.prefix())+".*:"+regexp.QuoteMeta(server))
}

// ours says whether a user is the account or a ghost.
func (m *matrix) ours(user id.UserID) bool {
	if user == m.user {
		return true
	}
	return m.o.Appservice != nil && strings.HasPrefix(user.String(), "@"+m.o.Appservice.prefix()) && user.Homeserver() == m.user.Homeserver()
}

// ghost is the user of a note's caller; nil where there is none. Its id is a
// keyed hash: nobody finds out by asking for it who called.
func (m *matrix) ghost(n delivery.Note) *mautrix.Client {
	a := m.o.Appservice
	if a == nil || n.Caller.Private || n.Caller.Number == "" {
		return nil
	}
	mac := hmac.New(sha256.New, []byte(a.Token))
	mac.Write([]byte(n.Caller.Number))
	localpart := a.prefix() + hex.EncodeToString(mac.Sum(nil))[:16]
	ghost := m.api(id.NewUserID(localpart, m.user.Homeserver()), a.Token)
	ghost.SetAppServiceUserID = true
	return ghost
}

// register makes a ghost and its name known to the server, once a month; not
// before it writes: its name is in clear there.
func (m *matrix) register(ctx context.Context, ghost *mautrix.Client, n delivery.Note) error {
	key, name := matrixKey("ghost", ghost.UserID.String()), ghostName(n)
	known, err := m.env.recall(ctx, key)
	if err != nil || known == name {
		return err
	}
	_, _, err = m.api("", ghost.AccessToken).Register(ctx, &mautrix.ReqRegister[any]{
		Type: mautrix.AuthTypeAppservice, Username: ghost.UserID.Localpart(), InhibitLogin: true,
	})
	if err == nil || refused(err, mautrix.MUserInUse) {
		err = ghost.SetDisplayName(ctx, name)
	}
	if err != nil {
		return asService(err)
	}
	m.env.remember(ctx, delivery.Entry{Key: key, Value: []byte(name), For: matrixLife, Mailbox: n.Recipient.Number, Note: n.ID})
	return nil
}

// asService tells a refused application service from a refused account.
func asService(err error) error {
	if refused(err, mautrix.MUnknownToken) || refused(err, mautrix.MExclusive) {
		return &delivery.SendError{Outcome: delivery.Retry, Credentials: true, Err: errors.New("the homeserver does not know the application service; register it there, see appservice")}
	}
	return err
}

// enterAs brings the ghost into a room, by the account's invitation where it
// needs one. Where the account may not invite, it writes itself: nil.
func (m *matrix) enterAs(ctx context.Context, d *matrixDevice, ghost *mautrix.Client, room id.RoomID, n delivery.Note) (*mautrix.Client, error) {
	if err := m.register(ctx, ghost, n); err != nil {
		return nil, err
	}
	_, err := ghost.JoinRoomByID(ctx, room)
	if refused(err, mautrix.MForbidden) {
		if _, err = d.InviteUser(ctx, room, &mautrix.ReqInviteUser{UserID: ghost.UserID}); err == nil {
			_, err = ghost.JoinRoomByID(ctx, room)
		}
	}
	if refused(err, mautrix.MForbidden) {
		return nil, nil
	}
	return ghost, asService(err)
}

// checkAppservice proves the application service's token.
func (m *matrix) checkAppservice(ctx context.Context) error {
	a := m.o.Appservice
	if a == nil {
		return nil
	}
	if _, err := m.api("", a.Token).Whoami(ctx); err != nil {
		return m.failure(asService(err))
	}
	return nil
}

// ghostName is how the caller is called.
func ghostName(n delivery.Note) string { return text.For(n.Recipient.Language).Who(n.Caller) }
