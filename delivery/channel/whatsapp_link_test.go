package channel

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestWhatsAppLinking(t *testing.T) {
	const mailbox, scoped = "+4930123456", "DE.13491208655302741918"
	for name, tc := range map[string]struct {
		from, scoped, said string
		linked             string // "" for not
		answer             string // a part of it; "" for none
	}{
		"the code":                 {waTo, scoped, "LINK-s3cret_Code-1", waTo, "will arrive"},
		"in a sentence":            {waTo, "", "Hello! link-s3cret_Code-1 please", waTo, "will arrive"},
		"by a user without number": {"", scoped, "LINK-s3cret_Code-1", scoped, "will arrive"},
		"another code":             {waTo, "", "LINK-guess", "", "not valid"},
		"no code":                  {waTo, "", "how are you?", "", ""},
		"a word with link":         {waTo, "", "uplink-s3cret_Code-1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, nil)
			r.chats.codes["s3cret_Code-1"] = mailbox
			said := r.text(tc.from, tc.scoped, tc.said, 0)
			r.post(said, said)
			r.post(said) // told again: no second answer
			if r.chats.of[mailbox] != tc.linked {
				t.Errorf("linked to %q", r.chats.of[mailbox])
			}
			if tc.answer == "" {
				r.wantSent("")
				return
			}
			if m := r.service.last("text").message; m.To+m.Recipient != waFirst(tc.from, tc.scoped) || !strings.Contains(m.Text.Body, tc.answer) {
				t.Errorf("answered %+v %+v", m, m.Text)
			}
			r.wantSent("text")
		})
	}
}

func waFirst(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// The service may tell the same twice at once: one of them counts.
func TestWhatsAppLinkingAtOnce(t *testing.T) {
	r := newWhatsApp(t, nil)
	r.chats.codes["code"] = "+4930123456"
	body := r.callbackOf(r.text(waTo, "DE.1349", "LINK-code", 0))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK {
				t.Errorf("%d", code)
			}
		})
	}
	all.Wait()
	if m := r.service.last("text").message; !strings.Contains(m.Text.Body, "will arrive") {
		t.Errorf("answered %+v", m.Text)
	}
	r.wantSent("text")
}

func TestWhatsAppStop(t *testing.T) {
	for _, said := range []string{"/stop", " STOP\n", "Stop"} {
		r := newWhatsApp(t, nil)
		r.chats.of["a"], r.chats.of["b"], r.chats.of["c"] = waTo, "DE.1349", "4915187654321"
		r.post(r.text(waTo, "DE.1349", said, 0))
		if len(r.chats.of) != 1 || r.chats.of["c"] == "" {
			t.Errorf("%q: linked are %v", said, r.chats.of)
		}
		if m := r.service.last("text").message; !strings.Contains(m.Text.Body, "No more") {
			t.Errorf("answered %+v", m.Text)
		}
	}
}

// Who wrote stop gets nothing by his number or by the configuration either, and
// no note that waited for him to write; until he writes start or links anew.
func TestWhatsAppStopHolds(t *testing.T) {
	for name, again := range map[string]string{"start": " Start ", "link": "LINK-code"} {
		t.Run(name, func(t *testing.T) {
			r := newWhatsApp(t, withTemplate)
			r.chats.codes["code"] = "+4930123456"
			p := waParcel(waTo)
			if !r.sends(p).Invited {
				t.Fatal("not invited")
			}
			r.post(r.text(waTo, "DE.1349", "stop", 0))
			r.wantTold("asked " + p.Key)
			r.wantSent("template text")
			for _, address := range []string{waTo, "DE.1349"} {
				p.Address = address
				if failed := r.fails(p, delivery.Dead); !errors.Is(failed, errStopped) {
					t.Error(failed)
				}
			}
			r.post(r.text(waTo, "DE.1349", again, 0))
			p.Address = waTo
			r.sends(p)
			r.wantSent("text file text audio")
		})
	}
}

// The answer to a code is in the mailbox's language.
func TestWhatsAppLinksInTheMailboxesLanguage(t *testing.T) {
	r := newWhatsApp(t, nil)
	r.env.Language = func(mailbox string) string { return map[string]string{"+4930123456": "de"}[mailbox] }
	r.chats.codes["code"] = "+4930123456"
	r.post(r.text(waTo, "", "LINK-code", 0))
	if m := r.service.last("text").message; !strings.Contains(m.Text.Body, "kommen ab jetzt") {
		t.Errorf("answered %+v", m.Text)
	}
}

// A command that cannot be kept is done when it is told again; an answer that
// does not get through is no reason to tell it again.
func TestWhatsAppLinkingFails(t *testing.T) {
	r := newWhatsApp(t, nil)
	r.chats.codes["code"] = "+4930123456"
	body := r.callbackOf(r.text(waTo, "", "LINK-code", 0))
	r.chats.failing = errors.New("disk")
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusInternalServerError {
		t.Errorf("not kept: %d", code)
	}
	r.chats.failing = nil
	r.service.strike("text", waFails(r.service, 500, 131000, 0))
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK || r.chats.of["+4930123456"] != waTo {
		t.Errorf("again: %d, linked %v", code, r.chats.of)
	}
	r.wantSent("text")
}

func TestWhatsAppDeepLink(t *testing.T) {
	r := newWhatsApp(t, nil)
	for range 2 {
		link, say, err := r.DeepLink(t.Context(), "a-b_c")
		if err != nil || link != "https://wa.me/15550783881?text=LINK-a-b_c" || say != "LINK-a-b_c" {
			t.Errorf("%q %q %v", link, say, err)
		}
	}
	r.wantSent("about") // asked once
	if commandOf("LINK-a-b_c") == nil {
		t.Error("what it says is no command")
	}
	broken := newWhatsApp(t, nil)
	broken.service.strike("about", waFails(broken.service, 401, 190, 0))
	if _, _, err := broken.DeepLink(t.Context(), "c"); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("%v", err)
	}
}

const waApproved = `{"data":[{"name":"voice_note","status":"APPROVED","language":"en","components":[{"type":"BODY","text":"New voice message from {{1}}, {{2}}. Play it?"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Play"}]}]}]}`

func TestWhatsAppCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*WhatsAppOptions)
		about  func(string) string
		found  string
		strike map[string]int // a code, by the kind of request
		says   string         // "" for well
	}{
		"well":                     {},
		"with a template":          {change: withTemplate, found: waApproved},
		"the token is refused":     {strike: map[string]int{"about": 190}, says: "token"},
		"the number is blocked":    {about: func(s string) string { return strings.Replace(s, "AVAILABLE", "BLOCKED", 1) }, says: "nothing"},
		"no JSON":                  {about: func(string) string { return "<html>" }, says: "api_url"},
		"templates are not shown":  {change: withTemplate, strike: map[string]int{"templates": 10}},
		"the account is not shown": {change: withTemplate, about: func(s string) string { return strings.Replace(s, "WABA", "APP", 1) }},
		"no such template":         {change: withTemplate, found: `{"data":[]}`, says: "voice_note"},
		"another language":         {change: withTemplate, found: strings.Replace(waApproved, `"en"`, `"de"`, 1), says: "language en"},
		"not approved":             {change: withTemplate, found: strings.Replace(waApproved, "APPROVED", "PENDING", 1), says: "PENDING"},
		"another form":             {change: withTemplate, found: strings.Replace(waApproved, "{{2}}", "", 1), says: "{{2}}"},
		"without its button":       {change: withTemplate, found: strings.Replace(waApproved, "QUICK_REPLY", "URL", 1), says: "quick-reply"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, tc.change)
			r.service.template = tc.found
			if tc.about != nil {
				r.service.about = tc.about(r.service.about)
			}
			for kind, code := range tc.strike {
				r.service.strike(kind, waFails(r.service, 400, code, 0))
			}
			err := r.Check(t.Context())
			if (err == nil) != (tc.says == "") || (err != nil && !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
}

// A crash between hearing a stop and acting on it does not lose it: the service
// tells it again.
func TestWhatsAppStopIsNotLost(t *testing.T) {
	r := newWhatsApp(t, nil)
	r.chats.of["+4930123456"] = waTo
	body := r.callbackOf(r.text(waTo, "", "STOP", 0))
	r.env.Chats = nil
	func() {
		defer func() { _ = recover() }()
		r.hears(body, signWhatsApp(waSecret, body))
		t.Error("it lived on without chats")
	}()
	r.env.Chats = r.chats
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK || len(r.chats.all()) != 0 {
		t.Errorf("told again: %d, still linked: %v", code, r.chats.all())
	}
}
