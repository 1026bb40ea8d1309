package config

import (
	"errors"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
)

// picky is a type of channel whose targets have addresses of digits, or lead to
// the chat that the mailbox is linked to.
type picky struct{ channel.Options }

func (picky) CheckAddress(address string) error {
	if address != "" && address != "12345" {
		return errors.New("expected digits")
	}
	return nil
}

// What a channel says of an address is a mistake where the target stands.
func TestChannelsCheckAddresses(t *testing.T) {
	const key = "mailboxes[0].deliver[1]"
	for address, want := range map[string]string{
		"":      "",
		"12345": "",
		"Maria": "afterbeep.yaml:7:20: " + key + ": the address of a target of bot: expected digits",
	} {
		d := decoder{file: "afterbeep.yaml", at: map[string]position{key: {7, 20}}, wrong: map[string]bool{}}
		d.checkTarget(&Config{Channels: map[string]Channel{"bot": {Type: "bot", Options: picky{}}}}, key, delivery.Target{Channel: "bot", Address: address})
		got := ""
		if err := d.problems(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}
