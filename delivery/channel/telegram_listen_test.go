package channel

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// wrote is an update: somebody wrote to the bot.
func wrote(id int, chat int64, words string) map[string]any {
	kind := "private"
	if chat < 0 {
		kind = "supergroup"
	}
	return map[string]any{"update_id": id, "message": map[string]any{
		"message_id": id, "date": 1772366400, "text": words,
		"chat": map[string]any{"id": chat, "type": kind},
		"from": map[string]any{"id": 17, "is_bot": false, "first_name": "Zoë", "language_code": "en"},
	}}
}

// stands is an update: how the bot stands in a chat now.
func stands(id int, chat int64, status string) map[string]any {
	bot := map[string]any{"id": 4242424242, "is_bot": true, "first_name": "Afterbeep"}
	member := map[string]any{"status": status, "user": bot}
	if status == "kicked" {
		member["until_date"] = 0
	}
	return map[string]any{"update_id": id, "my_chat_member": map[string]any{
		"chat": map[string]any{"id": chat, "type": "private"}, "date": 1772366400,
		"from":            map[string]any{"id": 17, "is_bot": false, "first_name": "Zoë"},
		"old_chat_member": map[string]any{"status": "member", "user": bot}, "new_chat_member": member,
	}}
}

// with adds fields to an update's message.
func with(u map[string]any, fields map[string]any) map[string]any {
	maps.Copy(u["message"].(map[string]any), fields)
	return u
}

const (
	saysHelp    = "Unanswered calls leave"
	saysBadCode = "This code is not valid"
	saysLinked  = "Voice messages for +49 30 123456 will arrive in this chat from now on.\nSend /stop to end this."
	saysStopped = "No more voice messages"
)

// telegramTalks are what people write, what the bot answers and what is linked
// then. The mailbox's code is C0DE; it is linked to chat 555 before.
var telegramTalks = map[string]struct {
	updates []map[string]any
	answers []string // how they begin
	to      int64    // where the answers go; 0 for nowhere in particular
	linked  string   // "" for nothing
}{
	"a code":                         {[]map[string]any{wrote(1, 17, "/start C0DE")}, []string{saysLinked}, 17, "17"},
	"a code, twice":                  {[]map[string]any{wrote(1, 17, "/start C0DE"), wrote(1, 17, "/start C0DE")}, []string{saysLinked}, 17, "17"},
	"a code that was used":           {[]map[string]any{wrote(1, 17, "/start C0DE"), wrote(2, 18, "/start C0DE")}, []string{saysLinked, saysBadCode}, 0, "17"},
	"a wrong code":                   {[]map[string]any{wrote(1, 17, "/start NONE")}, []string{saysBadCode}, 17, "555"},
	"no code at all":                 {[]map[string]any{wrote(1, 17, "/start \u2028\" <b>")}, []string{saysBadCode}, 17, "555"},
	"a start without code":           {[]map[string]any{wrote(1, 17, "/start")}, []string{saysHelp}, 17, "555"},
	"small talk":                     {[]map[string]any{wrote(1, 17, "Hello?")}, []string{saysHelp}, 17, "555"},
	"no text":                        {[]map[string]any{wrote(1, 17, "")}, []string{saysHelp}, 17, "555"},
	"much small talk":                {[]map[string]any{wrote(1, 17, "Hello?"), wrote(2, 17, "Hello!"), wrote(3, 18, "Hi")}, []string{saysHelp, saysHelp}, 0, "555"},
	"another command":                {[]map[string]any{wrote(1, 17, "/menu")}, []string{saysHelp}, 17, "555"},
	"stop":                           {[]map[string]any{wrote(1, 555, "/stop")}, []string{saysStopped}, 555, ""},
	"stop, by name":                  {[]map[string]any{wrote(1, 555, "/STOP@"+strings.ToLower(testName))}, []string{saysStopped}, 555, ""},
	"stop elsewhere":                 {[]map[string]any{wrote(1, 17, "/stop")}, []string{saysStopped}, 17, "555"},
	"stop, then a code out of order": {[]map[string]any{wrote(9, 17, "/start C0DE"), wrote(8, 555, "/stop")}, []string{saysLinked, saysStopped}, 0, "17"},
	"a group talks":                  {[]map[string]any{wrote(1, -4711, "Hello?"), wrote(2, -4711, "/stop"), wrote(3, -4711, "/stop@AnotherBot")}, nil, 0, "555"},
	"a group links":                  {[]map[string]any{wrote(1, -4711, "/start@"+testName+" C0DE")}, []string{strings.Replace(saysLinked, "/stop", "/stop@"+testName, 1)}, -4711, "-4711"},
	"a topic asks": {
		[]map[string]any{with(wrote(1, testForum, "/help@"+testName), map[string]any{"message_thread_id": 55, "is_topic_message": true})},
		[]string{saysHelp}, testForum, "555",
	},
	"a bot talks":     {[]map[string]any{with(wrote(1, 17, "/start C0DE"), map[string]any{"from": map[string]any{"id": 18, "is_bot": true, "first_name": "Bot"}})}, nil, 0, "555"},
	"blocked":         {[]map[string]any{stands(1, 555, "kicked")}, nil, 0, ""},
	"taken out":       {[]map[string]any{stands(1, 555, "left")}, nil, 0, ""},
	"blocked by some": {[]map[string]any{stands(1, 17, "kicked"), stands(2, 555, "member")}, nil, 0, "555"},
	"a group moved and left": {
		[]map[string]any{with(wrote(1, 555, ""), map[string]any{"migrate_to_chat_id": -1009999}), stands(2, -1009999, "left")}, nil, 0, "",
	},
	"a group moved and stopped": {
		[]map[string]any{with(wrote(1, 555, ""), map[string]any{"migrate_to_chat_id": -1009999}), wrote(2, -1009999, "/stop@"+testName)},
		[]string{saysStopped}, -1009999, "",
	},
	"something else": {[]map[string]any{{"update_id": 1, "poll": map[string]any{
		"id": "5", "question": "?", "options": []any{}, "total_voter_count": 0, "is_closed": false, "is_anonymous": true, "type": "regular",
		"allows_multiple_answers": false, "allows_revoting": false, "members_only": false,
	}}}, nil, 0, "555"},
}

// listening is a bot of one of the two kinds that listen, its server, and its
// one mailbox, with a code.
func listening(t *testing.T, updates string) (*telegramServer, delivery.Channel, *linkedChats, Env) {
	t.Helper()
	s := newTelegramServer(t)
	s.topics[55] = true
	env := testEnv(t)
	mailbox := sampleNote().Recipient.Number
	chats := &linkedChats{codes: map[string]string{"C0DE": mailbox}, of: map[string]string{mailbox: "555"}}
	env.Chats = chats
	o := telegramFor(s.URL).(*TelegramOptions)
	o.Updates = updates
	return s, openWith(t, o, env), chats, env
}

func TestTelegramTalksByWebhook(t *testing.T) {
	for name, tc := range telegramTalks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, chats, _ := listening(t, "webhook")
			s.tell(tc.updates...) // held against the description
			for _, u := range tc.updates {
				if status := bring(t, c, u, nil); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
			}
			checkTalk(t, s, chats, tc.answers, tc.to, tc.linked)
		})
	}
}

func TestTelegramTalksByPolling(t *testing.T) {
	for name, tc := range telegramTalks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, chats, env := listening(t, "poll")
			s.tell(tc.updates...)
			next := slices.MaxFunc(tc.updates, func(a, b map[string]any) int { return a["update_id"].(int) - b["update_id"].(int) })["update_id"].(int) + 1
			until(t, c.(delivery.Runner), func() bool {
				kept, _ := env.Memory.Get(t.Context(), offsetKey)
				return string(kept) == strconv.Itoa(next)
			})
			checkTalk(t, s, chats, tc.answers, tc.to, tc.linked)
		})
	}
}

func checkTalk(t *testing.T, s *telegramServer, chats *linkedChats, answers []string, to int64, linked string) {
	t.Helper()
	said := s.called("sendMessage")
	if len(said) != len(answers) {
		t.Fatalf("%d answers, want %d", len(said), len(answers))
	}
	for i, c := range said {
		if !strings.HasPrefix(c.text("text"), answers[i]) || to != 0 && c.number("chat_id") != to {
			t.Errorf("answer %d is %v, want %q to %d", i, c.params, answers[i], to)
		}
		if in := c.number("message_thread_id"); (in == 55) != (to == testForum) {
			t.Errorf("answer %d goes to topic %d", i, in)
		}
	}
	if got := chats.all()[sampleNote().Recipient.Number]; got != linked {
		t.Errorf("linked to %q, want %q", got, linked)
	}
}

// bring brings an update to the webhook, as Telegram does unless change says
// otherwise.
func bring(t *testing.T, c delivery.Channel, u any, change func(*http.Request)) (status int) {
	t.Helper()
	body, ok := u.(string)
	if !ok {
		var b strings.Builder
		if err := encodeJSON(&b, u); err != nil {
			t.Fatal(err)
		}
		body = b.String()
	}
	r := httptest.NewRequest(http.MethodPost, "/callback/chat", strings.NewReader(body))
	r.Header.Set("X-Telegram-Bot-Api-Secret-Token", c.(*telegramHook).hookSecret())
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	c.(http.Handler).ServeHTTP(w, r)
	return w.Code
}

// until runs a bot until something has come true.
func until(t *testing.T, r delivery.Runner, reached func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); !reached(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("it does not come to that")
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

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
	s.tell(wrote(1, 17, "Hello?"))
	s.failing = "Wrong response from the webhook: 502 Bad Gateway"
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
	var asked int
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"ok":true,"result":[]}`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := open(t, telegramFor(server.URL)).(delivery.Runner).Run(ctx); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
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

func FuzzTelegramUpdate(f *testing.F) {
	for _, talk := range telegramTalks {
		for _, u := range talk.updates {
			var b strings.Builder
			if err := encodeJSON(&b, u); err != nil {
				f.Fatal(err)
			}
			f.Add([]byte(b.String()))
		}
	}
	for _, seed := range []string{"", "{", "[]", `{"update_id":-1}`, `{"update_id":9223372036854775807,"message":{"chat":{"id":-9223372036854775808},"text":"/@ "}}`} {
		f.Add([]byte(seed))
	}
	silent := serveNothing(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := parseUpdate(body)
		if u.ID < 0 || err == nil && u.ID == 0 {
			t.Errorf("update %d, %v", u.ID, err)
		}
		if err != nil {
			return
		}
		mailbox := "+4930123456"
		chats := &linkedChats{codes: map[string]string{"C0DE": mailbox}, of: map[string]string{}}
		c, opened := telegramFor(silent).Open(Env{Name: "chat", Chats: chats, Memory: new(delivery.Scratch)})
		if opened != nil {
			t.Fatal(opened)
		}
		defer func() { _ = c.(io.Closer).Close() }()
		bot := c.(*telegramPoll)
		bot.name = testName
		if err := bot.hear(t.Context(), u); err != nil {
			t.Errorf("it cannot be acted on: %v", err)
		}
		if linked := chats.all()[mailbox]; linked != "" && linked != strconv.FormatInt(u.Message.Chat.ID, 10) {
			t.Errorf("linked to %q", linked)
		}
	})
}

// serveNothing refuses every request.
func serveNothing(f *testing.F) string {
	server := httptest.NewServer(http.NotFoundHandler())
	f.Cleanup(server.Close)
	return server.URL
}
