package channel

import (
	"context"
	"errors"

	"github.com/afterbeep/afterbeep/delivery"
)

// Check asks the service who the bot is.
func (t *telegram) Check(ctx context.Context) error {
	_, err := t.whoAmI(ctx)
	return err
}

// botName is the bot's name at Telegram, asked for once.
func (t *telegram) botName(ctx context.Context) (string, error) {
	t.mu.Lock()
	name := t.name
	t.mu.Unlock()
	if name != "" {
		return name, nil
	}
	return t.whoAmI(ctx)
}

func (t *telegram) whoAmI(ctx context.Context) (string, error) {
	var me struct {
		Name string `json:"username"`
	}
	if err := t.aside(ctx, "getMe", struct{}{}, &me, delivery.Note{}); err != nil {
		return "", plainly(err)
	}
	if !telegramName.MatchString("@" + me.Name) {
		return "", errors.New("the service does not say what the bot is called")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name = me.Name
	return me.Name, nil
}

// deepLink is delivery.Linkable's for a bot that hears: a tap sends the code.
func (t *telegram) deepLink(ctx context.Context, code string) (link, say string, err error) {
	name, err := t.botName(ctx)
	if err != nil {
		return "", "", err
	}
	return "https://t.me/" + name + "?start=" + code, "/start " + code, nil
}
