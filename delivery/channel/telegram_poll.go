package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// telegramPoll is a bot that asks for its updates. Of the machines that share
// the work one asks, the one that holds the lease in the channel's memory: two
// would cut each other's questions short.
type telegramPoll struct {
	*telegram
	self string // this machine's name in the lease
}

const (
	pollSpan    = 50 * time.Second // how long Telegram may hold an answer back
	pollSlack   = 20 * time.Second // and how much later it may come
	pollLease   = 90 * time.Second
	pollWatch   = 30 * time.Second // between looks at another's lease
	pollRival   = 30 * time.Second // before asking again when another program does too
	pollApart   = time.Second      // between questions that nothing came of
	pollUpdates = 25               // at once: they are acted on within the lease
	maxPoll     = 4 << 20          // bytes of an answer: far above that many long messages

	leaseKey  = "poller"
	offsetKey = "offset"
	// offsetLife is less than the week without an update after which their
	// numbers begin anew anywhere (Bot API, "Update"); until then what was heard
	// has long been confirmed.
	offsetLife = 6 * 24 * time.Hour
)

// DeepLink opens the chat with the bot, the code ready to be sent.
func (t *telegramPoll) DeepLink(ctx context.Context, code string) (link, say string, err error) {
	return t.deepLink(ctx, code)
}

// Run asks for updates while this machine holds the lease.
func (t *telegramPoll) Run(ctx context.Context) error {
	defer t.leave(context.WithoutCancel(ctx))
	dropped := false // a webhook, once: who sets it again must be told
	for ctx.Err() == nil {
		held, err := t.hold(ctx)
		switch {
		case err != nil:
			return quiet(ctx, err)
		case !held:
			rest(ctx, pollWatch)
			continue
		}
		err = t.poll(ctx)
		refused := (*telegramError)(nil)
		switch {
		case !errors.As(err, &refused):
		case refused.fault.remedy == dropHook && !dropped:
			dropped = true
			err = t.endHook(ctx)
		case refused.Status == http.StatusConflict:
			t.env.Log.Warn("another program asks for the updates of this bot, or has set a webhook: chats cannot be linked; give it a bot of its own", "channel", t.env.Name)
			rest(ctx, pollRival)
			continue
		case refused.Status == http.StatusTooManyRequests:
			rest(ctx, max(time.Second, refused.After))
			continue
		}
		if err != nil {
			return quiet(ctx, err)
		}
	}
	return nil
}

// hold takes the lease or renews it; false while another machine has it.
func (t *telegramPoll) hold(ctx context.Context) (bool, error) {
	lease := delivery.Entry{Key: leaseKey, Value: []byte(t.self), For: pollLease}
	added, err := t.env.Memory.Add(ctx, lease)
	if err != nil || added {
		return added, err
	}
	holder, err := t.recall(ctx, leaseKey)
	if err != nil || holder != t.self {
		return false, err
	}
	return true, t.env.Memory.Put(ctx, lease)
}

// leave gives the lease up, so that another machine goes on at once.
func (t *telegramPoll) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if holder, err := t.recall(ctx, leaseKey); err == nil && holder == t.self {
		t.forget(ctx, leaseKey)
	}
}

// poll asks once and acts on what comes.
func (t *telegramPoll) poll(ctx context.Context) error {
	known, err := t.recall(ctx, offsetKey)
	if err != nil {
		return err
	}
	offset, _ := strconv.ParseInt(known, 10, 64) // 0 for whatever is there
	began := time.Now()
	updates, err := t.ask(ctx, offset)
	if err != nil {
		return err
	}
	if len(updates) == 0 {
		rest(ctx, pollApart-time.Since(began))
		return nil
	}
	next := offset
	for _, raw := range updates {
		u, err := parseUpdate(raw)
		if err != nil {
			t.env.Log.Warn("an update cannot be read; it is passed over", "channel", t.env.Name, "error", err)
		} else if err := t.hear(ctx, u); err != nil {
			return err
		}
		if u.ID >= next {
			next = u.ID + 1
		}
	}
	if next == offset {
		return errors.New("the service repeats updates that were heard; see api_url")
	}
	// All at once: what comes again after a failure is known by its number.
	err = t.env.Memory.Put(ctx, delivery.Entry{Key: offsetKey, Value: strconv.AppendInt(nil, next, 10), For: offsetLife})
	if err != nil {
		return fmt.Errorf("keeping which updates were heard: %w", err)
	}
	return nil
}

// ask waits for updates from offset on, each as it came.
func (t *telegramPoll) ask(ctx context.Context, offset int64) (updates []json.RawMessage, err error) {
	question := struct {
		Offset  int64    `json:"offset,omitempty"`
		Limit   int      `json:"limit"`
		Timeout int64    `json:"timeout"` // seconds
		Kinds   []string `json:"allowed_updates"`
	}{offset, pollUpdates, int64(pollSpan / time.Second), telegramUpdates()}
	ctx, cancel := context.WithTimeout(ctx, pollSpan+pollSlack)
	defer cancel()
	err = t.aside(ctx, "getUpdates", question, &updates, delivery.Note{})
	return updates, err
}

// endHook ends a webhook, left by an earlier configuration or another program.
func (t *telegramPoll) endHook(ctx context.Context) error {
	t.env.Log.Warn("a webhook is set for this bot, so that it cannot ask for its updates; the webhook is deleted", "channel", t.env.Name)
	var done bool
	return t.aside(ctx, "deleteWebhook", struct{}{}, &done, delivery.Note{})
}

// quiet is no error once ctx has ended.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return plainly(err)
	}
	return nil
}

// rest waits for a while, or until ctx ends.
func rest(ctx context.Context, span time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}
