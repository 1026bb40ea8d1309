package web

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestAdminToken(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	for _, c := range []struct {
		authorization string
		want          int
	}{
		{"Bearer " + adminToken, http.StatusOK},
		{"Bearer " + adminToken + " ", http.StatusNotFound},
		{"Bearer " + adminToken[:len(adminToken)-1], http.StatusNotFound},
		{"Bearer ", http.StatusNotFound},
		{"Basic " + adminToken, http.StatusNotFound},
		{adminToken, http.StatusNotFound},
		{"", http.StatusNotFound},
	} {
		if r := ask(t, s, "GET", "/admin/inbox/"+reception, header("Authorization", c.authorization)); r.Code != c.want {
			t.Errorf("%q: %d, want %d", c.authorization, r.Code, c.want)
		}
	}
}

func TestWithoutAdminTokenThereIsNoAdmin(t *testing.T) {
	s := newServer(t, newMemory(), func(o *Options) { o.AdminToken = "" })
	want := dump(ask(t, s, "GET", "/"))
	for _, target := range []string{"/admin/", "/admin/inbox/" + reception} {
		for _, authorization := range []string{"", "Bearer "} {
			if got := dump(ask(t, s, "GET", target, header("Authorization", authorization))); got != want {
				t.Errorf("%s with %q: got\n%s", target, authorization, got)
			}
		}
	}
}

func TestAdminSession(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	m.add(delivery.Note{Kind: delivery.Missed, Recipient: delivery.Recipient{Number: workshop}})

	if r := login(t, s, "not it"); r.Code != http.StatusForbidden || r.Header().Get("Set-Cookie") != "" {
		t.Fatalf("wrong token: %d, %v", r.Code, r.Header())
	}
	r := login(t, s, adminToken)
	cookie, err := http.ParseSetCookie(r.Header().Get("Set-Cookie"))
	if r.Code != http.StatusSeeOther || err != nil {
		t.Fatalf("right token: %d, %v", r.Code, err)
	}
	if !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteStrictMode || strings.Contains(cookie.Value, adminToken) {
		t.Errorf("the cookie is not guarded: %v", cookie)
	}
	with := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: sessionCookie, Value: value}) }
	}
	list := ask(t, s, "GET", "/admin/", with(cookie.Value)).Body.String()
	if !strings.Contains(list, `href="inbox/101"`) || !strings.Contains(list, `href="inbox/&#43;4930555010"`) {
		t.Errorf("the mailboxes are not listed:\n%s", list)
	}
	if got := ask(t, s, "GET", "/admin/?q=work", with(cookie.Value)).Body.String(); strings.Contains(got, "Reception") || !strings.Contains(got, "Workshop") {
		t.Errorf("the search found:\n%s", got)
	}
	if got := ask(t, s, "GET", "/admin/inbox/101/notes", with(cookie.Value)).Body.String(); !strings.Contains(got, `"kind":"missed"`) {
		t.Errorf("the admin does not see the mailbox: %s", got)
	}

	hour := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	for why, value := range map[string]string{
		"ended":                  hour(-time.Hour) + "." + sign(s.sessionKey, hour(-time.Hour)),
		"end moved":              hour(99*time.Hour) + "." + strings.SplitAfter(cookie.Value, ".")[1],
		"signed for media links": hour(time.Hour) + "." + sign(s.linkKey, hour(time.Hour)),
		"signed for another admin token": hour(time.Hour) + "." +
			sign(newServer(t, m, func(o *Options) { o.AdminToken = "another one" }).sessionKey, hour(time.Hour)),
		"empty": "",
		"dot":   ".",
	} {
		if r := ask(t, s, "GET", "/admin/inbox/101", with(value)); r.Code != http.StatusNotFound {
			t.Errorf("session %s: %d", why, r.Code)
		}
	}
}

func login(t *testing.T, s *Server, token string) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, s, "POST", "/admin/", func(r *http.Request) {
		r.PostForm = map[string][]string{"token": {token}}
	})
}

func FuzzToken(f *testing.F) {
	f.Add(receptionToken)
	f.Add("../" + receptionToken)
	f.Add("' OR 1=1 --                 ")
	m := newMemory()
	s := newServer(f, m, nil)
	f.Fuzz(func(t *testing.T, token string) {
		if validToken(token) && strings.ContainsAny(token, "/\\%?#.' \x00") {
			t.Fatalf("%q may reach the store", token)
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://notes.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path = "/inbox/" + token
		got := serve(s, r)
		if got == http.StatusOK && token != receptionToken && token != workshopToken {
			t.Fatalf("%q opened an inbox", token)
		}
	})
}
