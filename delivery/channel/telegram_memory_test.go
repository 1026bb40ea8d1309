package channel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// What one note teaches, the next one uses.
func TestTelegramRemembers(t *testing.T) {
	for name, tc := range map[string]struct {
		address string
		first   func(*delivery.Parcel)
		plans   map[string][]telegramPlan
		second  func(*delivery.Parcel)
		between func(*telegramServer)
		fails   bool     // the first one
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
		"a topic that was made for a note that failed": {
			address: strconv.Itoa(testForum), plans: map[string][]telegramPlan{"sendVoice": {{status: 503, words: "Service Unavailable"}}},
			fails: true, methods: []string{"getChat", "createForumTopic", "sendVoice", "sendVoice"},
			last: func(c telegramCall) bool { return c.number("message_thread_id") == 101 },
		},
		"a caller whose name cannot be seen": {
			address: strconv.Itoa(testForum), methods: []string{"getChat", "createForumTopic", "sendVoice", "sendVoice"},
			first:  func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Name: "\u200b\x00"} },
			second: func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Name: "\u200b\x00"} },
		},
		"private callers' topic": {
			address: strconv.Itoa(testForum), methods: []string{"getChat", "createForumTopic", "sendVoice", "sendVoice"},
			first:  func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Private: true} },
			second: func(p *delivery.Parcel) { p.Note.Caller = delivery.Caller{Private: true} },
			last:   func(c telegramCall) bool { return c.number("message_thread_id") == 101 },
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
				if _, err := c.Send(t.Context(), p); (err != nil) != (tc.fails && i == 0) {
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
