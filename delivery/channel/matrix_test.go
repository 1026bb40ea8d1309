package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"maunium.net/go/mautrix"

	"github.com/afterbeep/afterbeep/delivery"
)

const (
	testRoom  = "!abcdefgh:example.org"
	testToken = "syt_Secret-Token-of-the-test"
)

func matrixFor(server string) Options {
	o := &MatrixOptions{Homeserver: server, User: "@afterbeep:example.org", Token: testToken, HTTP: defaultHTTP()}
	o.AllowPrivate = true
	return o
}

// matrixSubject is the account in a clear room. What an encrypted one needs,
// only a real homeserver has.
func matrixSubject() subject {
	return subject{
		name: "matrix", options: matrixFor, address: testRoom, secrets: []string{testToken},
		env: func(t *testing.T) Env {
			env := testEnv(t)
			env.Folder = ""
			return env
		},
		verify: verifyMatrix, success: matrixWell, final: matrixCarries, most: maxMatrixFile,
		key: func(r *http.Request, _ []byte) string { return path.Base(r.URL.Path) },
		fault: func(w http.ResponseWriter, r *http.Request, status int) {
			w.Header().Set("Retry-After", "90")
			saysMatrix(w, status, map[int]string{
				401: "M_UNKNOWN_TOKEN", 403: "M_USER_DEACTIVATED", 404: "M_UNRECOGNIZED", 413: "M_TOO_LARGE", 429: "M_LIMIT_EXCEEDED",
			}[status], echo(r))
		},
		statuses: map[int]meaning{
			401: {delivery.Retry, true, 90 * time.Second, "token"},
			404: {delivery.Retry, true, 90 * time.Second, "homeserver"},
			413: {delivery.Dead, false, 0, "larger"},
			500: {delivery.Unknown, false, 90 * time.Second, ""},
			504: {delivery.Unknown, false, 90 * time.Second, ""},
		},
		earlier: map[int]meaning{500: common[500], 504: common[504]},
	}
}

// saysMatrix answers with a standard error.
func saysMatrix(w http.ResponseWriter, status int, code, words string) {
	if code == "" {
		code = "M_UNKNOWN"
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"errcode": code, "error": words})
}

// matrixWell answers each request as a homeserver does when all is well.
func matrixWell(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	switch {
	case strings.Contains(r.URL.Path, "/state/m.room.encryption"):
		saysMatrix(w, http.StatusNotFound, "M_NOT_FOUND", "no such state")
	case strings.HasSuffix(r.URL.Path, "/messages"):
		_, _ = io.WriteString(w, `{"chunk":[],"start":"s"}`)
	case strings.HasSuffix(r.URL.Path, "/upload"):
		_, _ = io.WriteString(w, `{"content_uri":"mxc://example.org/abc"}`)
	case matrixCarries(r):
		_, _ = io.WriteString(w, `{"event_id":"$event"}`)
	default:
		_, _ = io.WriteString(w, `{}`)
	}
}

func matrixCarries(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/send/m.room.message/")
}

func verifyMatrix(t *testing.T, r *http.Request, body []byte, n delivery.Note) {
	t.Helper()
	if r.Method != http.MethodPut || r.URL.Path != "/_matrix/client/v3/rooms/"+testRoom+"/send/m.room.message/"+n.ID ||
		r.Header.Get("Authorization") != "Bearer "+testToken {
		t.Errorf("%s %s", r.Method, r.URL.Path)
	}
	var content struct {
		MsgType  string             `json:"msgtype"`
		Body     string             `json:"body"`
		FileName string             `json:"filename"`
		URL      string             `json:"url"`
		Job      string             `json:"app.afterbeep.job"`
		Voice    *struct{}          `json:"org.matrix.msc3245.voice"`
		Audio    *struct{}          `json:"org.matrix.msc1767.audio"`
		Mentions *struct{}          `json:"m.mentions"`
		Info     struct{ Size int } `json:"info"`
	}
	if err := json.Unmarshal(body, &content); err != nil {
		t.Error(err)
	}
	spoken := n.Kind != delivery.Missed
	if (content.MsgType == "m.audio") != spoken || (content.URL == "mxc://example.org/abc") != spoken || (content.Voice != nil) != spoken ||
		(content.Audio != nil) != spoken || content.Mentions == nil || content.Job != n.ID || content.Body == content.FileName || content.Body == "" {
		t.Errorf("content %s", body)
	}
}

func TestMatrixErrors(t *testing.T) {
	for code, want := range map[string]struct {
		status      int
		outcome     delivery.Outcome
		credentials bool
		says        string
	}{
		"M_FORBIDDEN":        {403, delivery.Dead, false, "invite it"},
		"M_NOT_FOUND":        {404, delivery.Dead, false, "no such room"},
		"M_UNKNOWN_TOKEN":    {401, delivery.Retry, true, "password"},
		"M_MISSING_TOKEN":    {401, delivery.Retry, true, "homeserver"},
		"M_USER_DEACTIVATED": {403, delivery.Retry, true, "deactivated"},
		"M_USER_LOCKED":      {401, delivery.Retry, true, "locked"},
		"M_USER_SUSPENDED":   {403, delivery.Retry, true, "suspended"},
		"M_UNRECOGNIZED":     {405, delivery.Retry, true, "homeserver"},
		"M_EXCLUSIVE":        {400, delivery.Dead, false, "prefix"},
		"M_LIMIT_EXCEEDED":   {429, delivery.Retry, false, ""},
		"M_TOO_LARGE":        {413, delivery.Dead, false, "uploads"},
		"M_BAD_JSON":         {400, delivery.Dead, false, ""},
		"M_UNKNOWN":          {500, delivery.Retry, false, ""},
	} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/upload") {
				w.WriteHeader(want.status)
				_, _ = fmt.Fprintf(w, `{"errcode":%q,"error":"@maria:example.org in %s, +49 30 55501234","retry_after_ms":1500}`, code, testRoom)
				return
			}
			matrixWell(w, r)
		})
		s := matrixSubject()
		receipt, err := s.open(t, server.URL).Send(t.Context(), s.parcel(sampleNote()))
		var failed *delivery.SendError
		if !errors.As(err, &failed) || failed.Outcome != want.outcome || failed.Credentials != want.credentials ||
			failed.Status != want.status || !strings.Contains(failed.Error(), want.says) {
			t.Errorf("%s: got %v, want %+v", code, err, want)
			continue
		}
		if (failed.After == 1500*time.Millisecond) != (want.outcome == delivery.Retry) {
			t.Errorf("%s: after %s", code, failed.After)
		}
		if !strings.HasPrefix(receipt.Detail, code) || strings.Contains(receipt.Detail, "example.org") || strings.Contains(receipt.Detail, "5550") {
			t.Errorf("%s: detail %q", code, receipt.Detail)
		}
	}
	for code := range matrixErrors {
		if !regexp.MustCompile(`^M_[A-Z_]+$`).MatchString(code) {
			t.Errorf("%s is no standard error", code)
		}
	}
}

// A file without an address is no note: neither one that the homeserver took
// that way nor one that is remembered so.
func TestMatrixUploadWithoutAddress(t *testing.T) {
	for _, says := range []string{`{}`, `{"content_uri":""}`, `{"content_uri":"mxc://example.org/"}`} {
		var well atomic.Bool
		var carried atomic.Int32
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/upload") && !well.Load():
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, says)
				return
			case matrixCarries(r):
				carried.Add(1)
				body, _ := io.ReadAll(r.Body)
				if !strings.Contains(string(body), `"url":"mxc://example.org/abc"`) {
					t.Errorf("after %s: %s", says, body)
				}
			}
			matrixWell(w, r)
		})
		env := matrixSubject().env(t)
		c, p := openWith(t, matrixFor(server.URL), env), matrixSubject().parcel(sampleNote())
		receipt, err := c.Send(t.Context(), p)
		if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Retry || carried.Load() != 0 {
			t.Errorf("after %s: %+v, %v, and %d notes", says, receipt, err, carried.Load())
		}
		well.Store(true)
		entry := delivery.Entry{Key: matrixKey("upload", p.Note.ID, testRoom), Value: []byte("{}"), For: time.Hour}
		if err := env.Memory.Put(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(t.Context(), p); err != nil || carried.Load() != 1 {
			t.Errorf("once it is well: %v, and %d notes", err, carried.Load())
		}
	}
}

// A room that the account was thrown out of and invited into again takes the
// note; one that it was only thrown out of does not.
func TestMatrixThrownOut(t *testing.T) {
	for invited, want := range map[bool]string{true: "", false: "invite it"} {
		var mu sync.Mutex
		in, sent := true, 0
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case strings.HasSuffix(r.URL.Path, "/join/"+testRoom), strings.HasSuffix(r.URL.Path, "/join"):
				in = in || invited
				if !in {
					saysMatrix(w, 403, "M_FORBIDDEN", "not invited")
					return
				}
			case matrixCarries(r) && !in:
				saysMatrix(w, 403, "M_FORBIDDEN", "not in the room")
				return
			case matrixCarries(r):
				sent++
			}
			matrixWell(w, r)
		})
		s := matrixSubject()
		c := s.open(t, server.URL)
		for round := range 2 {
			_, err := c.Send(t.Context(), s.parcel(sampleNote()))
			switch {
			case round == 0 || want == "":
				if err != nil {
					t.Fatal(err)
				}
			case err == nil || !strings.Contains(err.Error(), want):
				t.Errorf("thrown out: %v", err)
			}
			mu.Lock()
			in = false
			mu.Unlock()
		}
		if (sent == 2) != invited {
			t.Errorf("invited again %t: %d notes", invited, sent)
		}
	}
}

// What could not be kept is told again: the place in the sync stays.
func TestMatrixReceiptIsNotLost(t *testing.T) {
	job, unread := delivery.NewID(), matrixKey("unread", testRoom)
	var mu sync.Mutex
	var since []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/sync"):
			mu.Lock()
			since = append(since, r.URL.Query().Get("since"))
			mu.Unlock()
			if r.URL.Query().Get("since") != "" {
				<-r.Context().Done()
				return
			}
			_, _ = fmt.Fprintf(w, `{"next_batch":"after","rooms":{"join":{%q:{"ephemeral":{"events":[
				{"type":"m.receipt","content":{"$e":{"m.read":{"@maria:example.org":{"ts":1770000000000}}}}}]}}}}}`, testRoom)
		case strings.Contains(r.URL.Path, "/context/"):
			_, _ = fmt.Fprintf(w, `{"event":{"event_id":"$e","type":"m.room.message","sender":"@afterbeep:example.org","content":{"app.afterbeep.job":%q}},
				"events_before":[{"event_id":"$f","type":"m.room.message","sender":"@mallory:example.org","content":{"app.afterbeep.job":%q}}]}`, job, delivery.NewID())
		default:
			matrixWell(w, r)
		}
	})
	kept := &reports{err: errors.New("the disk is full")}
	env := testEnv(t)
	env.Folder, env.Report = "", kept.Report
	if err := env.Memory.Put(t.Context(), delivery.Entry{Key: unread, Value: []byte(job)}); err != nil {
		t.Fatal(err)
	}
	m := openWith(t, matrixFor(server.URL), env).(*matrix)
	if err := m.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "not kept") {
		t.Fatalf("a report that was not kept: %v", err)
	}
	kept.mu.Lock()
	kept.err = nil
	kept.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	eventually(t, "the next sync", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(since) == 3 && since[2] == "after"
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if kept.of(job) != 1 || len(kept.all) != 1 || !kept.all[0].At.Equal(time.UnixMilli(1770000000000)) {
		t.Errorf("reports %+v", kept.all)
	}
	if _, err := env.Memory.Get(t.Context(), unread); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("the room still has something unread: %v", err)
	}
}

func TestMatrixOptions(t *testing.T) {
	good := MatrixOptions{Homeserver: "https://matrix.example.org", User: "@afterbeep:example.org", Password: "secret", HTTP: defaultHTTP()}
	for name, tc := range map[string]struct {
		change func(o *MatrixOptions)
		wrong  string
	}{
		"good":             {func(*MatrixOptions) {}, ""},
		"token":            {func(o *MatrixOptions) { o.Password, o.Token = "", "t" }, ""},
		"port in the name": {func(o *MatrixOptions) { o.User = "@a:localhost:8448" }, ""},
		"neither":          {func(o *MatrixOptions) { o.Password = "" }, "password"},
		"both":             {func(o *MatrixOptions) { o.Token = "t" }, "token"},
		"only a name":      {func(o *MatrixOptions) { o.User = "afterbeep" }, "user"},
		"no address":       {func(o *MatrixOptions) { o.Homeserver = "example.org" }, "homeserver"},
		"delivered":        {func(o *MatrixOptions) { o.Ack = "delivered" }, "ack"},
		"prefix":           {func(o *MatrixOptions) { o.Appservice = &MatrixAppservice{Token: "t", Prefix: "A B"} }, "prefix"},
	} {
		o := good
		tc.change(&o)
		c, err := o.Open(testEnv(t))
		if err == nil {
			err = c.(io.Closer).Close()
		}
		var setting *settingError
		if tc.wrong == "" && err != nil || tc.wrong != "" && (!errors.As(err, &setting) || setting.key != tc.wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for address, ok := range map[string]bool{
		"": true, "!abc:example.org": true, "!r12-room-without-a-server": true, "#office:example.org": true, "@maria:example.org:8448": true,
		"maria": false, "@maria": false, "!": false, "#office": false, "12345": false, "@a b:example.org": false,
	} {
		if err := good.CheckAddress(address); (err == nil) != ok {
			t.Errorf("address %q: %v", address, err)
		}
	}
	if text := good.Registration(); text != "" {
		t.Errorf("a registration without an application service: %s", text)
	}
}

// The registration is YAML, and takes the callers' users and no others.
func TestMatrixRegistration(t *testing.T) {
	o := MatrixOptions{User: "@afterbeep:example.org", Appservice: &MatrixAppservice{Token: `to"ken`, HSToken: "hs", Prefix: "call.er_"}}
	var read struct {
		Token      string `yaml:"as_token"`
		Sender     string `yaml:"sender_localpart"`
		Namespaces struct {
			Users []struct {
				Exclusive bool
				Regex     string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(o.Registration()), &read); err != nil {
		t.Fatal(err)
	}
	if read.Token != `to"ken` || len(read.Namespaces.Users) != 1 || !read.Namespaces.Users[0].Exclusive {
		t.Fatalf("read %+v", read)
	}
	taken := regexp.MustCompile("^" + read.Namespaces.Users[0].Regex + "$")
	for user, want := range map[string]bool{
		"@call.er_0123456789abcdef:example.org": true, "@" + read.Sender + ":example.org": true,
		"@afterbeep:example.org": false, "@callXer_01:example.org": false, "@call.er_01:other.org": false,
	} {
		if taken.MatchString(user) != want {
			t.Errorf("%s taken: %t", user, !want)
		}
	}
}

func TestMatrixCommand(t *testing.T) {
	for body, want := range map[string][2]string{
		"link abc": {wordLink, "abc"}, "/start abc": {wordLink, "abc"}, "  LINK\tabc \n": {wordLink, "abc"}, "!link abc": {wordLink, "abc"},
		"/stop": {wordStop, ""}, "Stop": {wordStop, ""}, "help": {wordHelp, ""}, "link": {wordHelp, ""}, "/start": {wordHelp, ""},
		"": {}, "thanks": {}, "stop it": {}, "link a b": {}, "please link abc": {},
	} {
		if word, code, _ := matrixCommand(body); word != want[0] || code != want[1] {
			t.Errorf("%q: %q %q, want %q", body, word, code, want)
		}
	}
}

func FuzzMatrixCommand(f *testing.F) {
	for _, body := range []string{"link abc", "/start abc", "/stop", "help", "\x00\xff", "!link\u2028a"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		word, code, _ := matrixCommand(body)
		if (word == wordLink) != (code != "") || strings.ContainsAny(code, " \t\r\n") {
			t.Errorf("%q: %q %q", body, word, code)
		}
	})
}

// A server's answer to sync is outside input.
func FuzzMatrixSync(f *testing.F) {
	f.Add(`{"next_batch":"a","rooms":{"invite":{"!a:b":{"invite_state":{"events":[{"type":"m.room.member","state_key":"@afterbeep:example.org","sender":"@m:b","content":{"membership":"invite","is_direct":true}}]}}}}}`)
	f.Add(`{"rooms":{"join":{"!a:b":{"timeline":{"events":[{"type":"m.room.message","event_id":"$a","sender":"@m:b","content":{"msgtype":"m.text","body":"link a"}}]}}}}}`)
	f.Add(`{"rooms":{"join":{"!a:b":{"timeline":{"events":[{"type":"m.room.encrypted","content":{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"x"}},{"type":"m.room.message","content":3}]}}}}}`)
	f.Add(`{"rooms":{"join":{"!a:b":{"ephemeral":{"events":[{"type":"m.receipt","content":{"$e":{"m.read":{"@m:b":{"ts":1}}}}}]}}}}}`)
	f.Add(`{"rooms":{"join":{"!a:b":null},"invite":{"!a:b":null}},"to_device":{"events":[null]}}`)
	f.Add(`{"rooms":{"join":{"!a:b":{"timeline":{"events":[null,{"type":"m.room.message"}]},"ephemeral":{"events":[{"type":"m.receipt"}]}}}}}`)
	f.Fuzz(func(t *testing.T, answer string) {
		env := testEnv(t)
		env.Chats = newChats(nil)
		m := openWith(t, matrixFor("http://127.0.0.1:1"), env).(*matrix)
		ear := &matrixEar{matrix: m, device: &matrixDevice{Client: m.api(m.user, testToken)}}
		var heard mautrix.RespSync
		if json.Unmarshal([]byte(answer), &heard) == nil {
			_ = ear.hear(t.Context(), &heard, "since")
		}
	})
}
