package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func telegramFor(server string) Options {
	o := defaultTelegram()
	o.Token, o.APIURL, o.AllowPrivate = testBot, server, true
	return o
}

// telegramSubjects are a chat with a person, and a forum, where a topic is made
// before the note is sent.
func telegramSubjects() []subject {
	private := subject{
		name: "telegram", options: telegramFor, address: "987654321",
		secrets: []string{testBot, "AAGtest-Bot_S3cretS3cretS3cretS3cret"},
		verify:  verifyTelegram, success: telegramWell, final: telegramCarries, most: telegramUpload,
		fault: func(w http.ResponseWriter, r *http.Request, status int) {
			answerTelegram(w, telegramPlan{status: status, words: "Sorry: " + r.RequestURI + " " + sampleNote().Caller.Number, after: 90})
		},
		statuses: map[int]meaning{
			401: {delivery.Retry, true, 90 * time.Second, "token"},
			403: {delivery.Dead, false, 0, "blocked"},
			404: {delivery.Retry, true, 90 * time.Second, "token"},
			409: {delivery.Retry, false, 90 * time.Second, ""},
			413: {delivery.Dead, false, 0, "too large"},
			500: {delivery.Unknown, false, 90 * time.Second, ""}, // nothing tells a repeat
			502: {delivery.Unknown, false, 90 * time.Second, ""},
			504: {delivery.Unknown, false, 90 * time.Second, ""},
		},
		earlier: map[int]meaning{
			500: {delivery.Retry, false, 90 * time.Second, ""},
			502: {delivery.Retry, false, 90 * time.Second, ""},
			504: {delivery.Retry, false, 90 * time.Second, ""},
		},
	}
	forum := private
	forum.name, forum.address = "telegram forum", strconv.Itoa(testForum)
	return []subject{private, forum}
}

// telegramWell answers each request as Telegram does when all is well.
func telegramWell(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, map[string]string{
		"getChat":          `{"ok":true,"result":{"id":-1001234567890,"type":"supergroup","is_forum":true}}`,
		"createForumTopic": `{"ok":true,"result":{"message_thread_id":7,"name":"x","icon_color":7322096}}`,
		"sendVoice":        `{"ok":true,"result":{"message_id":42,"date":1,"chat":{"id":987654321,"type":"private"}}}`,
		"sendMessage":      `{"ok":true,"result":{"message_id":42,"date":1,"chat":{"id":987654321,"type":"private"}}}`,
	}[path.Base(r.URL.Path)])
}

// telegramCarries says that a request carries the note, whole.
func telegramCarries(r *http.Request) bool {
	method := path.Base(r.URL.Path)
	if method != "sendVoice" && method != "sendMessage" {
		return false
	}
	_, err := readTelegram(nil, method, r)
	return err == nil
}

func verifyTelegram(t *testing.T, r *http.Request, body []byte, n delivery.Note) {
	t.Helper()
	method, api := path.Base(r.URL.Path), readBotAPI(t)
	r.Body = io.NopCloser(bytes.NewReader(body))
	call, err := readTelegram(api, method, r)
	if err != nil {
		t.Errorf("%s: %v", method, err)
		return
	}
	if api != nil {
		if err := api.params(method, call.params); err != nil {
			t.Error(err)
		}
	}
	said := call.text("caption") + call.text("text")
	if text, err := parseHTML(said); err != nil || call.text("parse_mode") != "HTML" || !strings.HasPrefix(said, "<b>") || !strings.Contains(text, "13:00") && !strings.Contains(text, "11:00") {
		t.Errorf("it says %q: %v", said, err)
	}
	if n.Kind == delivery.Missed {
		if method != "sendMessage" {
			t.Errorf("a missed call comes by %s", method)
		}
		return
	}
	if call.file.name != "note.ogg" || call.file.mime != "audio/ogg" || !bytes.Equal(call.file.body, speech) || call.number("duration") != 12 || method != "sendVoice" {
		t.Errorf("%s of %q, %q, %d bytes, %d s", method, call.file.name, call.file.mime, len(call.file.body), call.number("duration"))
	}
}

// linkedChats are the chats of a channel, in memory.
type linkedChats struct {
	mu        sync.Mutex
	codes, of map[string]string // by code: a mailbox; by mailbox: an address
	failing   error
}

func (l *linkedChats) Of(_ context.Context, mailbox string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[mailbox] == "" && l.failing == nil {
		return "", delivery.ErrNotFound
	}
	return l.of[mailbox], l.failing
}

func (l *linkedChats) Code(context.Context, string) (string, time.Time, error) {
	return "", time.Time{}, errors.New("not asked for here")
}

func (l *linkedChats) Link(_ context.Context, code, address string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mailbox := l.codes[code]
	switch {
	case l.failing != nil:
		return "", l.failing
	case mailbox == "":
		return "", delivery.ErrNotFound
	}
	delete(l.codes, code)
	l.of[mailbox] = address
	return mailbox, nil
}

func (l *linkedChats) Unlink(_ context.Context, address string) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for mailbox, linked := range l.of {
		if linked == address && l.failing == nil {
			delete(l.of, mailbox)
			n++
		}
	}
	return n, l.failing
}

func (l *linkedChats) Revoke(context.Context, string) error { return errors.New("not asked for here") }

// all are the addresses by mailbox.
func (l *linkedChats) all() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]string{}
	for mailbox, address := range l.of {
		all[mailbox] = address
	}
	return all
}

// telegramWith is a bot at the server; what its mailbox is linked to, "" for
// nothing.
func telegramWith(t *testing.T, s *telegramServer, linked string) (delivery.Channel, *linkedChats) {
	t.Helper()
	env := testEnv(t)
	chats := &linkedChats{codes: map[string]string{}, of: map[string]string{}}
	if linked != "" {
		chats.of[sampleNote().Recipient.Number] = linked
	}
	env.Chats = chats
	return openWith(t, telegramFor(s.URL), env), chats
}

func methods(calls []telegramCall) (all []string) {
	for _, c := range calls {
		all = append(all, c.method)
	}
	return all
}

// One attempt, by what it meets.
func TestTelegramSend(t *testing.T) {
	video := delivery.Media{Type: "video/mp4", Bytes: int64(len(speech))}
	for name, tc := range map[string]struct {
		address string // "" for the person's
		linked  string // sent to the linked chat, this one
		change  func(*delivery.Parcel)
		plans   map[string][]telegramPlan

		want    delivery.Outcome
		after   time.Duration
		says    string // a part of the error, or of the receipt
		methods []string
		last    func(telegramCall) bool // what must hold for the last request
		links   int                     // that are left
	}{
		"a voice note": {
			want: delivery.Done, methods: []string{"sendVoice"},
			last: func(c telegramCall) bool { return c.number("chat_id") == 987654321 && c.params["reply_parameters"] == nil },
		},
		"a linked chat": {
			linked: "555", want: delivery.Done, methods: []string{"sendVoice"}, links: 1,
			last: func(c telegramCall) bool { return c.number("chat_id") == 555 },
		},
		"no chat is linked":     {linked: "none", want: delivery.Dead, says: "link one on its inbox page"},
		"not an address":        {address: "Maria", want: delivery.Dead, says: "expected a chat's id"},
		"a channel by its name": {address: "@afterbeep_notes", want: delivery.Done, methods: []string{"getChat", "sendVoice"}},
		"a group":               {address: "-4711", want: delivery.Done, methods: []string{"getChat", "sendVoice"}},
		"a forum": {
			address: strconv.Itoa(testForum), want: delivery.Done, methods: []string{"getChat", "createForumTopic", "sendVoice"},
			last: func(c telegramCall) bool { return c.number("message_thread_id") == 101 },
		},
		"the forum's general topic": {
			address: strconv.Itoa(testForum) + "/1", want: delivery.Done, methods: []string{"sendVoice"},
			last: func(c telegramCall) bool { return c.params["message_thread_id"] == nil },
		},
		"a fixed topic that is gone": {
			address: strconv.Itoa(testForum) + "/55", want: delivery.Dead, says: "no such topic", methods: []string{"sendVoice"},
		},
		"a forum where the bot may not make topics": {
			address: strconv.Itoa(testForum), plans: map[string][]telegramPlan{"createForumTopic": {{status: 400, words: "Bad Request: not enough rights to create a topic"}}},
			want: delivery.Done, methods: []string{"getChat", "createForumTopic", "sendVoice"},
			last: func(c telegramCall) bool { return c.params["message_thread_id"] == nil },
		},
		"a topic whose answer is lost": {
			address: strconv.Itoa(testForum), plans: map[string][]telegramPlan{"createForumTopic": {{}}},
			want: delivery.Retry, methods: []string{"getChat", "createForumTopic"},
		},
		"topics that are closed": {
			address: strconv.Itoa(testForum), plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: TOPIC_CLOSED"}}},
			want: delivery.Done, methods: []string{"getChat", "createForumTopic", "sendVoice", "getChat", "createForumTopic", "sendVoice"},
			last: func(c telegramCall) bool { return c.number("message_thread_id") == 102 },
		},
		"topics that vanish again": {
			address: strconv.Itoa(testForum), plans: map[string][]telegramPlan{"sendVoice": {
				{status: 400, words: "Bad Request: TOPIC_DELETED"}, {status: 400, words: "Bad Request: message thread not found"},
			}},
			want: delivery.Dead, methods: []string{"getChat", "createForumTopic", "sendVoice", "getChat", "createForumTopic", "sendVoice"},
		},
		"a missed call": {
			change: func(p *delivery.Parcel) { p.Note.Kind, p.Open = delivery.Missed, nil },
			want:   delivery.Done, methods: []string{"sendMessage"},
			last: func(c telegramCall) bool { return strings.Contains(c.text("text"), "Missed call from") },
		},
		"a video": {
			change: func(p *delivery.Parcel) { p.Note.Kind, p.Note.Media = delivery.Video, video },
			want:   delivery.Done, methods: []string{"sendVideo"},
			last: func(c telegramCall) bool {
				return c.file.name == "note.mp4" && c.file.mime == "video/mp4" && c.params["supports_streaming"] == true && c.number("duration") == 12
			},
		},
		"a video in another form": {
			change: func(p *delivery.Parcel) {
				p.Note.Kind, p.Note.Media = delivery.Video, video
				p.Note.Media.Type = "video/webm"
			},
			want: delivery.Done, methods: []string{"sendDocument"},
			last: func(c telegramCall) bool { return c.file.name == "note.webm" && c.params["duration"] == nil },
		},
		"a repeat says so": {
			change: func(p *delivery.Parcel) { p.Repeat, p.Attempt = true, 2 },
			want:   delivery.Done, methods: []string{"sendVoice"},
			last: func(c telegramCall) bool { return strings.Contains(c.text("caption"), "second copy") },
		},
		"too large": {
			change: func(p *delivery.Parcel) { p.Note.Media.Bytes = telegramUpload + 1 }, want: delivery.Dead, says: "a bot may send",
		},
		"no voice messages": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: VOICE_MESSAGES_FORBIDDEN"}}},
			want:  delivery.Done, methods: []string{"sendVoice", "sendAudio"},
			last: func(c telegramCall) bool {
				return c.file.name == "note.mp3" && bytes.HasPrefix(c.file.body, []byte("audio/mpeg")) && strings.HasPrefix(c.text("title"), "Voice message from") && c.text("caption") != ""
			},
		},
		"no voice messages, nor MP3": {
			change: func(p *delivery.Parcel) { p.Convert = nil },
			plans:  map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: VOICE_MESSAGES_FORBIDDEN"}}},
			want:   delivery.Done, methods: []string{"sendVoice", "sendDocument"},
			last: func(c telegramCall) bool {
				return bytes.Equal(c.file.body, speech) && c.params["disable_content_type_detection"] == true
			},
		},
		"no voice messages, and MP3 fails": {
			change: func(p *delivery.Parcel) {
				p.Convert = func(context.Context, string) ([]byte, error) { return nil, errors.New("no encoder") }
			},
			plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: VOICE_MESSAGES_FORBIDDEN"}}},
			want:  delivery.Done, methods: []string{"sendVoice", "sendDocument"},
		},
		"a group that moved": {
			address: "-4711", plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: group chat was upgraded to a supergroup chat", moved: -1009999}}},
			want: delivery.Done, methods: []string{"getChat", "sendVoice", "getChat", "sendVoice"},
			last: func(c telegramCall) bool { return c.number("chat_id") == -1009999 },
		},
		"a group that moved nowhere": {
			address: "-4711", plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: group chat was upgraded to a supergroup chat"}}},
			want: delivery.Dead, says: "new id", methods: []string{"getChat", "sendVoice"},
		},
		"too many": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 429, words: "Too Many Requests: retry after 35", after: 35}}},
			want:  delivery.Retry, after: 35 * time.Second, methods: []string{"sendVoice"},
		},
		"blocked": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 403, words: "Forbidden: bot was blocked by the user"}}},
			want:  delivery.Dead, says: "blocked", methods: []string{"sendVoice"},
		},
		"blocked in a linked chat": {
			linked: "555", plans: map[string][]telegramPlan{"sendVoice": {{status: 403, words: "Forbidden: user is deactivated"}}},
			want: delivery.Dead, says: "blocked", methods: []string{"sendVoice"}, links: 0,
		},
		"kicked": {
			address: "-4711", plans: map[string][]telegramPlan{"getChat": {{status: 403, words: "Forbidden: bot was kicked from the group chat"}}},
			want: delivery.Dead, says: "taken out", methods: []string{"getChat"},
		},
		"not known": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: chat not found"}}},
			want:  delivery.Dead, says: "/start", methods: []string{"sendVoice"},
		},
		"no rights": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: not enough rights to send voice notes to the chat"}}},
			want:  delivery.Dead, says: "administrator", methods: []string{"sendVoice"},
		},
		"another 400": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: wrong type of the web page content"}}},
			want:  delivery.Dead, says: "does not want", methods: []string{"sendVoice"},
		},
		"a token that was withdrawn": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 401, words: "Unauthorized"}}},
			want:  delivery.Retry, says: "@BotFather", methods: []string{"sendVoice"},
		},
		"the service fails": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 500, words: "Internal Server Error"}}},
			want:  delivery.Unknown, methods: []string{"sendVoice"},
		},
		"the service restarts": {
			plans: map[string][]telegramPlan{"sendVoice": {{status: 503, words: "Service Unavailable", after: 5}}},
			want:  delivery.Retry, after: 5 * time.Second, methods: []string{"sendVoice"},
		},
		"the answer is lost": {
			plans: map[string][]telegramPlan{"sendVoice": {{}}}, want: delivery.Unknown, says: "got through", methods: []string{"sendVoice"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTelegramServer(t)
			for method, plans := range tc.plans {
				s.plan(method, plans...)
			}
			p := parcelOf(sampleNote())
			p.Address = "987654321"
			if tc.address != "" {
				p.Address = tc.address
			}
			linked := tc.linked
			if linked != "" {
				p.Address, linked = "", strings.TrimPrefix(linked, "none")
			}
			if tc.change != nil {
				tc.change(&p)
			}
			c, chats := telegramWith(t, s, linked)
			receipt, err := c.Send(t.Context(), p)
			calls := s.called()
			if !slices.Equal(methods(calls), tc.methods) {
				t.Errorf("requests %v, want %v", methods(calls), tc.methods)
			}
			if tc.last != nil && (len(calls) == 0 || !tc.last(calls[len(calls)-1])) {
				t.Errorf("the last request: %v", calls[len(calls)-1].params)
			}
			if len(chats.all()) != tc.links {
				t.Errorf("links %v, want %d", chats.all(), tc.links)
			}
			if tc.want == delivery.Done {
				last := calls[len(calls)-1]
				if err != nil || !strings.HasSuffix(receipt.ID, "/"+strconv.FormatInt(s.last, 10)) || receipt.Detail != "200 OK, "+last.method {
					t.Errorf("receipt %+v, error %v", receipt, err)
				}
				return
			}
			var failed *delivery.SendError
			if !errors.As(err, &failed) || failed.Outcome != tc.want || failed.After != tc.after || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%#v, want %s and %q", err, tc.want, tc.says)
			}
		})
	}
}

// What one note teaches, the next one uses.
func TestTelegramRemembers(t *testing.T) {
	for name, tc := range map[string]struct {
		address string
		first   func(*delivery.Parcel)
		plans   map[string][]telegramPlan
		second  func(*delivery.Parcel)
		between func(*telegramServer)
		methods []string // of both
		last    func(telegramCall) bool
	}{
		"the caller's last message": {
			address: "987654321", methods: []string{"sendVoice", "sendVoice"},
			last: func(c telegramCall) bool {
				reply, _ := c.params["reply_parameters"].(map[string]any)
				return reply["message_id"] == json.Number("101") && reply["allow_sending_without_reply"] == true
			},
		},
		"not another caller's": {
			address: "987654321", methods: []string{"sendVoice", "sendVoice"},
			second: func(p *delivery.Parcel) { p.Note.Caller.Number = "+49301" },
			last:   func(c telegramCall) bool { return c.params["reply_parameters"] == nil },
		},
		"no private one's": {
			address: "987654321", methods: []string{"sendVoice", "sendVoice"},
			first:  func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Private: true} },
			second: func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Private: true} },
			last:   func(c telegramCall) bool { return c.params["reply_parameters"] == nil },
		},
		"the caller's topic": {
			address: strconv.Itoa(testForum), methods: []string{"getChat", "createForumTopic", "sendVoice", "sendVoice"},
			last: func(c telegramCall) bool {
				return c.number("message_thread_id") == 101 && c.params["reply_parameters"] == nil
			},
		},
		"a topic that was deleted": {
			address: strconv.Itoa(testForum), between: func(s *telegramServer) { delete(s.topics, 101) },
			methods: []string{"getChat", "createForumTopic", "sendVoice", "sendVoice", "getChat", "createForumTopic", "sendVoice"},
			last:    func(c telegramCall) bool { return c.number("message_thread_id") == 103 },
		},
		"that topics may not be made": {
			address: strconv.Itoa(testForum), plans: map[string][]telegramPlan{"createForumTopic": {{status: 400, words: "Bad Request: not enough rights to create a topic"}}},
			methods: []string{"getChat", "createForumTopic", "sendVoice", "sendVoice"},
			last:    func(c telegramCall) bool { return c.params["reply_parameters"] != nil },
		},
		"that a person takes no voice messages": {
			address: "987654321", plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: VOICE_MESSAGES_FORBIDDEN"}}},
			methods: []string{"sendVoice", "sendAudio", "sendAudio"},
		},
		"where a group has moved": {
			address: "-4711", plans: map[string][]telegramPlan{"sendVoice": {{status: 400, words: "Bad Request: group chat was upgraded to a supergroup chat", moved: -1009999}}},
			methods: []string{"getChat", "sendVoice", "getChat", "sendVoice", "sendVoice"},
			last:    func(c telegramCall) bool { return c.number("chat_id") == -1009999 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTelegramServer(t)
			for method, plans := range tc.plans {
				s.plan(method, plans...)
			}
			c, _ := telegramWith(t, s, "")
			for i, change := range []func(*delivery.Parcel){tc.first, tc.second} {
				p := parcelOf(sampleNote())
				p.Address = tc.address
				if change != nil {
					change(&p)
				}
				if i == 1 && tc.between != nil {
					tc.between(s)
				}
				if _, err := c.Send(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			calls := s.called()
			if !slices.Equal(methods(calls), tc.methods) {
				t.Errorf("requests %v, want %v", methods(calls), tc.methods)
			}
			if tc.last != nil && !tc.last(calls[len(calls)-1]) {
				t.Errorf("the last request: %v", calls[len(calls)-1].params)
			}
		})
	}
}

// What the service asked to wait for is waited for, without asking again.
func TestTelegramHoldsAChatBack(t *testing.T) {
	s := newTelegramServer(t)
	s.plan("sendVoice", telegramPlan{status: 429, words: "Too Many Requests: retry after 35", after: 35})
	c, _ := telegramWith(t, s, "")
	p := parcelOf(sampleNote())
	p.Address = "987654321"
	var failed *delivery.SendError
	if _, err := c.Send(t.Context(), p); !errors.As(err, &failed) || failed.Early {
		t.Errorf("the first attempt: %#v", err)
	}
	_, err := c.Send(t.Context(), p)
	if !errors.As(err, &failed) || !failed.Early || failed.Outcome != delivery.Retry || failed.After < 30*time.Second {
		t.Errorf("the second attempt: %#v", err)
	}
	p.Address = "555"
	if _, err := c.Send(t.Context(), p); err != nil {
		t.Errorf("another chat: %v", err)
	}
	if n := len(s.called()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// forgetful is a memory that fails.
type forgetful struct{ delivery.Memory }

func (forgetful) Get(context.Context, string) ([]byte, error) { return nil, errors.New("disk fails") }
func (forgetful) Put(context.Context, delivery.Entry) error   { return errors.New("disk fails") }
func (forgetful) Add(context.Context, delivery.Entry) (bool, error) {
	return false, errors.New("disk fails")
}
func (forgetful) Delete(context.Context, string) error { return errors.New("disk fails") }

func TestTelegramWithoutItsMemory(t *testing.T) {
	s := newTelegramServer(t)
	env := testEnv(t)
	env.Memory = forgetful{}
	c := openWith(t, telegramFor(s.URL), env)
	p := parcelOf(sampleNote())
	p.Address = "987654321"
	var failed *delivery.SendError
	if _, err := c.Send(t.Context(), p); !errors.As(err, &failed) || failed.Outcome != delivery.Retry || len(s.called()) != 0 {
		t.Errorf("%v, %d requests", err, len(s.called()))
	}
}

func TestTelegramIsNoBotAPI(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>Welcome</html>") })
	p := parcelOf(sampleNote())
	p.Address = "987654321"
	_, err := open(t, telegramFor(server.URL)).Send(t.Context(), p)
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Retry || !failed.Credentials || !strings.Contains(err.Error(), "api_url") {
		t.Errorf("a web page takes the note: %v", err)
	}
}

// The description must be there for the requests to be held against it.
func TestTelegramDescription(t *testing.T) {
	api := readBotAPI(t)
	if api == nil {
		t.Skip("../shared/specs is not there: requests are not held against the published Bot API; set AFTERBEEP_SPECS to its folder")
	}
	for wrong, params := range map[string]map[string]any{
		"sendVoice.voice is missing":           {"chat_id": json.Number("1")},
		"sendMessage has no txt":               {"chat_id": json.Number("1"), "text": "x", "txt": "x"},
		"sendMessage.text is bool, no String":  {"chat_id": json.Number("1"), "text": true},
		"sendMessage.chat_id is float64":       {"chat_id": 1.5, "text": "x"},
		"sendMessage.parse_mode is \"html\"":   {"chat_id": json.Number("1"), "text": "x", "parse_mode": "html"},
		"sendMessage.text has 4097 characters": {"chat_id": json.Number("1"), "text": strings.Repeat("ü", 4097)},
		"< or > is no entity":                  {"chat_id": json.Number("1"), "text": "a<b"},
		"& begins no entity":                   {"chat_id": json.Number("1"), "text": "a & b"},
		"getUpdates.limit is 101":              {"limit": json.Number("101")},
		"ReplyParameters":                      {"chat_id": json.Number("1"), "text": "x", "reply_parameters": "5"},
		"there is no method \"sendvoice\"":     {},
	} {
		method, _, _ := strings.Cut(strings.TrimPrefix(wrong, "there is no method \""), ".")
		method, _, _ = strings.Cut(strings.Trim(method, "\""), " ")
		if _, known := api.Methods[method]; !known && !strings.HasPrefix(wrong, "there") {
			method = "sendMessage"
		}
		if err := api.params(method, params); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
