package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/afterbeep/afterbeep/delivery"
)

// telegramChat is a chat's id, or the @name of a public one.
type telegramChat string

// MarshalJSON writes an id as a number, a name as a string.
func (c telegramChat) MarshalJSON() ([]byte, error) {
	if c.named() {
		return json.Marshal(string(c))
	}
	return []byte(c), nil
}

func (c telegramChat) named() bool { return strings.HasPrefix(string(c), "@") }

// shared says that the chat may have more than one member: ids of groups and
// channels are negative.
func (c telegramChat) shared() bool { return c.named() || strings.HasPrefix(string(c), "-") }

func chatOf(id int64) telegramChat { return telegramChat(strconv.FormatInt(id, 10)) }

// telegramTarget is where a message goes.
type telegramTarget struct {
	chat   telegramChat // "" for the chat that the mailbox is linked to
	topic  int64        // of a forum, 0 for none
	fixed  bool         // the address names the topic
	linked string       // the address that the mailbox is linked to, "" when the target has its own
}

var (
	telegramName = regexp.MustCompile(`^@[A-Za-z][A-Za-z0-9_]{3,31}$`)
	errTelegram  = errors.New("expected a chat's id like 12345 or -1001234567890, @NAME of a public group or channel, CHAT/TOPIC for a topic of a forum, or nothing for the chat that the mailbox links")
)

// parseTelegram reads a target's address.
func parseTelegram(address string) (to telegramTarget, err error) {
	if address == "" {
		return to, nil
	}
	chat, topic, fixed := strings.Cut(address, "/")
	to.chat, to.fixed = telegramChat(chat), fixed
	if fixed {
		if to.topic, err = strconv.ParseInt(topic, 10, 64); err != nil || to.topic <= 0 {
			return telegramTarget{}, errTelegram
		}
		if to.topic == 1 { // the general topic, which requests do not name
			to.topic = 0
		}
	}
	if to.chat.named() {
		if !telegramName.MatchString(chat) {
			return telegramTarget{}, errTelegram
		}
		return to, nil
	}
	id, err := strconv.ParseInt(chat, 10, 64)
	if err != nil || id == 0 || chatOf(id) != to.chat {
		return telegramTarget{}, errTelegram
	}
	return to, nil
}

// target is where a parcel goes now: the linked chat where the address names
// none, and the new one where a group has moved.
func (t *telegram) target(ctx context.Context, p delivery.Parcel) (telegramTarget, error) {
	to, err := parseTelegram(p.Address)
	if err != nil {
		return to, &delivery.SendError{Outcome: delivery.Dead, Err: err}
	}
	if p.Address == "" {
		linked, err := t.linked(ctx, p.Note.Recipient.Number)
		if err != nil {
			return to, err
		}
		if to, err = parseTelegram(linked); err != nil || linked == "" {
			return to, &delivery.SendError{Outcome: delivery.Dead, Err: errors.New("the linked chat cannot be read; link it again on the inbox page")}
		}
		to.linked = linked
	}
	moved, err := t.recall(ctx, movedKey(to.chat))
	if moved != "" {
		to.chat = telegramChat(moved)
	}
	return to, err
}

// linked is the address of the mailbox's own chat.
func (t *telegram) linked(ctx context.Context, mailbox string) (string, error) {
	if t.env.Chats == nil {
		return "", errUnlinked()
	}
	address, err := t.env.Chats.Of(ctx, mailbox)
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		return "", errUnlinked()
	case err != nil:
		return "", &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("the linked chat cannot be looked up: %w", err)}
	}
	return address, nil
}

func errUnlinked() error {
	return &delivery.SendError{Outcome: delivery.Dead, Err: errors.New("the mailbox has not linked a chat of this channel: link one on its inbox page, or give the target an address, like NAME:12345; then redrive the note")}
}
