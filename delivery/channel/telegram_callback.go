package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// telegramHook is a bot whose updates Telegram brings to /callback/NAME.
type telegramHook struct{ *telegram }

// DeepLink opens the chat with the bot, the code ready to be sent.
func (h *telegramHook) DeepLink(ctx context.Context, code string) (link, say string, err error) {
	return h.deepLink(ctx, code)
}

// Run tells Telegram where the updates go: again at every start, and the same
// from every machine.
func (h *telegramHook) Run(ctx context.Context) error {
	if !strings.HasPrefix(h.env.PublicURL, "https://") {
		return errors.New("updates are brought to https:// addresses alone; set http.public_url to one, or updates: poll")
	}
	var set bool
	err := h.aside(ctx, "setWebhook", map[string]any{
		"url":             h.env.PublicURL + "/callback/" + h.env.Name,
		"secret_token":    h.hookSecret(),
		"allowed_updates": telegramUpdates(),
	}, &set, delivery.Note{})
	if err != nil {
		return quiet(ctx, err)
	}
	<-ctx.Done()
	return nil
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

// maxUpdate is far above what a message can be.
const maxUpdate = 1 << 20 // bytes

// ServeHTTP takes an update. It answers 200 only when that has been acted on:
// Telegram brings anything else again.
func (h *telegramHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	shown := r.Header.Get("X-Telegram-Bot-Api-Secret-Token")
	if subtle.ConstantTimeCompare([]byte(shown), []byte(h.hookSecret())) != 1 || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpdate))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	u, err := parseUpdate(body)
	if err != nil && u.ID == 0 {
		http.Error(w, errUpdate.Error(), http.StatusBadRequest)
		return
	}
	if err != nil {
		h.env.Log.Warn("an update cannot be read; it is passed over", "error", err)
		return
	}
	if err := h.hear(r.Context(), u); err != nil {
		h.env.Log.Warn("an update cannot be acted on; Telegram brings it again", "error", plainly(err))
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}
}
