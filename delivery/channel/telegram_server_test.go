package channel

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testBot   = "4242424242:AAGtest-Bot_S3cretS3cretS3cretS3cret"
	testName  = "AfterbeepTestBot"
	testForum = -1001234567890
)

// telegramServer is Telegram as far as a bot sees it. It holds every request
// against the published description, where that is to be had, and its own
// answers too.
type telegramServer struct {
	*httptest.Server
	t   *testing.T
	api *botAPI

	mu      sync.Mutex
	calls   []telegramCall
	planned map[string][]telegramPlan // what a method answers next, in place of success
	topics  map[int64]bool            // of the forum
	hook    string                    // the URL of a webhook
	failing string                    // what the webhook's last delivery met
	updates []map[string]any          // that wait
	arrived chan struct{}             // closed when more wait
	asking  int                       // counts the polls: the latest one stays
	last    int64                     // the last id that was given
}

// telegramCall is a request as the server understood it.
type telegramCall struct {
	method string
	params map[string]any
	file   sentFile
}

// number is a parameter, 0 for none.
func (c telegramCall) number(name string) int64 {
	n, _ := strconv.ParseInt(fmt.Sprint(c.params[name]), 10, 64)
	return n
}

func (c telegramCall) text(name string) string {
	s, _ := c.params[name].(string)
	return s
}

// telegramPlan is an answer that is no success.
type telegramPlan struct {
	status int // 0 for an answer that is lost, after the request was acted on
	words  string
	after  int   // parameters.retry_after
	moved  int64 // parameters.migrate_to_chat_id
}

func newTelegramServer(t *testing.T) *telegramServer {
	t.Helper()
	s := &telegramServer{
		t: t, api: readBotAPI(t), planned: map[string][]telegramPlan{}, topics: map[int64]bool{}, arrived: make(chan struct{}), last: 100,
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// plan has a method fail as told, once for each of them.
func (s *telegramServer) plan(method string, p ...telegramPlan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned[method] = append(s.planned[method], p...)
}

// called are the requests of some methods, or of all.
func (s *telegramServer) called(methods ...string) []telegramCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []telegramCall
	for _, c := range s.calls {
		if len(methods) == 0 || slices.Contains(methods, c.method) {
			found = append(found, c)
		}
	}
	return found
}

// ServeHTTP answers one request.
func (s *telegramServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, ok := strings.CutPrefix(r.URL.Path, "/bot"+testBot+"/")
	if !ok {
		answerTelegram(w, telegramPlan{status: 401, words: "Unauthorized"})
		return
	}
	call, err := readTelegram(s.api, method, r)
	if err != nil {
		s.t.Errorf("%s: %v", method, err)
		answerTelegram(w, telegramPlan{status: 400, words: "Bad Request: " + err.Error()})
		return
	}
	if s.api != nil {
		if err := s.api.params(method, call.params); err != nil {
			s.t.Errorf("%s does not keep to the description: %v", method, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	var plan *telegramPlan
	if next := s.planned[method]; len(next) > 0 {
		plan, s.planned[method] = &next[0], next[1:]
	}
	if plan != nil && plan.status != 0 {
		answerTelegram(w, *plan)
		return
	}
	result, refused := s.act(r, call)
	switch {
	case refused != nil:
		answerTelegram(w, *refused)
	case plan != nil: // done, and nobody learns of it
		lose(w)
	default:
		s.answer(w, method, result)
	}
}

// answer writes a success, which must be what the description says.
func (s *telegramServer) answer(w http.ResponseWriter, method string, result any) {
	if s.api != nil {
		if err := s.api.result(method, asJSON(s.t, result)); err != nil {
			s.t.Errorf("the test server's answer is wrong: %v", err)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "result": result})
}

func answerTelegram(w http.ResponseWriter, p telegramPlan) {
	body := map[string]any{"ok": false, "error_code": p.status, "description": p.words}
	parameters := map[string]any{}
	if p.after != 0 {
		parameters["retry_after"] = p.after
	}
	if p.moved != 0 {
		parameters["migrate_to_chat_id"] = p.moved
	}
	if len(parameters) > 0 {
		body["parameters"] = parameters
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(body)
}

// lose breaks the connection in place of an answer.
func lose(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// act does what a method is for. The lock is held.
func (s *telegramServer) act(r *http.Request, c telegramCall) (result any, refused *telegramPlan) {
	switch c.method {
	case "getMe":
		return map[string]any{"id": 4242424242, "is_bot": true, "first_name": "Afterbeep", "username": testName}, nil
	case "getChat":
		kind := "private"
		if c.number("chat_id") < 0 || c.text("chat_id") != "" {
			kind = "supergroup"
		}
		chat := map[string]any{
			"id": c.number("chat_id"), "type": kind, "accent_color_id": 1, "max_reaction_count": 11,
			"accepted_gift_types": map[string]any{"unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false, "premium_subscription": false, "gifts_from_channels": false},
		}
		if c.number("chat_id") == testForum {
			chat["is_forum"] = true
		}
		return chat, nil
	case "createForumTopic":
		if c.number("chat_id") != testForum {
			return nil, &telegramPlan{status: 400, words: "Bad Request: the chat is not a forum"}
		}
		s.last++
		s.topics[s.last] = true
		return map[string]any{"message_thread_id": s.last, "name": c.text("name"), "icon_color": 7322096}, nil
	case "setWebhook":
		if !strings.HasPrefix(c.text("url"), "https://") {
			return nil, &telegramPlan{status: 400, words: "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"}
		}
		s.hook = c.text("url")
		return true, nil
	case "deleteWebhook":
		s.hook = ""
		return true, nil
	case "getWebhookInfo":
		info := map[string]any{"url": s.hook, "has_custom_certificate": false, "pending_update_count": len(s.updates)}
		if s.failing != "" {
			info["last_error_date"], info["last_error_message"] = time.Now().Unix(), s.failing
		}
		return info, nil
	case "getUpdates":
		return s.poll(r, c)
	}
	return s.message(c)
}

// message takes a message into its chat.
func (s *telegramServer) message(c telegramCall) (result any, refused *telegramPlan) {
	chat, topic := c.number("chat_id"), c.number("message_thread_id")
	if topic != 0 && !s.topics[topic] {
		return nil, &telegramPlan{status: 400, words: "Bad Request: message thread not found"}
	}
	s.last++
	kind := "private"
	if chat < 0 || c.text("chat_id") != "" {
		kind = "supergroup"
	}
	return map[string]any{"message_id": s.last, "date": 1772366400, "chat": map[string]any{"id": chat, "type": kind}}, nil
}

// poll answers getUpdates: at once when updates wait, else when some come. A
// later poll ends this one. The lock is held, but for the waiting.
func (s *telegramServer) poll(r *http.Request, c telegramCall) (result any, refused *telegramPlan) {
	if s.hook != "" {
		return nil, &telegramPlan{status: 409, words: "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"}
	}
	s.asking++
	mine := s.asking
	s.updates = slices.DeleteFunc(s.updates, func(u map[string]any) bool { return int64(u["update_id"].(int)) < c.number("offset") })
	deadline := time.After(time.Duration(c.number("timeout")) * time.Second)
	for waiting := true; waiting && len(s.updates) == 0; {
		arrived := s.arrived
		s.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline:
			waiting = false
		case <-r.Context().Done():
			waiting = false
		}
		s.mu.Lock()
		if s.asking != mine {
			return nil, &telegramPlan{status: 409, words: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"}
		}
	}
	return append([]map[string]any{}, s.updates...), nil
}

// tell has updates wait for the bot, as they are given: repeated and out of
// order too.
func (s *telegramServer) tell(updates ...map[string]any) {
	s.t.Helper()
	for _, u := range updates {
		if s.api == nil {
			break
		}
		if err := s.api.one("update", "Update", asJSON(s.t, u)); err != nil {
			s.t.Fatalf("this is no update: %v", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates = append(s.updates, updates...)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// asJSON is a value as a client reads it.
func asJSON(t *testing.T, v any) (got any) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

// readTelegram reads the parameters of a request, JSON or a form.
func readTelegram(api *botAPI, method string, r *http.Request) (telegramCall, error) {
	call := telegramCall{method: method, params: map[string]any{}}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.Method != http.MethodPost {
		return call, fmt.Errorf("%s of %q: %w", r.Method, r.Header.Get("Content-Type"), err)
	}
	if kind == "application/json" {
		d := json.NewDecoder(r.Body)
		d.UseNumber()
		return call, d.Decode(&call.params)
	}
	form := multipart.NewReader(r.Body, params["boundary"])
	for {
		part, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // NextPart returns it bare
			return call, nil
		}
		if err != nil {
			return call, err
		}
		body, err := io.ReadAll(part)
		if err != nil {
			return call, err
		}
		if part.FileName() != "" {
			call.file = sentFile{part.FileName(), part.Header.Get("Content-Type"), body}
			call.params[part.FormName()] = call.file
			continue
		}
		call.params[part.FormName()] = formValue(api, method, part.FormName(), string(body))
	}
}

// formValue is a part of a form by the type that the description gives it:
// text, or JSON.
func formValue(api *botAPI, method, name, text string) any {
	if api != nil {
		for _, f := range api.Methods[method].Fields {
			if f.Name == name && slices.Equal(f.Types, []string{"String"}) {
				return text
			}
		}
	}
	var value any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&value) != nil || d.More() {
		return text
	}
	return value
}
