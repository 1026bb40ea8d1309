package channel

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
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
	"stop where nothing is linked":   {[]map[string]any{wrote(1, 17, "/stop")}, []string{saysHelp}, 17, "555"},
	"stop, then a code out of order": {[]map[string]any{wrote(9, 17, "/start C0DE"), wrote(8, 555, "/stop")}, []string{saysLinked, saysHelp}, 0, "17"},
	"a group talks":                  {[]map[string]any{wrote(1, -4711, "Hello?"), wrote(2, -4711, "/stop"), wrote(3, -4711, "/stop@AnotherBot")}, nil, 0, "555"},
	"a group links":                  {[]map[string]any{wrote(1, -4711, "/start@"+testName+" C0DE")}, []string{strings.Replace(saysLinked, "/stop", "/stop@"+testName, 1)}, -4711, "-4711"},
	"a topic asks": {
		[]map[string]any{with(wrote(1, testForum, "/help@"+testName), map[string]any{"message_thread_id": 55, "is_topic_message": true})},
		[]string{saysHelp},
		testForum, "555",
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
		[]string{saysStopped},
		-1009999, "",
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
	for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(2 * time.Millisecond) {
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
		chats := newChats(map[string]string{"C0DE": mailbox})
		c, opened := telegramFor(silent).Open(Env{Name: "chat", Log: slog.New(slog.DiscardHandler), Chats: chats, Memory: new(delivery.Scratch)})
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
	f.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	f.Cleanup(server.Close)
	return server.URL
}
