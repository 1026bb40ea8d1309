package channel

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"strings"

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
		h.env.Log.Warn("an update cannot be read; it is passed over", "channel", h.env.Name, "error", err)
		return
	}
	if err := h.hear(r.Context(), u); err != nil {
		h.env.Log.Warn("an update cannot be acted on; Telegram brings it again", "channel", h.env.Name, "error", plainly(err))
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}
}
