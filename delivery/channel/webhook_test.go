package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/afterbeep/afterbeep/delivery"
)

const testSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

var webhookSecrets = []string{testSecret, strings.TrimPrefix(testSecret, "whsec_"), "pa55word", "t0ken"}

// webhookSubject is the webhook in the suite.
func webhookSubject(name string, attach bool) subject {
	s := subject{
		name: name, options: webhookFor(attach), secrets: webhookSecrets,
		verify: verifyLink, key: webhookKey, statuses: hookMeanings(),
	}
	if attach {
		s.verify, s.most = verifyFile, maxAttach
	}
	return s
}

// hookMeanings are the statuses that say what to mend.
func hookMeanings() map[int]meaning {
	return map[int]meaning{
		401: {delivery.Retry, true, 90 * time.Second, "secret"},
		403: {delivery.Retry, true, 90 * time.Second, "secret"},
		410: {delivery.Dead, false, 0, "no more notes"},
		413: {delivery.Dead, false, 0, "attach: false"},
	}
}

// webhookKey is by what a receiver tells a repeat.
func webhookKey(r *http.Request, _ []byte) string { return r.Header.Get("webhook-id") }

func webhookFor(attach bool) func(server string) Options {
	return func(server string) Options {
		o := &WebhookOptions{URL: strings.Replace(server, "://", "://crm:pa55word@", 1) + "/notes?key=t0ken", Secret: testSecret, Attach: attach, HTTP: defaultHTTP()}
		o.AllowPrivate = true
		return o
	}
}

// received is a note as the documentation describes it to a receiver.
type received struct {
	Type      *string    `json:"type"`
	Timestamp *time.Time `json:"timestamp"`
	Data      *struct {
		ID        *string `json:"id"`
		Kind      *string `json:"kind"`
		Recipient *struct {
			Number *string `json:"number"`
			Name   *string `json:"name"`
		} `json:"recipient"`
		Caller *struct {
			Number  *string `json:"number"`
			Name    *string `json:"name"`
			Private *bool   `json:"private"`
			Trust   *string `json:"trust"`
		} `json:"caller"`
		Reason     *string    `json:"reason"`
		CalledAt   *time.Time `json:"called_at"`
		DurationMS *int64     `json:"duration_ms"`
		Partial    *bool      `json:"partial"`
		Waveform   []int      `json:"waveform"`
		Media      *struct {
			URL    *string `json:"url"`
			Type   *string `json:"type"`
			Bytes  *int64  `json:"bytes"`
			SHA256 *string `json:"sha256"`
		} `json:"media"`
	} `json:"data"`
}

// verifySigned checks what both forms of the request have in common.
func verifySigned(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Error(err)
		return
	}
	if err := wh.Verify(body, r.Header); err != nil {
		t.Error(err)
	}
	if user, password, _ := r.BasicAuth(); r.Method != http.MethodPost || r.RequestURI != "/notes?key=t0ken" || user != "crm" || password != "pa55word" {
		t.Errorf("%s %s by %q", r.Method, r.RequestURI, user)
	}
}

func verifyLink(t *testing.T, r *http.Request, body []byte, n delivery.Note) {
	t.Helper()
	if r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", r.Header.Get("Content-Type"))
	}
	verifyEvent(t, body, n, false)
	verifySigned(t, r, body)
}

func verifyFile(t *testing.T, r *http.Request, body []byte, n delivery.Note) {
	t.Helper()
	files := 1
	if n.Kind == delivery.Missed {
		files = 0
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		t.Errorf("content type %q: %v", r.Header.Get("Content-Type"), err)
	}
	form, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Error(err)
		return
	}
	if len(form.Value) != 1 || len(form.Value["note"]) != 1 || len(form.File) != files || len(form.File["media"]) != files {
		t.Errorf("the form has %v and %v", form.Value, form.File)
		return
	}
	verifyEvent(t, []byte(form.Value["note"][0]), n, true)
	if files == 0 {
		verifySigned(t, r, body)
		return
	}
	media := form.File["media"][0]
	if media.Filename != n.ID+".ogg" || media.Header.Get("Content-Type") != n.Media.Type {
		t.Errorf("the file is %q, %q", media.Filename, media.Header.Get("Content-Type"))
	}
	f, err := media.Open()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = f.Close() }()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, speech) {
		t.Errorf("the file differs: %d bytes, %v", len(got), err)
	}
	verifySigned(t, r, body)
}

// verifyEvent reads the event strictly and compares it with the note.
func verifyEvent(t *testing.T, body []byte, n delivery.Note, attached bool) {
	t.Helper()
	if len(body) >= 20_000 {
		t.Errorf("the event has %d bytes", len(body))
	}
	var e received
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&e); err != nil {
		t.Errorf("%v in %s", err, body)
		return
	}
	d := e.Data
	if *e.Type != "note.created" || e.Timestamp.IsZero() || *d.ID != n.ID || *d.Kind != string(n.Kind) ||
		*d.DurationMS != n.Duration.Milliseconds() || *d.Partial != n.Partial || !d.CalledAt.Equal(n.CalledAt.Truncate(time.Millisecond)) {
		t.Errorf("event %s", body)
	}
	if *d.Recipient.Number != n.Recipient.Number || *d.Recipient.Name != n.Recipient.Name {
		t.Errorf("recipient in %s", body)
	}
	if *d.Caller.Number != n.Caller.Number || *d.Caller.Name != n.Caller.Name || *d.Caller.Private != n.Caller.Private {
		t.Errorf("caller in %s", body)
	}
	if (d.Caller.Trust == nil) != (n.Caller.Trust == "") || (d.Caller.Trust != nil && *d.Caller.Trust != n.Caller.Trust) {
		t.Errorf("what vouches for the number in %s", body)
	}
	if (d.Reason == nil) != (n.Reason == "") || (d.Reason != nil && *d.Reason != n.Reason) {
		t.Errorf("reason in %s", body)
	}
	if d.Waveform == nil || len(d.Waveform) != len(n.Waveform) {
		t.Errorf("waveform in %s", body)
	}
	for i, level := range d.Waveform {
		if level != int(n.Waveform[i]) {
			t.Errorf("waveform in %s", body)
		}
	}
	switch {
	case n.Kind == delivery.Missed:
		if d.Media != nil {
			t.Errorf("a missed note has media: %s", body)
		}
	case *d.Media.Type != n.Media.Type || *d.Media.Bytes != n.Media.Bytes || *d.Media.SHA256 != n.Media.SHA256:
		t.Errorf("media in %s", body)
	case attached != (d.Media.URL == nil):
		t.Errorf("link in %s", body)
	case !attached && !strings.HasPrefix(*d.Media.URL, "https://notes.example/media/"+n.ID+"?"):
		t.Errorf("link %q", *d.Media.URL)
	}
}

func TestWebhookKeepsTheEventSmall(t *testing.T) {
	n := sampleNote()
	n.Caller.Name = strings.Repeat("\x01🙂", 20_000)
	n.Recipient.Name, n.Caller.Number = n.Caller.Name, n.Caller.Name
	body, _, err := encode(newEvent(n))
	if err != nil || len(body) >= 20_000 || !json.Valid(body) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

// TestWebhookCannotSend has what fails before a request is made.
func TestWebhookCannotSend(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was made") })
	for name, tc := range map[string]struct {
		attach bool
		change func(p *delivery.Parcel)
		want   delivery.Outcome
		says   string
	}{
		"no public URL": {false, func(p *delivery.Parcel) { p.Link = func(time.Time) string { return "" } }, delivery.Dead, "http.public_url"},
		"oversized":     {true, func(p *delivery.Parcel) { p.Note.Media.Bytes = maxAttach + 1 }, delivery.Dead, "attach: false"},
		"file gone": {true, func(p *delivery.Parcel) {
			p.Open = func(context.Context) (io.ReadSeekCloser, error) { return nil, delivery.ErrNotFound }
		}, delivery.Dead, "cannot be read"},
		"disk fails": {true, func(p *delivery.Parcel) {
			p.Open = func(context.Context) (io.ReadSeekCloser, error) { return nil, errors.New("input/output error") }
		}, delivery.Retry, "input/output error"},
		"file cut": {true, func(p *delivery.Parcel) { p.Note.Media.Bytes++ }, delivery.Retry, "shorter"},
	} {
		t.Run(name, func(t *testing.T) {
			p := parcelOf(sampleNote())
			tc.change(&p)
			_, err := open(t, webhookFor(tc.attach)(server.URL)).Send(t.Context(), p)
			var failed *delivery.SendError
			if !errors.As(err, &failed) || failed.Outcome != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %s and %q", err, tc.want, tc.says)
			}
		})
	}
}

func TestWebhookLinkLastsAsLongAsTheJob(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	p := parcelOf(sampleNote())
	var until time.Time
	p.Link = func(expires time.Time) string { until = expires; return "https://notes.example/" }
	if _, err := open(t, webhookFor(false)(server.URL)).Send(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(until); left < 7*24*time.Hour-time.Minute || left > 7*24*time.Hour {
		t.Errorf("the link lasts %v", left)
	}
}

func TestWebhookOptions(t *testing.T) {
	for says, change := range map[string]func(o *WebhookOptions){
		"":         func(*WebhookOptions) {},
		"url":      func(o *WebhookOptions) { o.URL = "crm.example/notes" },
		"api_url":  func(o *WebhookOptions) { o.APIURL = "file:///etc/passwd" },
		"ack":      func(o *WebhookOptions) { o.Ack = "read" },
		"whsec_":   func(o *WebhookOptions) { o.Secret = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD" },
		"24 to 64": func(o *WebhookOptions) { o.Secret = "whsec_c2hvcnQ=" },
		"base64":   func(o *WebhookOptions) { o.Secret = "whsec_!!!!" },
	} {
		o := webhookFor(false)("http://127.0.0.1:1").(*WebhookOptions)
		change(o)
		_, err := o.Open(Env{})
		if (err == nil) != (says == "") || (err != nil && !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v", says, err)
		}
		if err != nil && says != "whsec_" && strings.Contains(err.Error(), o.Secret) {
			t.Errorf("%v shows the secret", err)
		}
	}
}

func TestWebhookCheck(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Errorf("%s is no harmless request", r.Method)
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
	})
	c := open(t, webhookFor(true)(server.URL)).(delivery.Checker)
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := c.Check(t.Context()); err == nil {
		t.Error("nobody is there, and the check passes")
	}
}

func TestInboxAcknowledges(t *testing.T) {
	c := open(t, Table()["inbox"]())
	if _, err := c.Send(t.Context(), parcelOf(sampleNote())); err != nil {
		t.Error(err)
	}
}

// What is wrong with the settings comes back at once, and shows none of them.
func TestWebhookOptionsValidate(t *testing.T) {
	good := WebhookOptions{URL: "https://crm.example/notes", Secret: testSecret, HTTP: defaultHTTP()}
	for name, c := range map[string]struct {
		change func(*WebhookOptions)
		want   string
	}{
		"good":             {func(*WebhookOptions) {}, ""},
		"another server":   {func(o *WebhookOptions) { o.APIURL = "http://127.0.0.1:8081" }, ""},
		"no address":       {func(o *WebhookOptions) { o.URL = "pa55word" }, "url: " + errURL.Error()},
		"no server":        {func(o *WebhookOptions) { o.APIURL = "pa55word" }, "api_url: " + errURL.Error()},
		"a short secret":   {func(o *WebhookOptions) { o.Secret = "whsec_pa55word" }, "secret: expected whsec_ and the base64"},
		"more than can be": {func(o *WebhookOptions) { o.Ack = "read" }, `ack: expected accepted, not "read"`},
		"all of it": {
			func(o *WebhookOptions) { *o = WebhookOptions{HTTP: HTTP{APIURL: "x"}} },
			"api_url: " + errURL.Error() + "\nurl: " + errURL.Error() + "\nsecret: ",
		},
	} {
		o := good
		c.change(&o)
		err := o.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s: %v shows a setting", name, err)
		}
	}
	if good.Attach = true; good.NeedsPublicURL() {
		t.Error("a file that travels along needs no link")
	}
	if good.Attach = false; !good.NeedsPublicURL() {
		t.Error("a link leads to the public URL")
	}
}
