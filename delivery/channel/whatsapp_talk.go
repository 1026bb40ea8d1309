package channel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// waCommand is what a user's message, of an id, asks the channel itself for. The
// service may tell it again.
type waCommand func(ctx context.Context, w *whatsapp, message string, users []string) error

// waLink is a code in a text, see [delivery.Chats].
var waLink = regexp.MustCompile(`(?i:\bLINK)-([A-Za-z0-9_-]{1,64})`)

// commandOf reads a text; nil for one that asks for nothing.
func commandOf(said string) waCommand {
	if code := waLink.FindStringSubmatch(said); code != nil {
		return linking(code[1])
	}
	switch strings.ToLower(strings.TrimPrefix(strings.TrimSpace(said), "/")) {
	case "stop":
		return unlink
	case "start":
		return resume
	}
	return nil
}

// linking links the chat by its number where there is one: the service advises
// to write to numbers, whose owners' callbacks then show them.
func linking(code string) waCommand {
	return func(ctx context.Context, w *whatsapp, message string, users []string) error {
		once := delivery.Entry{Key: "command/" + message, Value: []byte("heard"), For: jobLife}
		return w.env.once(ctx, once, func() error {
			linked, answer, err := w.env.link(ctx, "", code, users[0], stopWord)
			if err != nil {
				return err
			}
			if linked {
				err = w.forgetStop(ctx, users)
			}
			if err == nil && answer != "" {
				w.answer(ctx, users[0], answer)
			}
			return err
		})
	}
}

// unlink ends the links to all names of a user, and what comes by his number or
// by the configuration, too: he has been told so.
func unlink(ctx context.Context, w *whatsapp, _ string, users []string) error {
	for _, user := range users {
		err := w.env.Memory.Put(ctx, delivery.Entry{Key: stoppedKey(user), Value: []byte("stop")})
		if err != nil {
			return err
		}
	}
	if _, err := w.env.unlink(ctx, users...); err != nil {
		return err
	}
	w.answer(ctx, users[0], text.For("").Unlinked)
	return nil
}

// resume takes a stop back, and says how chats are linked.
func resume(ctx context.Context, w *whatsapp, _ string, users []string) error {
	if err := w.forgetStop(ctx, users); err != nil {
		return err
	}
	w.answer(ctx, users[0], text.For("").Help)
	return nil
}

func (w *whatsapp) forgetStop(ctx context.Context, users []string) error {
	for _, user := range users {
		if err := w.env.Memory.Delete(ctx, stoppedKey(user)); err != nil {
			return err
		}
	}
	return nil
}

// stoppedKey is where it is kept, for good, that a user wants nothing any more:
// nobody's, so that it holds no number.
func stoppedKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return "stopped/" + hex.EncodeToString(sum[:])
}

var errStopped = errors.New("the recipient wrote stop: nothing is sent until a start comes from there, or the chat is linked again")

// stopped says, as an error, that one of a user's names wants nothing any more.
func (w *whatsapp) stopped(ctx context.Context, users ...string) error {
	for _, user := range users {
		_, err := w.env.Memory.Get(ctx, stoppedKey(user))
		switch {
		case err == nil:
			return &delivery.SendError{Outcome: delivery.Dead, Err: errStopped}
		case !errors.Is(err, delivery.ErrNotFound):
			return unkept(err)
		}
	}
	return nil
}
