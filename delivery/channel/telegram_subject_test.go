package channel

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
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

// telegramWith is a bot at the server; what its mailbox is linked to, "" for
// nothing.
func telegramWith(t *testing.T, s *telegramServer, linked string) (delivery.Channel, *linkedChats) {
	t.Helper()
	env := testEnv(t)
	chats := newChats(nil)
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
