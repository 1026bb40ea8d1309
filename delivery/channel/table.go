package channel

import (
	"log/slog"

	"github.com/afterbeep/afterbeep/delivery"
)

// Options are the settings of one type of channel, with yaml, help, enum,
// required and secret tags: what is tagged secret is never printed.
type Options interface {
	// Open makes the channel. Its error says what to mend in the settings; a
	// type that also has Validate() error tells all of it without opening.
	// A channel that is an io.Closer is closed when the gateway ends.
	Open(env Env) (delivery.Channel, error)
}

// Env is what a channel gets from the gateway.
type Env struct {
	Log       *slog.Logger
	UserAgent string // "afterbeep/VERSION"
}

// Table lists the types of channels: the name in the configuration file, and
// options that hold the defaults.
func Table() map[string]func() Options {
	return map[string]func() Options{
		"inbox":   func() Options { return &InboxOptions{} },
		"webhook": func() Options { return &WebhookOptions{HTTP: defaultHTTP()} },
	}
}

// settingError is a mistake in one setting of a channel.
type settingError struct{ key, expected string }

// Error names the setting.
func (e *settingError) Error() string { return e.key + ": " + e.expected }

// Setting is the key, and what was expected there.
func (e *settingError) Setting() (key, expected string) { return e.key, e.expected }
