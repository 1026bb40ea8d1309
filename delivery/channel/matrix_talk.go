package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// errLocked is that the key of an encrypted message has not come yet.
var errLocked = errors.New("the message's key has not come yet")

// message answers what somebody wrote to the account, once in the whole fleet.
func (e *matrixEar) message(ctx context.Context, message *mevent.Event, until time.Time) error {
	if e.ours(message.Sender) {
		return nil
	}
	if message.Type == mevent.EventEncrypted {
		opened, err := e.device.crypt.decrypt(ctx, message)
		if errors.Is(err, errLocked) && time.Now().Before(until) {
			e.locked = append(e.locked, lockedEvent{message, until})
		}
		if err != nil { // another device's, or of before it was invited
			return nil //nolint:nilerr // what cannot be read cannot be answered
		}
		message = opened
	}
	if message.Type != mevent.EventMessage || message.Content.AsMessage().MsgType != mevent.MsgText {
		return nil // notices are other bots' words
	}
	first, err := e.env.Memory.Add(ctx, delivery.Entry{Key: matrixKey("heard", message.ID.String()), For: matrixLife})
	if err != nil {
		return fmt.Errorf("a message cannot be marked as answered: %w", err)
	}
	if !first {
		return nil
	}
	reply, err := e.reply(ctx, message.RoomID, message.Content.AsMessage().Body)
	if err != nil {
		// It is answered when it is heard again.
		return errors.Join(err, e.env.Memory.Delete(ctx, matrixKey("heard", message.ID.String())))
	}
	if reply != "" {
		e.say(ctx, message, reply)
	}
	return nil
}

// The words that people write to the account.
const (
	wordLink = "link"
	wordStop = "stop"
	wordHelp = "help"
)

// matrixCommand reads what somebody wrote: link CODE, /start CODE, !stop, help.
// "" for anything else. marked says that it begins with / or !, so that it is
// meant for a machine.
func matrixCommand(body string) (word, code string, marked bool) {
	fields := strings.Fields(body)
	if len(fields) == 0 || len(fields) > 2 {
		return "", "", false
	}
	if len(fields) == 2 {
		code = fields[1]
	}
	name := strings.TrimLeft(fields[0], "/!")
	marked = name != fields[0]
	switch name = strings.ToLower(name); {
	case (name == wordLink || name == "start") && code != "":
		return wordLink, code, marked
	case name == wordStop && code == "":
		return wordStop, "", marked
	case (name == wordHelp || name == wordLink || name == "start") && code == "":
		return wordHelp, "", marked
	}
	return "", "", false
}

// reply does what was asked for, and is what to answer; "" for nothing.
func (e *matrixEar) reply(ctx context.Context, room id.RoomID, body string) (string, error) {
	t := text.For("") // whose mailbox it will be nobody knows yet
	word, code, marked := matrixCommand(body)
	if word != wordLink && !marked { // people among each other say help and stop too
		direct, err := e.direct(ctx, room)
		if err != nil || !direct {
			return "", err
		}
	}
	switch word {
	case wordLink:
		mailbox, err := e.env.Chats.Link(ctx, code, room.String())
		if errors.Is(err, delivery.ErrNotFound) {
			return t.BadCode, nil
		}
		if err != nil {
			return "", fmt.Errorf("a chat cannot be linked: %w", err)
		}
		return fmt.Sprintf(t.Linked, text.Display(mailbox)) + " " + strings.ReplaceAll(t.StopWord, "/stop", "!stop"), nil // clients take words with / for their own
	case wordStop:
		ended, err := e.env.Chats.Unlink(ctx, room.String())
		if err != nil {
			return "", fmt.Errorf("a chat's link cannot be ended: %w", err)
		}
		if ended == 0 {
			return "", nil
		}
		return t.Unlinked, nil
	case wordHelp:
		return t.Help, nil
	}
	// A stranger is helped once a day: who thanks for a note wants no answer.
	first, err := e.env.Memory.Add(ctx, delivery.Entry{Key: matrixKey("greeted", room.String()), For: 24 * time.Hour})
	if err != nil || !first {
		return "", err
	}
	return t.Help, nil
}

// direct says that nobody is in a room but the account and one other.
func (e *matrixEar) direct(ctx context.Context, room id.RoomID) (bool, error) {
	members, err := e.device.JoinedMembers(ctx, room)
	if err != nil {
		if saysNo(err) {
			return false, nil
		}
		return false, err
	}
	return len(members.Joined) <= 2, nil
}

// say answers a message, once. What fails is only logged: whoever waits for the
// answer asks again.
func (e *matrixEar) say(ctx context.Context, to *mevent.Event, body string) {
	place := matrixPlace{device: e.device, room: to.RoomID}
	var err error
	if place.encrypted, err = encryptedRoom(ctx, e.device, to.RoomID); err == nil && place.encrypted && e.device.crypt == nil {
		err = e.device.clearOnly
	}
	if err == nil {
		answer := &matrixEvent{MessageEventContent: &mevent.MessageEventContent{MsgType: mevent.MsgNotice, Body: body, Mentions: &mevent.Mentions{}}}
		_, err = place.put(ctx, answer, "reply-"+to.ID.String())
	}
	if err != nil {
		e.env.Log.Warn("matrix: an answer could not be written", "channel", e.env.Name, "error", e.failure(err))
	}
}
