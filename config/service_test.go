package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// desk is a directory service: it answers as it is told to, and counts who asks.
type desk struct {
	*httptest.Server

	mu     sync.Mutex
	answer func(w http.ResponseWriter, q url.Values)
	asked  []string
}

func newDesk(tb testing.TB) *desk {
	tb.Helper()
	d := &desk{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		d.mu.Lock()
		d.asked = append(d.asked, q.Get("user")+"/"+q.Get("number"))
		answer := d.answer
		d.mu.Unlock()
		if r.Method != http.MethodGet || r.URL.Path != "/mailbox" || q.Get("tenant") != "7" || r.Header.Get("Authorization") != "Bearer open sesame" {
			tb.Errorf("%s %s with %v", r.Method, r.URL.Path, r.Header)
		}
		answer(w, q)
	}))
	tb.Cleanup(d.Close)
	return d
}

// says has the desk answer with a status and a body.
func (d *desk) says(status int, body string) {
	d.asks(func(w http.ResponseWriter, _ url.Values) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func (d *desk) asks(answer func(w http.ResponseWriter, q url.Values)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

// questions are those since the last time.
func (d *desk) questions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := d.asked
	d.asked = nil
	return asked
}

// directory asks the desk. What it says counts for a minute.
func (d *desk) directory(tb testing.TB, memory delivery.Memory, log *slog.Logger) *Directory {
	tb.Helper()
	return openDirectory(tb, fmt.Sprintf(`
channels: {crm: {type: webhook, url: "https://crm.example", secret: "${CRM_SECRET}", attach: true}}
mailboxes: [{number: "101", name: of the file}, {number: "2*", name: of the file}]
directory: {url: "%s/mailbox?tenant=7", token: open sesame, allow_private: true, fresh: 1m}`, d.URL), memory, log)
}

// age makes what the service said older.
func age(d *Directory, by time.Duration) {
	as := &d.sources.Load().service.answers
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, m := range []map[question]answer{as.there, as.none} {
		for q, a := range m {
			a.asked = a.asked.Add(-by)
			m[q] = a
		}
	}
}

// rest is as if the last failure was a while ago.
func rest(d *Directory) {
	s := d.sources.Load().service
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = s.failed.Add(-restFor)
}

// lookup looks a number up, again where the machine stood still for so long
// that what was known was told instead.
func lookup(tb testing.TB, d *Directory, number string) (m *Mailbox, err error) {
	tb.Helper()
	for range 10 {
		began := time.Now()
		if m, err = d.Lookup(tb.Context(), number, ""); time.Since(began) < askedAgain {
			break
		}
	}
	return m, err
}

func TestServiceAnswers(t *testing.T) {
	desk := newDesk(t)
	d := desk.directory(t, nil, slog.New(slog.DiscardHandler))
	week := 7 * day
	desk.says(200, `{"number": "+4930123456", "name": "Anna", "language": "de", "timezone": "Europe/Berlin",
		"deliver": ["crm", "inbox"], "also": ["inbox", ["crm"]], "retention": {"audio": "7d"}}`)
	want := &Mailbox{
		Number: "+4930123456", Name: "Anna", Language: "de", Timezone: "Europe/Berlin",
		Deliver:   delivery.Chain{{Channel: "crm"}, {Channel: "inbox"}},
		Also:      []delivery.Chain{{{Channel: "inbox"}}, {{Channel: "crm"}}},
		Retention: MailboxRetention{Audio: &week}, Keep: delivery.Retention{Audio: week, Metadata: 90 * day},
	}
	for range 3 {
		m, err := d.Lookup(t.Context(), "030123456", "+4930123456")
		if err != nil || !reflect.DeepEqual(m, want) {
			t.Fatalf("got %+v, %v", m, err)
		}
	}
	if m, err := d.Lookup(t.Context(), "+4930123456", "+4930123456"); err != nil || m.Name != "Anna" {
		t.Errorf("by its number: %v, %v", m, err)
	}
	if asked := desk.questions(); !slices.Equal(asked, []string{"030123456/+4930123456"}) {
		t.Errorf("asked %q", asked)
	}
	if got := d.Retention(t.Context(), "+4930123456"); got != want.Keep {
		t.Errorf("retention %v", got)
	}
	desk.says(200, `{}`)
	if m, err := d.Lookup(t.Context(), "anna", ""); err != nil || m.Number != "anna" || m.Deliver[0].Channel != Inbox {
		t.Errorf("an empty answer: %+v, %v", m, err)
	}
	for _, known := range []string{"101", "205"} {
		if m, err := d.Lookup(t.Context(), known, ""); err != nil || m.Name != "of the file" {
			t.Errorf("%s: %v, %v", known, m, err)
		}
	}
	if asked := desk.questions(); !slices.Equal(asked, []string{"anna/"}) {
		t.Errorf("asked %q", asked)
	}
}

// What is no mailbox and no 404 is an error, which says what to mend and names
// nobody.
func TestServiceFailures(t *testing.T) {
	desk := newDesk(t)
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"the token":         {401, "", "the service answered 401 Unauthorized: does it know directory.token?"},
		"a failure":         {500, "Anna", "the service answered 500 Internal Server Error: expected 200 with a mailbox, or 404"},
		"a redirect":        {302, "", "the service answered 302 Found"},
		"a page":            {200, "<html>", "the answer: expected a mailbox in JSON, see deploy/directory.md: invalid character '<'"},
		"another key":       {200, `{"numer": "7"}`, `expected a mailbox in JSON, see deploy/directory.md: json: unknown field "numer"`},
		"another channel":   {200, `{"deliver": "crn"}`, `the answer: deliver[0]: there is no channel "crn"; did you mean "crm"?`},
		"a wildcard":        {200, `{"number": "*"}`, "the answer: number: expected the number of one mailbox"},
		"too much":          {200, strings.Repeat(" ", maxAnswer+1), "more than 64 kB"},
		"half a mailbox":    {200, `{"name": "An`, "unexpected EOF"},
		"a file's contacts": {200, `{"contacts": "/etc/passwd"}`, `unknown field "contacts"`},
	} {
		var log bytes.Buffer
		d := desk.directory(t, nil, slog.New(slog.NewTextHandler(&log, nil)))
		desk.says(c.status, c.body)
		m, err := d.Lookup(t.Context(), "+4930123456", "+4930123456")
		if err == nil || errors.Is(err, ErrNoMailbox) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %s", name, m, err, c.want)
		}
		if got := d.Retention(t.Context(), "+4930123456"); got != (delivery.Retention{}) {
			t.Errorf("%s: while nothing can be told notes are kept for %v", name, got)
		}
		_ = d.Close() // what it says is written
		if !strings.Contains(log.String(), "the directory does not answer") || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: the log says\n%s", name, log.String())
		}
		for _, secret := range []string{"4930", "Anna", "sesame", "crn"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%s: the log shows %q:\n%s", name, secret, log.String())
			}
		}
	}
}

// Private addresses are refused unless they are allowed.
func TestServiceOnPrivateAddresses(t *testing.T) {
	d := openDirectory(t, "directory: {url: 'http://127.0.0.1:1/'}", nil, slog.New(slog.DiscardHandler))
	if _, err := d.Lookup(t.Context(), "101", ""); err == nil || !strings.Contains(err.Error(), "set allow_private: true") {
		t.Error(err)
	}
	if err := d.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "set allow_private: true") {
		t.Error(err)
	}
}

// The service is asked again when its answer is no longer fresh; while it is
// away, what it said the last time counts, and is told at once.
func TestServiceOutage(t *testing.T) {
	var log bytes.Buffer
	desk := newDesk(t)
	d := desk.directory(t, nil, slog.New(slog.NewTextHandler(&log, nil)))
	name := func(number string) string {
		m, err := lookup(t, d, number)
		if err != nil {
			return err.Error()
		}
		return m.Name
	}
	check := func(when, want, asked string) {
		t.Helper()
		if got := name("7"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		if got := strings.Join(desk.questions(), " "); got != asked {
			t.Errorf("%s: asked %q, want %q", when, got, asked)
		}
	}
	none := ErrNoMailbox.Error()
	desk.says(404, "")
	check("no mailbox", none, "7/")
	check("no mailbox, again", none, "")
	age(d, freshNone)
	desk.says(200, `{"name": "Anna"}`)
	check("a new mailbox", "Anna", "7/")
	age(d, 50*time.Second)
	check("fresh", "Anna", "")
	age(d, 11*time.Second)
	desk.says(200, `{"name": "Bert"}`)
	check("no longer fresh", "Bert", "7/")
	age(d, time.Hour)
	desk.says(503, "")
	check("away", "Bert", "7/")
	if s := d.Standing(); s != (Standing{Mailboxes: 2, Found: 2, None: 1, Failed: 1}) {
		t.Errorf("while it is away: %+v", s)
	}
	check("away, and known to be", "Bert", "")
	if got := name("8"); !strings.Contains(got, "503") {
		t.Errorf("who is not known while it is away: %q", got)
	}
	desk.questions()
	rest(d)
	desk.says(404, "")
	check("back, and the mailbox is gone", none, "7/")
	_ = d.Close()
	if s := d.Standing(); !s.Up || s.None != 2 {
		t.Errorf("when it is back: %+v", s)
	}
	for said, want := range map[string]int{"the directory does not answer": 1, "the directory answers again": 1} {
		if n := strings.Count(log.String(), said); n != want {
			t.Errorf("%q %d times in\n%s", said, n, log.String())
		}
	}
}

// A service that takes the question and never answers holds nobody for good.
func TestServiceThatHangs(t *testing.T) {
	desk := newDesk(t)
	d := desk.directory(t, nil, slog.New(slog.DiscardHandler))
	desk.says(200, `{"name": "Anna"}`)
	if _, err := d.Lookup(t.Context(), "8", ""); err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	defer close(hang)
	desk.asks(func(http.ResponseWriter, url.Values) { <-hang })
	took := time.Hour
	for range 3 { // the machine may stand still once
		if took < askWithin {
			break
		}
		age(d, time.Hour)
		rest(d)
		began := time.Now()
		if m, err := d.Lookup(t.Context(), "8", ""); err != nil || m.Name != "Anna" {
			t.Fatalf("who is known: %v, %v", m, err)
		}
		took = time.Since(began)
	}
	if took > askWithin {
		t.Errorf("who is known is told after %v", took)
	}
	began := time.Now()
	if _, err := d.Lookup(t.Context(), "7", ""); !errors.Is(err, errSlow) {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*askWithin {
		t.Errorf("who is not known waits %v", took)
	}
}

// A new configuration asks another service, and who is asking meanwhile gets
// its answer.
func TestServiceIsReplaced(t *testing.T) {
	desk := newDesk(t)
	d := desk.directory(t, nil, slog.New(slog.DiscardHandler))
	desk.says(200, `{"name": "Anna"}`)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for i := range 4 {
		asking.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if m, err := d.Lookup(t.Context(), fmt.Sprintf("x%d-%d", i, n), ""); err != nil || m.Name != "Anna" {
					t.Errorf("%v, %v", m, err)
					return
				}
			}
		})
	}
	for range 20 {
		if err := d.Reload(d.sources.Load().config); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	asking.Wait()
}

func TestDirectorySettings(t *testing.T) {
	for text, want := range map[string]string{
		"{file: a.csv, url: 'https://crm.example'}": "1:31: directory.url: expected a file or a url, not both",
		"{url: crm.example}":                        "1:18: directory.url: expected an address like https://crm.example/mailbox",
		"{url: 'https://a:b@crm.example'}":          "1:18: directory.url: expected an address without a login: give the service a token",
		"{token: hush}":                             "1:20: directory.token: there is no url that it could be sent to",
		"{fresh: 10ms}":                             `1:20: directory.fresh: expected 1s or more, not "10ms"`,
	} {
		_, err := Parse("afterbeep.yaml", []byte("directory: "+text), env)
		if err == nil || err.Error() != "afterbeep.yaml:"+want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
