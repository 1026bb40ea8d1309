package channel

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

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
			last: func(c telegramCall) bool {
				return c.number("chat_id") == 987654321 && c.params["reply_parameters"] == nil
			},
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
			last: func(c telegramCall) bool {
				preview, _ := c.params["link_preview_options"].(map[string]any)
				return strings.Contains(c.text("text"), "Missed call from") && preview["is_disabled"] == true
			},
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
		"a video that is refused as if it were a voice message": {
			change: func(p *delivery.Parcel) { p.Note.Kind, p.Note.Media = delivery.Video, video },
			plans:  map[string][]telegramPlan{"sendVideo": {{status: 400, words: "Bad Request: VOICE_MESSAGES_FORBIDDEN"}}},
			want:   delivery.Dead, methods: []string{"sendVideo"},
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
		"a linked chat where it may not write": {
			linked: "-4711", plans: map[string][]telegramPlan{"sendVoice": {{status: 403, words: "Forbidden: CHAT_WRITE_FORBIDDEN"}}},
			want: delivery.Dead, says: "administrator", methods: []string{"getChat", "sendVoice"}, links: 1,
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
