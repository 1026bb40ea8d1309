package channel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
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

// answer says something to a user who has just written. It is a courtesy: what
// he asked for is done.
func (w *whatsapp) answer(ctx context.Context, user, words string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // the service waits for its callback's answer
	defer cancel()
	if _, err := w.post(ctx, textTo(user, words), delivery.Note{}, 1); err != nil {
		w.env.Log.Warn("a user's command was not answered", "error", err)
	}
}
