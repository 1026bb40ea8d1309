package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// invites is an answer to sync: maria invites the account into rooms.
func invites(rooms ...string) string {
	var all []string
	for _, room := range rooms {
		all = append(all, fmt.Sprintf(`%q:{"invite_state":{"events":[{"type":"m.room.member","state_key":"@afterbeep:example.org",
			"sender":"@maria:example.org","content":{"membership":"invite","is_direct":true}}]}}`, room))
	}
	return `{"next_batch":"after","rooms":{"invite":{` + strings.Join(all, ",") + `}}}`
}

// hangs takes a request and never answers.
func hangs(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// A room whose server never answers, or always fails, does not keep the account
// from hearing all else.
func TestMatrixInvitationsDoNotStopListening(t *testing.T) {
	for name, join := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hangs": hangs,
		"fails": func(w http.ResponseWriter, _ *http.Request) {
			saysMatrix(w, http.StatusBadGateway, "M_UNKNOWN", "no route")
		},
		"refuses": func(w http.ResponseWriter, _ *http.Request) { saysMatrix(w, http.StatusForbidden, "M_FORBIDDEN", "no") },
		"is busy": func(w http.ResponseWriter, _ *http.Request) {
			saysMatrix(w, http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "no")
		},
	} {
		t.Run(name, func(t *testing.T) {
			rooms := make([]string, 2*mostInvitations)
			for i := range rooms {
				rooms[i] = fmt.Sprintf("!%d:hostile.example", i)
			}
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
					_, _ = fmt.Fprint(w, invites(rooms...))
				case strings.HasSuffix(r.URL.Path, "/join"):
					join(w, r)
				default:
					matrixWell(w, r)
				}
			})
			env := testEnv(t)
			env.Folder = ""
			m := openWith(t, matrixFor(server.URL), env).(*matrix)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()
			eventually(t, "the next sync", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(since) == 2 && since[1] == "after"
			})
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A room becomes a user's direct chat only when that user has made it: what an
// invitation says of its sender any server may have written.
func TestMatrixForgedInvitation(t *testing.T) {
	for creator, direct := range map[string]bool{"@maria:example.org": true, "@mallory:hostile.example": false, "": false} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/state/m.room.create") {
				_, _ = fmt.Fprintf(w, `{"type":"m.room.create","state_key":"","sender":%q,"content":{}}`, creator)
				return
			}
			matrixWell(w, r)
		})
		env := testEnv(t)
		env.Folder = ""
		m := openWith(t, matrixFor(server.URL), env).(*matrix)
		ear := &matrixEar{matrix: m, device: &matrixDevice{Client: m.api(m.user, testToken)}}
		err := ear.join(t.Context(), directInvite{"!trap:hostile.example", "@maria:example.org"})
		if err != nil {
			t.Fatal(err)
		}
		room, err := m.env.recall(t.Context(), directKey("@maria:example.org", m.user))
		if (room != "") != direct || err != nil {
			t.Errorf("made by %q: the direct chat is %q, %v", creator, room, err)
		}
	}
}

// A homeserver that takes the login and says nothing keeps no note from giving
// up on it.
func TestMatrixSilentLogin(t *testing.T) {
	arrived := make(chan struct{}, 10)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		hangs(w, r)
	})
	o := &MatrixOptions{Homeserver: server.URL, User: "@afterbeep:example.org", Password: "secret", HTTP: defaultHTTP()}
	o.AllowPrivate = true
	m := openWith(t, o, testEnv(t)).(*matrix)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-arrived // the listener holds the login
	attempt, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer end()
	sent := make(chan error, 1)
	go func() { _, err := m.Send(attempt, matrixSubject().parcel(sampleNote())); sent <- err }()
	select {
	case err := <-sent:
		var failed *delivery.SendError
		if !errors.As(err, &failed) || failed.Outcome != delivery.Retry {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the attempt hangs beyond its time")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Whoever floods a room with words and codes gets few answers and costs little.
func TestMatrixFlood(t *testing.T) {
	var mu sync.Mutex
	asked, answered := 0, 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/joined_members"):
			asked++
			_, _ = fmt.Fprint(w, `{"joined":{"@a:b":{},"@b:b":{},"@c:b":{}}}`)
			return
		case matrixCarries(r):
			answered++
		}
		matrixWell(w, r)
	})
	env := testEnv(t)
	env.Chats = newChats(nil)
	m := openWith(t, matrixFor(server.URL), env).(*matrix)
	ear := &matrixEar{matrix: m, device: &matrixDevice{Client: m.api(m.user, testToken)}}
	var events []string
	for i := range 50 {
		events = append(events, fmt.Sprintf(`{"type":"m.room.message","event_id":"$w%d","sender":"@eve:b","content":{"msgtype":"m.text","body":"hello all"}}`, i),
			fmt.Sprintf(`{"type":"m.room.message","event_id":"$c%d","sender":"@eve:b","content":{"msgtype":"m.text","body":"link guess%d"}}`, i, i))
	}
	var heard mautrix.RespSync
	unmarshal(t, fmt.Sprintf(`{"rooms":{"join":{"!a:b":{"timeline":{"events":[%s]}}}}}`, strings.Join(events, ",")), &heard)
	if err := ear.hear(t.Context(), &heard, "since"); err != nil {
		t.Fatal(err)
	}
	if asked > 1 || answered > mostRefused {
		t.Errorf("the members were asked for %d times, and %d answers written", asked, answered)
	}
}

// What panics is passed over: heard again it would do the same for ever.
func TestMatrixPanicIsPassedOver(t *testing.T) {
	env := testEnv(t)
	env.Chats = nil // whoever links a chat meets nothing there
	m := openWith(t, matrixFor("http://127.0.0.1:1"), env).(*matrix)
	ear := &matrixEar{matrix: m, device: &matrixDevice{Client: m.api(m.user, testToken)}}
	var heard mautrix.RespSync
	unmarshal(t, `{"rooms":{"join":{"!a:b":{"timeline":{"events":[
		{"type":"m.room.message","event_id":"$a","sender":"@m:b","content":{"msgtype":"m.text","body":"link a"}}]}}}}}`, &heard)
	if err := ear.hear(t.Context(), &heard, "since"); err != nil {
		t.Error(err)
	}
	ear.invited(id.RoomID("!a:b"), nil)
}

// More news than can be read is asked for again with less in it.
func TestMatrixTooMuchNews(t *testing.T) {
	var mu sync.Mutex
	var limits []bool
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		lean := r.URL.Query().Get("filter") == syncLean
		mu.Lock()
		limits = append(limits, lean)
		mu.Unlock()
		if !lean {
			w.Header().Set("Content-Length", fmt.Sprint(65<<20))
			return
		}
		_, _ = fmt.Fprint(w, `{"next_batch":"after"}`)
	})
	m := openWith(t, matrixFor(server.URL), testEnv(t)).(*matrix)
	ear := &matrixEar{matrix: m, device: &matrixDevice{Client: m.api(m.user, testToken)}}
	answer, err := ear.ask(t.Context(), "since")
	if err != nil || answer.NextBatch != "after" || len(limits) != 2 {
		t.Errorf("%+v, %v after %v", answer, err, limits)
	}
}

func unmarshal(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}
