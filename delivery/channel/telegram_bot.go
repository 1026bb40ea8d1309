package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

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

// plainly is a failure that concerns no note: with what the service said, and
// without what a job would do about it.
func plainly(err error) error {
	if refused := (*telegramError)(nil); errors.As(err, &refused) && refused.said != "" {
		return fmt.Errorf("%w: %s", refused.Err, refused.said)
	}
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// DeepLink opens a chat with the bot that sends the code with one tap.
func (t *telegram) deepLink(ctx context.Context, code string) (link, say string, err error) {
	name, err := t.botName(ctx)
	if err != nil {
		return "", "", err
	}
	return "https://t.me/" + name + "?start=" + code, "/start " + code, nil
}

// hookSecret is what Telegram shows to prove that an update is its own: the
// same on every machine, and no way back to the token.
func (t *telegram) hookSecret() string {
	mac := hmac.New(sha256.New, []byte(t.token))
	_, _ = mac.Write([]byte("afterbeep telegram webhook " + t.env.Name))
	return hex.EncodeToString(mac.Sum(nil))
}

// hookTrouble is how long an error of the webhook is held to be of today.
const hookTrouble = time.Hour

// Check asks who the bot is, and whether its updates arrive.
func (h *telegramHook) Check(ctx context.Context) error {
	if err := h.telegram.Check(ctx); err != nil {
		return err
	}
	var info struct {
		Pending int    `json:"pending_update_count"`
		At      int64  `json:"last_error_date"`
		Said    string `json:"last_error_message"`
	}
	if err := h.aside(ctx, "getWebhookInfo", struct{}{}, &info, delivery.Note{}); err != nil {
		return plainly(err)
	}
	if info.Said != "" && info.Pending > 0 && time.Since(time.Unix(info.At, 0)) < hookTrouble {
		return fmt.Errorf("updates do not arrive, %d wait: Telegram says %q of the callback below http.public_url", info.Pending, h.redact.excerpt([]byte(info.Said), delivery.Note{}))
	}
	return nil
}
