package channel

import (
	"context"
	"errors"
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
	word, code, marked := matrixCommand(message.Content.AsMessage().Body)
	entry := delivery.Entry{Key: matrixKey("heard", message.ID.String()), For: matrixLife}
	if word == "" { // a stranger is helped once a day: who thanks for a note wants no answer
		entry = delivery.Entry{Key: matrixKey("greeted", message.RoomID.String()), For: 24 * time.Hour}
	}
	return e.env.once(ctx, entry, func() error {
		reply, err := e.reply(ctx, message.RoomID, word, code, marked)
		if err == nil && reply != "" {
			e.say(ctx, message, reply)
		}
		return err
	})
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
func (e *matrixEar) reply(ctx context.Context, room id.RoomID, word, code string, marked bool) (string, error) {
	t := text.For("")                // whose mailbox it will be nobody knows yet
	if word != wordLink && !marked { // people among each other say help and stop too
		direct, err := e.direct(ctx, room)
		if err != nil || !direct {
			return "", err
		}
	}
	switch word {
	case wordLink:
		_, answer, err := e.env.link(ctx, "", code, room.String(), "!stop") // clients take words with / for their own
		return answer, err
	case wordStop:
		ended, err := e.env.unlink(ctx, room.String())
		if err != nil || ended == 0 {
			return "", err
		}
		return t.Unlinked, nil
	}
	return t.Help, nil
}

// direct says that nobody is in a room but one other: the account and its ghosts
// do not count.
func (e *matrixEar) direct(ctx context.Context, room id.RoomID) (bool, error) {
	members, err := e.device.JoinedMembers(ctx, room)
	if err != nil {
		if saysNo(err) {
			return false, nil
		}
		return false, err
	}
	people := 0
	for user := range members.Joined {
		if !e.ours(user) {
			people++
		}
	}
	return people <= 1, nil
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
		e.env.Log.Warn("an answer could not be written", "error", e.failure(err))
	}
}
