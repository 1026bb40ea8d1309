package channel

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestTelegramWebhookRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		body   any
		change func(*http.Request)
		want   int
	}{
		"no secret":      {wrote(1, 17, "/start C0DE"), func(r *http.Request) { r.Header.Del("X-Telegram-Bot-Api-Secret-Token") }, http.StatusNotFound},
		"a wrong secret": {wrote(1, 17, "/start C0DE"), func(r *http.Request) { r.Header.Set("X-Telegram-Bot-Api-Secret-Token", testBot) }, http.StatusNotFound},
		"another method": {wrote(1, 17, "/start C0DE"), func(r *http.Request) { r.Method = http.MethodPut }, http.StatusNotFound},
		"no JSON":        {"/start C0DE", nil, http.StatusBadRequest},
		"no update":      {`{"message":{"text":"/start C0DE"}}`, nil, http.StatusBadRequest},
		"odd parts":      {`{"update_id":7,"message":{"text":["/start C0DE"]}}`, nil, http.StatusOK}, // it would come again for ever
		"endless":        {`{"update_id":7,"message":{"text":"` + strings.Repeat("x", maxUpdate) + `"}}`, nil, http.StatusBadRequest},
		"no end of it": {wrote(1, 17, "/start C0DE"), func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), errorReader{}))
		}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, chats, _ := listening(t, "webhook")
			if got := bring(t, c, tc.body, tc.change); got != tc.want {
				t.Errorf("status %d, want %d", got, tc.want)
			}
			checkTalk(t, s, chats, nil, 0, "555")
		})
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("reset") }

// An update counts as heard only once it was acted on.
func TestTelegramWebhookComesAgain(t *testing.T) {
	s, c, chats, _ := listening(t, "webhook")
	for _, update := range []map[string]any{wrote(1, 17, "/start C0DE"), wrote(2, 17, "/stop"), stands(3, 17, "kicked")} {
		chats.failing = errors.New("disk fails")
		if got := bring(t, c, update, nil); got != http.StatusServiceUnavailable {
			t.Errorf("status %d while the disk fails", got)
		}
		chats.failing = nil
		if got := bring(t, c, update, nil); got != http.StatusOK {
			t.Errorf("status %d", got)
		}
	}
	if said := s.called("sendMessage"); len(said) != 2 || len(chats.all()) != 0 {
		t.Errorf("%d answers, links %v", len(said), chats.all())
	}
}

func TestTelegramWebhookIsSet(t *testing.T) {
	s, c, _, _ := listening(t, "webhook")
	until(t, c.(delivery.Runner), func() bool { return len(s.called("setWebhook")) > 0 })
	call := s.called("setWebhook")[0]
	if secret := call.text("secret_token"); call.text("url") != "https://notes.example/callback/chat" || len(secret) != 64 || strings.Contains(testBot, secret) {
		t.Errorf("setWebhook of %v", call.params)
	}
	if err := c.(delivery.Checker).Check(t.Context()); err != nil {
		t.Errorf("the check: %v", err)
	}
	s.failing = "Wrong response from the webhook: 502 Bad Gateway"
	if err := c.(delivery.Checker).Check(t.Context()); err != nil {
		t.Errorf("the check, when all updates have arrived since: %v", err)
	}
	s.tell(wrote(1, 17, "Hello?"))
	if err := c.(delivery.Checker).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway") {
		t.Errorf("the check, while updates do not arrive: %v", err)
	}
	s.plan("setWebhook", telegramPlan{status: 400, words: "Bad Request: bad webhook: IP address " + testBot + " is reserved"})
	if err := c.(delivery.Runner).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "bad webhook") || strings.Contains(err.Error(), testBot) {
		t.Errorf("a webhook that is refused: %v", err)
	}
	c.(*telegramHook).env.PublicURL = "http://notes.example"
	if err := c.(delivery.Runner).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "http.public_url") {
		t.Errorf("without https: %v", err)
	}
}

// A webhook that is left over is deleted, once.
func TestTelegramPollDeletesAWebhook(t *testing.T) {
	s, c, chats, _ := listening(t, "poll")
	s.hook = "https://elsewhere.example/"
	s.tell(wrote(1, 17, "/start C0DE"))
	until(t, c.(delivery.Runner), func() bool { return chats.all()[sampleNote().Recipient.Number] == "17" })
	if n := len(s.called("deleteWebhook")); n != 1 {
		t.Errorf("deleteWebhook %d times", n)
	}
}

// What polling meets: some of it ends Run, for the gateway to say so and begin
// anew; some it waits for.
func TestTelegramPollFails(t *testing.T) {
	for name, tc := range map[string]struct {
		plan telegramPlan
		ends bool
		says string
	}{
		"the token was withdrawn": {telegramPlan{status: 401, words: "Unauthorized"}, true, "@BotFather"},
		"the service fails":       {telegramPlan{status: 502, words: "Bad Gateway"}, true, "502"},
		"the answer is lost":      {telegramPlan{}, true, "did not"},
		"too many":                {telegramPlan{status: 429, words: "Too Many Requests: retry after 1", after: 1}, false, ""},
		"another program asks":    {telegramPlan{status: 409, words: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, _, env := listening(t, "poll")
			s.plan("getUpdates", tc.plan)
			s.tell(wrote(1, 17, "Hello?"))
			if !tc.ends {
				until(t, c.(delivery.Runner), func() bool { return len(s.called("getUpdates")) == 1 })
				return
			}
			err := c.(delivery.Runner).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), testBot) {
				t.Errorf("Run: %v", err)
			}
			if _, err := env.Memory.Get(t.Context(), leaseKey); !errors.Is(err, delivery.ErrNotFound) {
				t.Errorf("the lease is not given up: %v", err)
			}
			until(t, c.(delivery.Runner), func() bool { return len(s.called("sendMessage")) == 1 }) // heard in the end
		})
	}
}

// A server that repeats itself, or answers at once, is not asked without pause.
func TestTelegramPollMakesNoStorm(t *testing.T) {
	var asked atomic.Int32
	var again time.Duration
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 2 {
			again = time.Since(began)
			cancel()
		}
		_, _ = io.WriteString(w, `{"ok":true,"result":[]}`)
	})
	if err := open(t, telegramFor(server.URL)).(delivery.Runner).Run(ctx); err != nil || again < pollApart {
		t.Errorf("asked again after %v, %v", again, err)
	}
	deaf := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ok":true,"result":[{"message":{}},5]}`)
	})
	if err := open(t, telegramFor(deaf.URL)).(delivery.Runner).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "repeats") {
		t.Errorf("updates without a number: %v", err)
	}
}

// Of the machines that share a memory one asks; when it ends, or stalls,
// another goes on.
func TestTelegramPollerIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testEnv(t)
		machine := func() *telegramPoll {
			return openWith(t, telegramFor("http://127.0.0.1:1"), env).(*telegramPoll)
		}
		a, b := machine(), machine()
		held := func(m *telegramPoll, want bool) {
			t.Helper()
			if got, err := m.hold(t.Context()); got != want || err != nil {
				t.Errorf("holds the lease: %v, %v, want %v", got, err, want)
			}
		}
		held(a, true)
		held(b, false)
		time.Sleep(pollSpan + pollSlack)
		held(a, true) // renewed
		time.Sleep(pollSpan + pollSlack)
		held(b, false)
		time.Sleep(pollLease)
		held(b, true) // a has stalled
		held(a, false)
		a.leave(t.Context())
		held(a, false)
		b.leave(t.Context())
		held(a, true)
	})
}

func TestTelegramPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p telegramPace
		booked := func(chat telegramChat, want time.Duration, ok bool) {
			t.Helper()
			if wait, got := p.take(chat, telegramPatience); wait != want || got != ok {
				t.Errorf("chat %s: %v, %v, want %v, %v", chat, wait, got, want, ok)
			}
		}
		booked("17", 0, true)
		booked("17", time.Second, true)
		booked("17", 2*time.Second, true)
		booked("17", 3*time.Second, false)
		booked("18", 0, true)
		for range telegramGroup {
			booked("-4711", 0, true)
			time.Sleep(time.Second)
		}
		booked("-4711", 40*time.Second, false) // the first one was 20 s ago
		time.Sleep(38 * time.Second)
		booked("-4711", 2*time.Second, true)
		p.hold("17", 5*time.Second)
		booked("17", 5*time.Second, false)
		time.Sleep(2 * time.Minute)
		booked("19", 0, true)
		if len(p.chats) != 1 {
			t.Errorf("%d chats are remembered", len(p.chats))
		}
	})
}

func TestTelegramDeepLink(t *testing.T) {
	for _, updates := range []string{"poll", "webhook"} {
		s, c, _, _ := listening(t, updates)
		s.plan("getMe", telegramPlan{status: 401, words: "Unauthorized"})
		if _, _, err := c.(delivery.Linkable).DeepLink(t.Context(), "C0DE"); err == nil || !strings.Contains(err.Error(), "token") {
			t.Errorf("%s: without a name: %v", updates, err)
		}
		for range 2 {
			link, say, err := c.(delivery.Linkable).DeepLink(t.Context(), "C0DE")
			if link != "https://t.me/"+testName+"?start=C0DE" || say != "/start C0DE" || err != nil {
				t.Errorf("%s: %q, %q, %v", updates, link, say, err)
			}
		}
		if n := len(s.called("getMe")); n != 2 {
			t.Errorf("%s: getMe %d times", updates, n)
		}
	}
	_, c, _, _ := listening(t, "off")
	if _, ok := c.(delivery.Linkable); ok {
		t.Error("with updates: off a chat can be linked")
	}
	if _, ok := c.(delivery.Runner); ok {
		t.Error("with updates: off it listens")
	}
}

func TestTelegramCheck(t *testing.T) {
	s, c, _, _ := listening(t, "poll")
	if err := c.(delivery.Checker).Check(t.Context()); err != nil || len(s.called("getMe")) != 1 || len(s.called()) != 1 {
		t.Errorf("%v, %v", err, methods(s.called()))
	}
	s.plan("getMe", telegramPlan{status: 404, words: "Not Found"})
	if err := c.(delivery.Checker).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "@BotFather") || strings.Contains(err.Error(), testBot) {
		t.Errorf("a wrong token: %v", err)
	}
}
