package channel

import (
	"context"
	"log/slog"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// Options are the settings of one type of channel, with yaml, help, enum,
// required and secret tags: what is tagged secret is never printed.
//
// Settings may also have these methods:
//
//	Validate() error                    all that is wrong with them, without opening
//	CheckAddress(address string) error  what is wrong with a target's address, "" standing for
//	                                    the mailbox's linked chat, or its own number; without
//	                                    the method, targets have no address
//	NeedsPublicURL() bool               what is sent has a link, so that http.public_url must be set
//	NeedsCallback() bool                the service calls back below http.public_url
//	Registration() string               a file for the admin of the service, "" for none
//
// A channel may also be an io.Closer, closed when the gateway ends; an
// http.Handler, which answers its service's callbacks at /callback/NAME; and any
// of the interfaces beside delivery.Channel.
type Options interface {
	// Open makes the channel. Its error says what to mend in the settings.
	Open(env Env) (delivery.Channel, error)
}

// Env is what a channel gets from the gateway.
type Env struct {
	Log       *slog.Logger // says which channel it is
	UserAgent string       // "afterbeep/VERSION"
	Name      string       // of the channel in the configuration file
	PublicURL string       // where /callback/NAME is reached from outside, without a slash at its end; "" for nowhere
	Folder    string       // the channel's own, below the store's, for its user alone; "" when it is only tried

	Language func(mailbox string) string // of a mailbox's texts, like "de"; "" for English. nil where no mailbox is known
	Memory   delivery.Memory             // its own
	Chats    delivery.Chats              // linked at this channel
	// Report keeps what the service tells; the answer to a callback waits for
	// it. delivery.ErrNotFound for a job that is not known: nothing to be done.
	Report func(ctx context.Context, r delivery.Report) error
}

// texts are those of a mailbox's language.
func (e Env) texts(mailbox string) *text.Texts {
	if e.Language == nil {
		return text.For("")
	}
	return text.For(e.Language(mailbox))
}

// Table lists the types of channels: the name in the configuration file, and
// options that hold the defaults.
func Table() map[string]func() Options {
	return map[string]func() Options{
		"inbox":    func() Options { return &InboxOptions{} },
		"mail":     func() Options { return &MailOptions{HTTP: defaultHTTP()} },
		"matrix":   func() Options { return &MatrixOptions{HTTP: defaultHTTP()} },
		"sms":      func() Options { return &SMSOptions{Method: "POST", Format: "json", Segments: 2, HTTP: defaultHTTP()} },
		"telegram": func() Options { return defaultTelegram() },
		"webhook":  func() Options { return &WebhookOptions{HTTP: defaultHTTP()} },
		"whatsapp": func() Options { return defaultWhatsApp() },
	}
}

// settingError is a mistake in one setting of a channel.
type settingError struct{ key, expected string }

// Error names the setting.
func (e *settingError) Error() string { return e.key + ": " + e.expected }

// Setting is the key, and what was expected there.
func (e *settingError) Setting() (key, expected string) { return e.key, e.expected }
