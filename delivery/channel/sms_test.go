package channel

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func smsOptions(server, format string) *SMSOptions {
	o := Table()["sms"]().(*SMSOptions)
	o.URL, o.Format, o.From = server+"/send?key=t0ken", format, "Voicemail"
	o.User, o.Password = "operator", "pa55word"
	o.Headers = map[string]string{"X-Api-Key": "k3y-of-the-gateway"}
	o.Fields = map[string]string{"to": "{to}", "text": "{text}", "sender": "{from}", "ref": "{id}", "secret": "s3cret-field"}
	o.AllowPrivate = true
	return o
}

// smsSubject is the gateway in the suite.
func smsSubject(format string) subject {
	return subject{
		name: "sms by " + format, address: "+491705550101",
		options: func(server string) Options { return smsOptions(server, format) },
		secrets: []string{"t0ken", "pa55word", encoded("operator:pa55word"), "k3y-of-the-gateway", "s3cret-field", "signature=abc"},
		verify:  func(t *testing.T, r *http.Request, body []byte, n delivery.Note) { verifySMS(t, r, body, n, format) },
		key:     func(r *http.Request, body []byte) string { return smsFields(r, body, format)["ref"] },
		statuses: map[int]meaning{
			401: {delivery.Retry, true, 90 * time.Second, "see headers, user and password"},
			402: {delivery.Retry, true, 90 * time.Second, "no credit"},
			403: {delivery.Retry, true, 90 * time.Second, "see headers, user and password"},
			404: {delivery.Dead, false, 0, "see url"},
		},
	}
}

// smsFields are the fields of a message as the gateway reads them.
func smsFields(r *http.Request, body []byte, format string) map[string]string {
	fields := map[string]string{}
	if format == "json" {
		_ = json.Unmarshal(body, &fields)
		return fields
	}
	values := r.URL.Query()
	if format == "form" {
		values, _ = url.ParseQuery(string(body))
	}
	for name := range values {
		fields[name] = values.Get(name)
	}
	return fields
}

func verifySMS(t *testing.T, r *http.Request, body []byte, n delivery.Note, format string) {
	t.Helper()
	contentType := map[string]string{"json": "application/json", "form": "application/x-www-form-urlencoded"}[format]
	user, password, _ := r.BasicAuth()
	if r.Method != http.MethodPost || r.URL.Path != "/send" || r.URL.Query().Get("key") != "t0ken" || r.Header.Get("Content-Type") != contentType ||
		r.Header.Get("X-Api-Key") != "k3y-of-the-gateway" || user != "operator" || password != "pa55word" {
		t.Errorf("%s %s, %v", r.Method, r.RequestURI, r.Header)
	}
	got := smsFields(r, body, format)
	delete(got, "key")
	if got["to"] != "+491705550101" || got["sender"] != "Voicemail" || got["ref"] != n.ID || got["secret"] != "s3cret-field" || len(got) != 5 {
		t.Errorf("the message is %v", got)
	}
	link := "https://notes.example/note/" + n.ID
	if said := strings.Contains(got["text"], link); said != (n.Kind != delivery.Missed) || got["text"] == "" {
		t.Errorf("the text is %q", got["text"])
	}
}

// Without an address the mailbox's own number is meant, if it is one.
func TestSMSToTheMailboxItself(t *testing.T) {
	var to string
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { to = r.URL.Query().Get("to") })
	o := smsOptions(server.URL, "query")
	o.Method = http.MethodGet
	c := open(t, o)
	p := parcelOf(sampleNote())
	p.Address = ""
	if _, err := c.Send(t.Context(), p); err != nil || to != "+4930123456" {
		t.Errorf("to %q, %v", to, err)
	}
	for name, change := range map[string]func(p *delivery.Parcel){
		"name one in its target": func(p *delivery.Parcel) { p.Note.Recipient.Number = "101" },
		"set http.public_url":    func(p *delivery.Parcel) { p.Page = func(time.Time) string { return "" } },
	} {
		p := p
		change(&p)
		_, err := c.Send(t.Context(), p)
		if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Dead || !strings.Contains(failed.Error(), name) {
			t.Errorf("%v does not say %q", err, name)
		}
	}
}

// A message goes out once by whatever method, on a connection that served before
// too: where its answer is lost, the next attempt says so.
func TestSMSOnceByEveryMethod(t *testing.T) {
	for method, format := range map[string]string{http.MethodPost: "json", http.MethodPut: "form", http.MethodGet: "query"} {
		var messages atomic.Int32
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if messages.Add(1) != 2 {
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		})
		o := smsOptions(server.URL, format)
		o.Method = method
		c := open(t, o)
		p := parcelOf(sampleNote())
		p.Address = "+491705550101"
		if _, err := c.Send(t.Context(), p); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		_, err := c.Send(t.Context(), p)
		if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Unknown || messages.Load() != 2 {
			t.Errorf("%s: the gateway has %d messages of two sends, and %v", method, messages.Load(), err)
		}
	}
}

// Some gateways answer 200 whatever becomes of a message.
func TestSMSExpects(t *testing.T) {
	for says, taken := range map[string]bool{`{"status": "ok"}`: true, `{"status": "error", "to": "+491705550101"}`: false, "": false} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, says) })
		o := smsOptions(server.URL, "json")
		o.Expect = `"status":\s*"ok"`
		p := parcelOf(sampleNote())
		p.Address = "+491705550101"
		receipt, err := open(t, o).Send(t.Context(), p)
		failed := (*delivery.SendError)(nil)
		if dead := errors.As(err, &failed) && failed.Outcome == delivery.Dead; dead == taken || (err != nil && !dead) {
			t.Errorf("after %q: %v", says, err)
		}
		if strings.Contains(receipt.Detail, "5550101") {
			t.Errorf("the receipt has the number: %q", receipt.Detail)
		}
	}
}

// A gateway may quote the message: nothing of it is kept, however many are under
// way.
func TestSMSQuoted(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(body)
	})
	o := smsOptions(server.URL, "json")
	o.Fields = map[string]string{"text": "{text}", "to": "{to}"}
	c := open(t, o)
	var sends sync.WaitGroup
	for range 16 {
		sends.Go(func() {
			for range 16 {
				p := parcelOf(sampleNote())
				p.Address = "+491705550101"
				receipt, err := c.Send(t.Context(), p)
				if err == nil || !strings.Contains(receipt.Detail, "text") || strings.Contains(receipt.Detail, "notes.example") || strings.Contains(receipt.Detail, "5550101") {
					t.Errorf("the receipt has %q, %v", receipt.Detail, err)
				}
			}
		})
	}
	sends.Wait()
}

// An answer that breaks off before what expect looks for leaves it open whether
// the gateway took the message.
func TestSMSExpectsWhatBreaksOff(t *testing.T) {
	for says, want := range map[string]delivery.Outcome{`{"status": "ok"`: delivery.Done, `{"sta`: delivery.Unknown, "": delivery.Unknown} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", "20")
			_, _ = io.WriteString(w, says)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		o := smsOptions(server.URL, "json")
		o.Expect = `"status":\s*"ok"`
		p := parcelOf(sampleNote())
		p.Address = "+491705550101"
		_, err := open(t, o).Send(t.Context(), p)
		got := delivery.Done
		if failed := (*delivery.SendError)(nil); errors.As(err, &failed) {
			got = failed.Outcome
		}
		if got != want {
			t.Errorf("after %q: %v, want %s", says, err, want)
		}
	}
}

// A gateway that fails may have sent the message: the next attempt says so, but
// where {id} lets the gateway tell a repeat, and where it has taken nothing.
func TestSMSGatewayFails(t *testing.T) {
	for _, status := range []int{500, 502, 503, 504, 599} {
		for name, tc := range map[string]struct {
			fields map[string]string
			want   delivery.Outcome
		}{
			"fields by default": {nil, delivery.Unknown},
			"no {id}":           {map[string]string{"to": "{to}", "text": "{text}", "id": "id"}, delivery.Unknown},
			"{id}":              {map[string]string{"to": "{to}", "text": "{text}", "ref": "a-{id}"}, delivery.Retry},
		} {
			if status == http.StatusServiceUnavailable {
				tc.want = delivery.Retry
			}
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "90")
				w.WriteHeader(status)
			})
			o := smsOptions(server.URL, "json")
			o.Fields = tc.fields
			p := parcelOf(sampleNote())
			p.Address = "+491705550101"
			_, err := open(t, o).Send(t.Context(), p)
			failed := (*delivery.SendError)(nil)
			if !errors.As(err, &failed) || failed.Outcome != tc.want || failed.After != 90*time.Second || failed.Status != status {
				t.Errorf("%d with %s: %+v, want %s", status, name, err, tc.want)
			}
		}
	}
}

func TestSMSSettings(t *testing.T) {
	for name, spoil := range map[string]func(o *SMSOptions){
		"url":      func(o *SMSOptions) { o.URL = "sms.example" },
		"ack":      func(o *SMSOptions) { o.Ack = "delivered" },
		"format":   func(o *SMSOptions) { o.Method, o.Format = "GET", "json" },
		"expect":   func(o *SMSOptions) { o.Expect = "(" },
		"segments": func(o *SMSOptions) { o.Segments = 0 },
		"user":     func(o *SMSOptions) { o.User = "" },
		"fields":   func(o *SMSOptions) { o.Fields = map[string]string{"to": "{to}"} },
		"headers":  func(o *SMSOptions) { o.Headers = map[string]string{"X-Key": "a\r\nb"} },
		"headers ": func(o *SMSOptions) { o.Headers = map[string]string{"X Key": "a"} },
	} {
		o := smsOptions("https://sms.example", "json")
		spoil(o)
		if _, err := o.Open(testEnv(t)); err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(name)+":") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for address, good := range map[string]bool{"": true, "+491705550101": true, "101": false, "+0123456": false, "+49 170 5550101": false, "0049170": false} {
		if err := (&SMSOptions{}).CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// The login is tried without a message.
func TestSMSCheck(t *testing.T) {
	status := http.StatusMethodNotAllowed
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); r.Method != http.MethodHead || password != "pa55word" || r.Header.Get("X-Api-Key") == "" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		w.WriteHeader(status)
	})
	check := open(t, smsOptions(server.URL, "json")).(delivery.Checker)
	if err := check.Check(t.Context()); err != nil {
		t.Errorf("a gateway that knows no HEAD: %v", err)
	}
	status = http.StatusUnauthorized
	if err := check.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "see headers, user and password") {
		t.Errorf("a login that is refused: %v", err)
	}
}
