package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// ask makes one request; each change works on it before it is served.
func ask(tb testing.TB, s http.Handler, method, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), method, "http://notes.test"+target, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// dump is everything a client sees of an answer.
func dump(w *httptest.ResponseRecorder) string {
	var b strings.Builder
	fmt.Fprintln(&b, w.Code)
	_ = w.Header().Write(&b) // a strings.Builder takes all
	return b.String() + w.Body.String()
}

func TestWhateverIsNotThereLooksTheSame(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	theirs := m.add(delivery.Note{Kind: delivery.Voice, Recipient: delivery.Recipient{Number: workshop}})
	missed := m.add(delivery.Note{Kind: delivery.Missed})
	inbox := "/inbox/" + receptionToken
	want := dump(ask(t, s, "GET", "/"))
	if !strings.HasPrefix(want, "404\n") {
		t.Fatalf("GET / got %s", want)
	}
	for _, c := range []struct{ why, method, target string }{
		{"no token", "GET", "/inbox/"},
		{"token of the right form", "GET", "/inbox/" + strings.Repeat("x", len(receptionToken))},
		{"token but for a letter", "GET", "/inbox/" + receptionToken[:31] + "c"},
		{"token in other case", "GET", "/inbox/" + strings.ToLower(receptionToken)},
		{"token and more", "GET", "/inbox/" + receptionToken + "a"},
		{"short token", "GET", "/inbox/a"},
		{"token with a slash in it", "GET", "/inbox/%2e%2e%2f" + receptionToken},
		{"number for token", "GET", "/inbox/" + reception},
		{"API of a wrong token", "GET", "/inbox/" + strings.Repeat("x", 32) + "/notes"},
		{"events of a wrong token", "GET", "/inbox/" + strings.Repeat("x", 32) + "/events"},
		{"other method", "DELETE", inbox},
		{"unknown page below", "GET", inbox + "/settings"},
		{"a slash too many", "GET", inbox + "/"},
		{"bad id to continue from", "GET", inbox + "/notes?before='"},
		{"other mailbox's media", "GET", inbox + "/notes/" + theirs.ID + "/media"},
		{"media of a missed call", "GET", inbox + "/notes/" + missed.ID + "/media"},
		{"unknown note's media", "GET", inbox + "/notes/" + delivery.NewID() + "/media"},
		{"file name for id", "GET", inbox + "/notes/..%2f..%2fsecret/media"},
		{"other mailbox's mark", "POST", inbox + "/notes/" + theirs.ID + "/read"},
		{"unknown mark", "POST", inbox + "/notes/" + missed.ID + "/loved"},
		{"mark by GET", "GET", inbox + "/notes/" + missed.ID + "/read"},
		{"mailbox without the admin token", "GET", "/admin/inbox/" + reception},
		{"no such mailbox without the admin token", "GET", "/admin/inbox/999"},
		{"admin's API without the token", "GET", "/admin/inbox/" + reception + "/notes"},
		{"unsigned media", "GET", "/media/" + theirs.ID},
		{"old assets", "GET", "/assets/0123456789abcdef/app.css"},
		{"template as an asset", "GET", "/" + s.pages.assets + "/inbox.html"},
		{"source", "GET", "/page/main.js"},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := dump(ask(t, s, c.method, c.target)); got != want {
				t.Errorf("%s %s: got\n%s\nwant\n%s", c.method, c.target, got, want)
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	for _, target := range []string{"/", "/inbox/" + receptionToken, "/admin/", "/healthz", "/inbox/" + receptionToken + "/notes"} {
		h := ask(t, s, "GET", target).Header()
		for name, want := range map[string]string{
			"Referrer-Policy":         "no-referrer",
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "no-store",
			"Content-Security-Policy": contentSecurity,
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		if got := h.Get("Set-Cookie"); got != "" {
			t.Errorf("%s: sets a cookie: %q", target, got)
		}
	}
	if strings.Contains(contentSecurity, "unsafe") {
		t.Error("the page may run what it does not ship")
	}
}

func TestPageLoadsAllItNamesAndNothingElse(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	r := ask(t, s, "GET", "/inbox/"+receptionToken)
	page := r.Body.String()
	if r.Code != http.StatusOK || !strings.Contains(page, `data-name="Reception" data-number="&#43;49 30 555010"`) {
		t.Fatalf("got %d\n%s", r.Code, page)
	}
	base, _ := url.Parse("/inbox/" + receptionToken)
	links := 0
	for _, attribute := range []string{`href="`, `src="`} {
		for _, rest := range strings.Split(page, attribute)[1:] {
			ref, err := base.Parse(rest[:strings.IndexByte(rest, '"')])
			if err != nil || ref.Host != "" {
				t.Fatalf("the page loads %.40q (%v)", rest, err)
			}
			if got := ask(t, s, "GET", ref.Path); got.Code != http.StatusOK || !strings.Contains(got.Header().Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d, %q", ref.Path, got.Code, got.Header().Get("Cache-Control"))
			}
			links++
		}
	}
	if links < 10 {
		t.Errorf("only %d links found in the page", links)
	}
}

func TestThreadPages(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	var want []string
	for range 7 {
		want = append(want, m.add(delivery.Note{Kind: delivery.Missed}).ID)
	}
	slices.Sort(want)
	slices.Reverse(want) // newest first
	m.add(delivery.Note{Kind: delivery.Missed, Recipient: delivery.Recipient{Number: workshop}})

	var got []string
	before := ""
	for more := true; more; {
		var page threadView
		answer := ask(t, s, "GET", "/inbox/"+receptionToken+"/notes?limit=3&before="+before).Body.String()
		if err := json.Unmarshal([]byte(answer), &page); err != nil {
			t.Fatal(err)
		}
		for _, n := range page.Notes {
			got = append(got, n.ID)
		}
		if len(page.Notes) == 0 || len(got) > len(want) {
			break
		}
		before, more = got[len(got)-1], page.More
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestWhatThePageIsTold(t *testing.T) {
	at := time.Date(2026, 3, 1, 14, 3, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		name string
		note delivery.Note
		want string
	}{
		{
			"voice",
			delivery.Note{
				ID: "1", Kind: delivery.Voice, Caller: delivery.Caller{Number: "+493055501234", Name: "M"}, Reason: "busy", CalledAt: at,
				Duration: 1240 * time.Millisecond, Partial: true, Waveform: []byte{0, 255}, Media: delivery.Media{Type: "audio/ogg", Bytes: 9}, PlayedAt: at,
			},
			`{"id":"1","kind":"voice","caller":{"number":"+493055501234","display":"+49 30 55501234","name":"M","private":false},"reason":"busy",` +
				`"called_at":"2026-03-01T13:03:00Z","duration_ms":1240,"partial":true,"waveform":[0,255],"media":{"type":"audio/ogg","bytes":9},"read":true,"played":true,"played_at":"2026-03-01T13:03:00Z"}`,
		},
		{
			"private, though the note knows more",
			delivery.Note{ID: "2", Kind: delivery.Missed, Caller: delivery.Caller{Number: "+493055501234", Name: "M", Private: true, Trust: "verified"}, CalledAt: at},
			`{"id":"2","kind":"missed","caller":{"private":true},"called_at":"2026-03-01T13:03:00Z","duration_ms":0,"partial":false,"waveform":[],"media":null,"read":false,"played":false}`,
		},
		{
			"what vouches for the number",
			delivery.Note{ID: "4", Kind: delivery.Missed, Caller: delivery.Caller{Number: "+493055501234", Trust: "doubtful"}, CalledAt: at},
			`{"id":"4","kind":"missed","caller":{"number":"+493055501234","display":"+49 30 55501234","private":false,"trust":"doubtful"},"called_at":"2026-03-01T13:03:00Z","duration_ms":0,"partial":false,"waveform":[],"media":null,"read":false,"played":false}`,
		},
		{
			"extension",
			delivery.Note{ID: "3", Kind: delivery.Missed, Caller: delivery.Caller{Number: "101"}, CalledAt: at, ReadAt: at},
			`{"id":"3","kind":"missed","caller":{"number":"101","display":"101","private":false},"called_at":"2026-03-01T13:03:00Z","duration_ms":0,"partial":false,"waveform":[],"media":null,"read":true,"played":false,"read_at":"2026-03-01T13:03:00Z"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := json.Marshal(viewOf(c.note))
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s (%v)\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestMarks(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n := m.add(delivery.Note{Kind: delivery.Voice})
	for _, mark := range []string{"read", "played"} {
		if r := ask(t, s, "POST", "/inbox/"+receptionToken+"/notes/"+n.ID+"/"+mark); r.Code != http.StatusNoContent {
			t.Errorf("%s: %d", mark, r.Code)
		}
	}
	if got := m.note(n.ID); got.ReadAt.IsZero() || got.PlayedAt.IsZero() {
		t.Errorf("not kept: %+v", got)
	}
	other := m.add(delivery.Note{Kind: delivery.Voice})
	r := ask(t, s, "POST", "/inbox/"+receptionToken+"/notes/"+other.ID+"/read", header("Sec-Fetch-Site", "cross-site"))
	if r.Code != http.StatusNotFound || !m.note(other.ID).ReadAt.IsZero() {
		t.Errorf("another site's page marked a note: %d", r.Code)
	}
}

func TestStoreFailureTellsNothing(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	m.fail = errors.New("disk I/O error")
	want := dump(ask(t, s, "GET", "/inbox/"+receptionToken))
	if !strings.HasPrefix(want, "503\n") || strings.Contains(want, "disk") {
		t.Fatalf("got %s", want)
	}
	if got := dump(ask(t, s, "GET", "/inbox/"+strings.Repeat("x", 32))); got != want {
		t.Errorf("a wrong token is told apart:\n%s", got)
	}
}

func TestHealth(t *testing.T) {
	notReady := error(nil)
	s := newServer(t, newMemory(), func(o *Options) {
		o.Ready = func(context.Context) error { return notReady }
	})
	for _, c := range []struct {
		target string
		err    error
		want   string
	}{
		{"/healthz", nil, "200 ok\n"},
		{"/healthz", errors.New("draining"), "200 ok\n"},
		{"/readyz", nil, "200 ready\n"},
		{"/readyz", errors.New("the store\ncannot write"), "503 not ready: the store; cannot write\n"},
	} {
		notReady = c.err
		r := ask(t, s, "GET", c.target)
		if got := fmt.Sprint(r.Code, " ", r.Body.String()); got != c.want {
			t.Errorf("%s with %v: got %q, want %q", c.target, c.err, got, c.want)
		}
	}
}

func TestPublicURLMustBeOne(t *testing.T) {
	for _, bad := range []string{"notes.example", "ftp://notes.example", "http://", "://"} {
		m := newMemory()
		_, err := New(t.Context(), Options{Inbox: m, Notes: m, Links: m, Directory: m, Metrics: NewMetrics(""), PublicURL: bad})
		if err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
