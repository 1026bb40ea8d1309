package channel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

const (
	waID      = "106540352242922" // of the business's number
	waAccount = "419561257915477"
	waToken   = "EAAJB-t0ken-0123456789"
	waSecret  = "app5ecret-0123456789"
	waVerify  = "ver1fy-me"
	waTo      = "4915112345678"
)

// waServer is the service: it holds each request against the published schema,
// keeps it, and answers well or as it was told.
type waServer struct {
	t       *testing.T
	url     string
	schemas waSchemas

	mu       sync.Mutex
	got      []waRequest
	strikes  map[string][]http.HandlerFunc // by the kind of request, the next first; nil for well
	messages int
	user     string // as the service knows whoever is written to; "" for as he is written to
	files    map[string][]byte
	about    string // the answers to the GETs
	template string
}

// waRequest is a request that came.
type waRequest struct {
	kind    string // file, text, audio, video, template, about, templates
	message waMessage
	file    []byte
}

func newWhatsAppServer(t *testing.T) *waServer {
	t.Helper()
	s := &waServer{t: t, schemas: whatsAppSchemas(t), strikes: map[string][]http.HandlerFunc{}, files: map[string][]byte{}}
	s.about = `{"id":"` + waID + `","display_phone_number":"+1 555-078-3881","verified_name":"Jasper's Market","quality_rating":"GREEN",` +
		`"health_status":{"can_send_message":"AVAILABLE","entities":[{"entity_type":"WABA","id":"` + waAccount + `","can_send_message":"AVAILABLE"}]}}`
	s.url = serve(t, s.serve).URL
	return s
}

// strike answers the next requests of a kind as told; a nil one well.
func (s *waServer) strike(kind string, handlers ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strikes[kind] = append(s.strikes[kind], handlers...)
}

// kinds are the requests that came since the last call, in their order.
func (s *waServer) kinds() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.got {
		all = append(all, r.kind)
	}
	s.got = nil
	return strings.Join(all, " ")
}

// last is the last request of a kind.
func (s *waServer) last(kind string) waRequest {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.got) {
		if r.kind == kind {
			return r
		}
	}
	s.t.Fatalf("no %s was sent", kind)
	return waRequest{}
}

func (s *waServer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("reading a request: %v", err)
	}
	if r.Header.Get("Authorization") != "Bearer "+waToken || r.UserAgent() != "afterbeep/test" {
		s.t.Errorf("the request's headers: %v", r.Header)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var got waRequest
	switch r.Method + " " + r.URL.Path {
	case "POST /v23.0/" + waID + "/media":
		got = s.readFile(r, body)
	case "POST /v23.0/" + waID + "/messages":
		got = s.readMessage(r, body)
	case "GET /v23.0/" + waID:
		got.kind = "about"
	case "GET /v23.0/" + waAccount + "/message_templates":
		got.kind = "templates"
	default:
		s.t.Errorf("%s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
		return
	}
	s.got = append(s.got, got)
	if next := s.strikes[got.kind]; len(next) > 0 {
		s.strikes[got.kind] = next[1:]
		if next[0] != nil {
			next[0](w, r)
			return
		}
	}
	s.well(w, got)
}

func (s *waServer) well(w http.ResponseWriter, got waRequest) {
	w.Header().Set("Content-Type", "application/json")
	switch got.kind {
	case "file":
		id := fmt.Sprintf("44907093273840%02d", len(s.files))
		s.files[id] = got.file
		_, _ = fmt.Fprintf(w, `{"id":%q}`, id)
	case "about":
		_, _ = io.WriteString(w, s.about)
	case "templates":
		_, _ = io.WriteString(w, s.template)
	default:
		s.messages++
		to := got.message.To + got.message.Recipient
		known := s.user
		if known == "" {
			known = to
		}
		answer := fmt.Sprintf(`{"messaging_product":"whatsapp","contacts":[{"input":%q,"wa_id":%q}],"messages":[{"id":"wamid.%d"}]}`, to, known, s.messages)
		if err := s.schemas.holds("MessageResponsePayload", []byte(answer)); err != nil {
			s.t.Error(err)
		}
		_, _ = io.WriteString(w, answer)
	}
}

func (s *waServer) readFile(r *http.Request, body []byte) waRequest {
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := r.MultipartReader()
	if err != nil {
		s.t.Error(err)
		return waRequest{}
	}
	parts, err := form.ReadForm(1 << 26)
	if err != nil {
		s.t.Error(err)
		return waRequest{}
	}
	if len(parts.Value) != 1 || len(parts.File) != 1 || len(parts.File["file"]) != 1 || parts.Value["messaging_product"][0] != "whatsapp" {
		s.t.Errorf("the form has %v and %v", parts.Value, parts.File)
		return waRequest{}
	}
	head := parts.File["file"][0]
	if kind := head.Header.Get("Content-Type"); kind != "audio/ogg; codecs=opus" && kind != "video/mp4" {
		s.t.Errorf("the file is a %q", kind)
	}
	f, err := head.Open()
	if err != nil {
		s.t.Error(err)
		return waRequest{}
	}
	defer func() { _ = f.Close() }()
	file, err := io.ReadAll(f)
	if err != nil {
		s.t.Error(err)
	}
	return waRequest{kind: "file", file: file}
}

// waSchemaOf is the schema of each type of message.
var waSchemaOf = map[string]string{"text": "TextMessage", "audio": "AudioMessage", "video": "VideoMessage", "template": "TemplateMessage"}

func (s *waServer) readMessage(r *http.Request, body []byte) waRequest {
	var m waMessage
	if err := json.Unmarshal(body, &m); err != nil || r.Header.Get("Content-Type") != "application/json" {
		s.t.Errorf("the message: %v, %q", err, r.Header.Get("Content-Type"))
	}
	if schema, ok := waSchemaOf[m.Type]; !ok {
		s.t.Errorf("the message is a %q", m.Type)
	} else if err := s.schemas.holds(schema, body); err != nil {
		s.t.Error(err)
	}
	for _, c := range s.components(m) {
		if err := s.schemas.holds(c.schema, c.text); err != nil {
			s.t.Error(err)
		}
	}
	for _, id := range []string{media(m.Audio), media(m.Video)} {
		if _, ok := s.files[id]; !ok && id != "" {
			s.t.Errorf("there is no file %q", id)
		}
	}
	return waRequest{kind: m.Type, message: m}
}

func media[M waAudio | waVideo](m *M) string {
	if m == nil {
		return ""
	}
	switch m := any(*m).(type) {
	case waAudio:
		return m.ID
	case waVideo:
		return m.ID
	}
	return ""
}

type waPart struct {
	schema string
	text   []byte
}

// components are the parts of a template, which the message's own schema does
// not look into.
func (s *waServer) components(m waMessage) (all []waPart) {
	if m.Template == nil {
		return nil
	}
	schemas := map[string]string{"body": "BodyComponent", "button": "ButtonComponent", "text": "TextParameter", "payload": "ButtonPayloadParameter"}
	add := func(kind string, part any) {
		text, err := json.Marshal(part)
		if err != nil {
			s.t.Error(err)
		}
		all = append(all, waPart{schemas[kind], text})
	}
	for _, c := range m.Template.Components {
		add(c.Type, c)
		for _, p := range c.Parameters {
			add(p.Type, p)
		}
	}
	return all
}

// waFails answers with an error of the service, telling back what it was told.
func waFails(s *waServer, status, code, sub int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		body := fmt.Sprintf(`{"error":{"message":"(#%d) sorry %s %s","type":"OAuthException","code":%d,"error_subcode":%d,"fbtrace_id":"Az8or2yhqkZfEZ",`+
			`"error_data":{"messaging_product":"whatsapp","details":"cannot send to +%s"}}}`, code, waTo, waToken, code, sub, waTo)
		if err := s.schemas.holds("ErrorResponse", []byte(body)); err != nil {
			s.t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// waLost takes the request and loses the answer.
func waLost(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

func whatsAppFor(server string) Options {
	o := defaultWhatsApp()
	o.PhoneNumberID, o.Token, o.AppSecret, o.VerifyToken = waID, waToken, waSecret, waVerify
	o.APIURL, o.AllowPrivate = server, true
	return o
}

// whatsAppSubject is the channel in the suite.
func whatsAppSubject() subject {
	return subject{
		name: "whatsapp", options: whatsAppFor, address: waTo,
		secrets: []string{waToken, waSecret, waVerify, waID},
		verify: func(t *testing.T, r *http.Request, body []byte, n delivery.Note) {
			t.Helper()
			var m waMessage
			if err := json.Unmarshal(body, &m); err != nil || r.Header.Get("Authorization") != "Bearer "+waToken || m.To != waTo {
				t.Errorf("%v: %s", err, body)
			}
			if (n.Kind == delivery.Missed) != (m.Type == "text") {
				t.Errorf("a %s is sent as %s", n.Kind, m.Type)
			}
		},
		// By the callback data no repeat is told; it names the job all the same.
		key:     func(_ *http.Request, body []byte) string { return waCallbackOf(body) },
		success: waWell, most: waMost,
		final: func(r *http.Request) bool {
			body, _ := io.ReadAll(r.Body)
			return delivery.ValidID(waCallbackOf(body))
		},
		settles: statusWithin,
		statuses: map[int]meaning{ // without an error of the service's own
			401: {delivery.Retry, true, 90 * time.Second, "token"},
			403: {delivery.Retry, true, 90 * time.Second, "token"},
			500: {delivery.Unknown, false, 90 * time.Second, ""},
			504: {delivery.Unknown, false, 90 * time.Second, ""},
		},
	}
}

func waCallbackOf(body []byte) string {
	var m waMessage
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	return m.Callback
}

// waWell answers any request as the service does.
func waWell(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if strings.HasSuffix(r.URL.Path, "/media") {
		_, _ = io.WriteString(w, `{"id":"4490709327384033"}`)
		return
	}
	_, _ = io.WriteString(w, `{"messaging_product":"whatsapp","contacts":[{"input":"`+waTo+`","wa_id":"`+waTo+`"}],"messages":[{"id":"wamid.gBGG"}]}`)
}
