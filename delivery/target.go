package delivery

import (
	"errors"
	"strings"
)

// UnmarshalText reads CHANNEL:ADDRESS or CHANNEL.
func (t *Target) UnmarshalText(b []byte) error {
	channel, address, found := strings.Cut(string(b), ":")
	if channel == "" || (found && address == "") {
		return errors.New("expected CHANNEL or CHANNEL:ADDRESS, like crm or team-bot:12345")
	}
	t.Channel, t.Address = channel, address
	return nil
}

// MarshalText writes CHANNEL:ADDRESS or CHANNEL.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String writes CHANNEL:ADDRESS or CHANNEL.
func (t Target) String() string {
	if t.Address == "" {
		return t.Channel
	}
	return t.Channel + ":" + t.Address
}
