package channel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// keyNumber is where the business's own number is kept.
const keyNumber = "number"

// DeepLink opens a chat with the business in which the code is typed already.
func (w *whatsapp) DeepLink(ctx context.Context, code string) (link, say string, err error) {
	var number string
	known, err := w.env.recallJSON(ctx, keyNumber, &number)
	if err != nil {
		return "", "", err
	}
	if !known {
		about, err := w.about(ctx)
		if err != nil {
			return "", "", fmt.Errorf("asking for the business's number: %w", err)
		}
		if number = digitsOf(about.Number); number == "" {
			return "", "", errors.New("the service does not say which number phone_number_id stands for")
		}
		if err := w.env.keepJSON(ctx, delivery.Entry{Key: keyNumber, For: 24 * time.Hour}, number); err != nil {
			return "", "", err
		}
	}
	say = "LINK-" + code
	return "https://wa.me/" + number + "?text=" + url.QueryEscape(say), say, nil
}

func digitsOf(number string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, number)
}

// waCommand is what a user's text asks the channel itself for.
type waCommand func(ctx context.Context, w *whatsapp, users []string) error

// waLink is a code in a text, see [delivery.Chats].
var waLink = regexp.MustCompile(`(?i:\bLINK)-([A-Za-z0-9_-]{1,64})`)

// commandOf reads a text; nil for one that asks for nothing.
func commandOf(said string) waCommand {
	if code := waLink.FindStringSubmatch(said); code != nil {
		return linking(code[1])
	}
	return nil
}

// stops says that a text asks for no more notes.
func stops(said string) bool {
	said = strings.ToLower(strings.TrimSpace(said))
	return said == "stop" || said == stopWord
}

// linking links the chat by its number where there is one: the service advises
// to write to numbers, whose owners' callbacks then show them.
func linking(code string) waCommand {
	return func(ctx context.Context, w *whatsapp, users []string) error {
		answer, err := w.env.link(ctx, text.For(""), code, users[0], stopWord)
		if err == nil && answer != "" {
			w.answer(ctx, users[0], answer)
		}
		return err
	}
}

// unlink ends the links to all names of a user.
func unlink(ctx context.Context, w *whatsapp, users []string) error {
	if _, err := w.env.unlink(ctx, users...); err != nil {
		return err
	}
	w.answer(ctx, users[0], text.For("").Unlinked)
	return nil
}

// answer says something to a user who has just written. It is a courtesy: what
// he asked for is done.
func (w *whatsapp) answer(ctx context.Context, user, words string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // the service waits for its callback's answer
	defer cancel()
	if _, err := w.post(ctx, textTo(user, words), delivery.Note{}, 1); err != nil {
		w.env.Log.Warn("a user's command was not answered", "error", err)
	}
}
