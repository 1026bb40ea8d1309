//go:build !goolm

package channel

import (
	"errors"
	"strings"
	"testing"

	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// A binary without encryption says so, and writes nothing in clear.
func matrixEncrypted(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "sealed-bot", nil), d.account(t, "sealed-person")
	made, err := person.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{
		Preset: "private_chat", Invite: []id.UserID{b.user}, InitialState: []*mevent.Event{{
			Type:    mevent.StateEncryption,
			Content: mevent.Content{Parsed: &mevent.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Send(t.Context(), to(made.RoomID.String(), recentNote()))
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Dead || !strings.Contains(err.Error(), "-tags goolm") {
		t.Errorf("an encrypted room: %v", err)
	}
	if n := len(history(t, person, made.RoomID)); n != 0 {
		t.Errorf("%d messages in clear", n)
	}
}

func matrixKeysGone(t *testing.T, _ *dendrite) { t.Skip("this binary has no keys") }
