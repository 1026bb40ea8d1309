package channel

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// waUpdate is one update of a callback, of the given kind: messages, statuses,
// calls.
type waUpdate struct{ kind, text string }

// waStamp is a time some while ago, as callbacks write it.
func waStamp(ago time.Duration) string { return fmt.Sprint(time.Now().Add(-ago).Unix()) }

func (r *waRig) incoming(from, scoped, rest string, ago time.Duration) waUpdate {
	var who string
	if from != "" {
		who = `"from":"` + from + `",`
	}
	if scoped != "" {
		who += `"from_user_id":"` + scoped + `",`
	}
	return waUpdate{"messages", fmt.Sprintf(`{%s"id":"wamid.%s","timestamp":%q,%s}`, who, delivery.NewID(), waStamp(ago), rest)}
}

func (r *waRig) text(from, scoped, body string, ago time.Duration) waUpdate {
	return r.incoming(from, scoped, fmt.Sprintf(`"type":"text","text":{"body":%q}`, body), ago)
}

func (r *waRig) tap(payload string) waUpdate {
	return r.incoming(waTo, "", fmt.Sprintf(`"type":"button","button":{"payload":%q,"text":"Play"},"context":{"from":"15550783881","id":"wamid.1"}`, payload), 0)
}

func (r *waRig) call(from, direction string, ago time.Duration) waUpdate {
	return waUpdate{"calls", fmt.Sprintf(`{"id":"wacid.1","from":%q,"to":"15550783881","event":"connect","direction":%q,"timestamp":%q}`, from, direction, waStamp(ago))}
}

func (r *waRig) status(status, id, data string, code int) waUpdate {
	return r.statusAgo(status, id, data, code, 0)
}

func (r *waRig) statusAgo(status, id, data string, code int, ago time.Duration) waUpdate {
	failed := ""
	if code != 0 {
		failed = fmt.Sprintf(`,"errors":[{"code":%d,"title":"Message undeliverable","message":"Message undeliverable","error_data":{"details":"cannot send to +%s"},"href":"https://developers.facebook.com/"}]`, code, waTo)
	}
	return waUpdate{"statuses", fmt.Sprintf(`{"id":%q,"status":%q,"timestamp":%q,"recipient_id":%q,"recipient_user_id":"DE.1349","biz_opaque_callback_data":%q%s}`, id, status, waStamp(ago), waTo, data, failed)}
}

// callbackOf is a callback's body. Its statuses are held against the published
// schema; that of incoming messages asks for what outgoing ones have.
func (r *waRig) callbackOf(updates ...waUpdate) string {
	r.t.Helper()
	var changes []string
	for _, u := range updates {
		contacts := ""
		if u.kind == "messages" {
			contacts = `"contacts":[{"profile":{"name":"Sheena"},"user_id":"DE.1349"}],`
		}
		value := fmt.Sprintf(`{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":%q},%s%q:[%s]}`, waID, contacts, u.kind, u.text)
		if u.kind == "statuses" {
			if err := r.service.schemas.holds("StatusMessageValue", []byte(value)); err != nil {
				r.t.Errorf("the test's own callback: %v", err)
			}
		}
		changes = append(changes, fmt.Sprintf(`{"field":"messages","value":%s}`, value))
	}
	return fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":%q,"changes":[%s]}]}`, waAccount, strings.Join(changes, ","))
}

func signWhatsApp(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// hears gives the channel a callback's body and returns the status.
func (r *waRig) hears(body, signature string) int {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), http.MethodPost, "/callback/chat", strings.NewReader(body))
	if signature != "" {
		req.Header.Set("X-Hub-Signature-256", signature)
	}
	out := httptest.NewRecorder()
	r.ServeHTTP(out, req)
	return out.Code
}

// post makes a callback of updates, which must be kept.
func (r *waRig) post(updates ...waUpdate) {
	r.t.Helper()
	body := r.callbackOf(updates...)
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK {
		r.t.Errorf("the callback got %d", code)
	}
}

func TestWhatsAppVerification(t *testing.T) {
	r := newWhatsApp(t, nil)
	const well = "hub.mode=subscribe&hub.verify_token=" + waVerify + "&hub.challenge=1158201444"
	for query, want := range map[string]int{
		well: http.StatusOK,
		strings.Replace(well, waVerify, "guess", 1):          http.StatusForbidden,
		strings.Replace(well, waVerify, "", 1):               http.StatusForbidden,
		strings.Replace(well, "subscribe", "unsubscribe", 1): http.StatusForbidden,
		strings.Replace(well, "1158201444", "<script>hi", 1): http.StatusForbidden,
		"hub.challenge=1158201444":                           http.StatusForbidden,
		"":                                                   http.StatusForbidden,
	} {
		out := httptest.NewRecorder()
		r.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/callback/chat?"+query, http.NoBody))
		if out.Code != want || (want == http.StatusOK) != (out.Body.String() == "1158201444") {
			t.Errorf("%q: %d %q", query, out.Code, out.Body)
		}
	}
}

// Who cannot sign learns nothing, whatever he sends.
func TestWhatsAppStrangers(t *testing.T) {
	r := newWhatsApp(t, nil)
	body := r.callbackOf(r.status("read", "wamid.1", delivery.NewID(), 0))
	huge := `{"x":"` + strings.Repeat("x", maxCallback) + `"}`
	for name, tc := range map[string]struct{ body, signature string }{
		"no signature":      {body, ""},
		"another's":         {body, signWhatsApp("guess", body)},
		"of another body":   {body, signWhatsApp(waSecret, body+" ")},
		"an empty one":      {body, "sha256="},
		"no hex":            {body, "sha256=zz"},
		"a shorter one":     {body, signWhatsApp(waSecret, body)[:40]},
		"too large, signed": {huge, signWhatsApp(waSecret, huge)},
	} {
		if code := r.hears(tc.body, tc.signature); code != http.StatusForbidden {
			t.Errorf("%s: %d", name, code)
		}
	}
	out := httptest.NewRecorder()
	r.ServeHTTP(out, httptest.NewRequestWithContext(t.Context(), http.MethodDelete, "/callback/chat", http.NoBody))
	if out.Code != http.StatusForbidden {
		t.Errorf("DELETE: %d", out.Code)
	}
	r.wantTold()
}

// The service may fill 3 MB ("Webhooks", payload size). What is refused as too
// large is lost for good: the log says so.
func TestWhatsAppLargeCallback(t *testing.T) {
	r := newWhatsApp(t, nil)
	var said strings.Builder
	r.env.Log = slog.New(slog.NewTextHandler(&said, nil))
	job := delivery.NewID()
	body := r.callbackOf(r.status("read", "wamid.1", job, 0))
	large := strings.Repeat(" ", 3<<20-len(body)) + body
	if code := r.hears(large, signWhatsApp(waSecret, large)); code != http.StatusOK || said.Len() != 0 {
		t.Errorf("3 MB: %d, %s", code, said.String())
	}
	r.wantTold("read " + job)
	huge := strings.Repeat(" ", maxCallback) + body
	if code := r.hears(huge, signWhatsApp(waSecret, huge)); code != http.StatusForbidden || !strings.Contains(said.String(), "larger") {
		t.Errorf("more than is read: %d, %q", code, said.String())
	}
	r.wantTold()
}

// A batch is kept as far as it is understood; the rest is nobody's loss.
func TestWhatsAppBatch(t *testing.T) {
	r := newWhatsApp(t, nil)
	job := delivery.NewID()
	other := strings.Replace(r.callbackOf(r.status("read", "wamid.1", job, 0)), waID, "999999999999999", 1)
	for _, body := range []string{
		other, `{}`, `[]`, `not JSON`, ``, `{"entry":[{"changes":[{"value":7}]}]}`,
		r.callbackOf(r.status("read", "wamid.1", "another app's", 0)),
		r.callbackOf(r.status("read", "wamid.1", job+".x", 0)),
		`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"` + waID + `"},"statuses":[{"id":"wamid.1","status":"sent","errors":"none"}]}}]}]}`,
	} {
		if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK {
			t.Errorf("%s: %d", body, code)
		}
	}
	r.wantTold()
	// Levels in any order, twice, and strange ones among them.
	r.post(r.status("read", "wamid.1", job, 0), r.status("sent", "wamid.1", job, 0), r.status("read", "wamid.1", job, 0),
		r.status("played", "wamid.1", job, 0), r.text(waTo, "", "hello", 0), r.status("delivered", "wamid.1", job, 0), r.status("read", "wamid.0", job+".t", 0))
	r.wantTold("read "+job, "accepted "+job, "read "+job, "played "+job, "delivered "+job)
	body := strings.Replace(r.callbackOf(r.status("delivered", "wamid.1", job, 0)), `"statuses":[`,
		`"statuses":[{"status":7},"x",null,{"id":"wamid.2","status":"warning","biz_opaque_callback_data":"`+job+`"},`, 1)
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK {
		t.Errorf("strange updates: %d", code)
	}
	r.wantTold("delivered " + job)
}

// What cannot be kept is sent again, and then kept; erased notes are not ours.
func TestWhatsAppNotKept(t *testing.T) {
	r := newWhatsApp(t, withTemplate)
	p := waParcel(waTo)
	r.sends(p)
	body := r.callbackOf(r.tap(p.Key), r.status("sent", "wamid.1", p.Key, 0), r.status("failed", "wamid.2", p.Key, 131026))
	r.broken = errors.New("disk")
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusInternalServerError {
		t.Errorf("not kept: %d", code)
	}
	r.broken = nil
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK {
		t.Errorf("again: %d", code)
	}
	r.wantTold("asked "+p.Key, "asked "+p.Key, "accepted "+p.Key, "refused "+p.Key)
	if code := r.hears(body, signWhatsApp(waSecret, body)); code != http.StatusOK {
		t.Errorf("once more: %d", code)
	}
	r.wantTold("accepted " + p.Key) // the store knows it
	r.broken = delivery.ErrNotFound
	r.post(r.tap(delivery.NewID()), r.status("read", "wamid.1", p.Key, 0))
}

// What becomes of a note that came back, by the code, the settings, and whether
// it came back before.
func TestWhatsAppFailedLater(t *testing.T) {
	const bounced, refused = "bounced", "refused"
	for name, tc := range map[string]struct {
		ack      string
		template bool
		code     int
		want     [2]string // the first time, the second
		then     string    // what the next attempt sends after the first time
	}{
		"closed, invited":                  {"delivered", true, closedCode, [2]string{bounced, refused}, "template"},
		"closed, without a template":       {"delivered", false, closedCode, [2]string{refused, refused}, ""},
		"closed, and counts as delivered":  {"accepted", true, closedCode, [2]string{refused, refused}, ""},
		"passing":                          {"delivered", false, 131000, [2]string{bounced, refused}, "audio"},
		"passing, and counts as delivered": {"accepted", false, 131000, [2]string{refused, refused}, ""},
		"not at WhatsApp":                  {"read", true, 131026, [2]string{refused, refused}, ""},
		"an unknown code":                  {"read", true, 999999, [2]string{refused, refused}, ""},
		"credentials":                      {"read", true, 131042, [2]string{refused, refused}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, func(o *WhatsAppOptions) {
				o.Ack, o.AssumeWindowOpen = tc.ack, true
				if tc.template {
					withTemplate(o)
				}
			})
			p := waParcel(waTo)
			receipt := r.sends(p)
			r.wantSent("file text audio")
			failure := r.status("failed", receipt.ID, p.Key, tc.code)
			r.post(r.status("failed", "wamid.1", p.Key+".t", tc.code), failure, failure)
			for _, report := range r.reports {
				whatsAppSubject().hides(t, report.Detail, p.Note)
				if strings.Contains(report.Detail, waTo) || !strings.Contains(report.Detail, fmt.Sprint(tc.code)) {
					t.Errorf("the detail is %q", report.Detail)
				}
			}
			r.wantTold(tc.want[0] + " " + p.Key) // once, however often it is told
			if tc.then != "" {
				receipt = r.sends(p)
				r.wantSent(tc.then)
			}
			data := p.Key
			if receipt.Invited {
				data += ".i"
			}
			r.post(r.status("failed", receipt.ID+"'", data, 131000))
			if data == p.Key { // another attempt's, which something came after
				r.wantTold()
				r.post(r.status("failed", receipt.ID, data, tc.code))
			}
			if tc.then != "" {
				r.wantTold(tc.want[1] + " " + p.Key)
			}
		})
	}
}

// What failed was not accepted, however late or often that is told: meanwhile
// the job may be driven again, or stand at another target of the channel.
func TestWhatsAppSentAfterFailed(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { o.AssumeWindowOpen = true })
	p := waParcel(waTo)
	receipt := r.sends(p)
	sent := r.status("sent", receipt.ID, p.Key, 0)
	r.post(sent, r.status("failed", receipt.ID, p.Key, 131026), sent)
	r.wantTold("accepted "+p.Key, "refused "+p.Key)
	r.post(r.status("sent", "wamid.again", p.Key, 0), r.status("delivered", receipt.ID, p.Key, 0))
	r.wantTold("accepted "+p.Key, "delivered "+p.Key)
}

// What is told of one target of a chain says nothing of another of the same
// channel.
func TestWhatsAppTargetsOfAChain(t *testing.T) {
	const first, known, second = "5511987654321", "551187654321", "4915187654321" // the first with Brazil's ninth digit
	of := func(user string, u waUpdate) waUpdate {
		return waUpdate{u.kind, strings.Replace(u.text, waTo, user, 1)}
	}
	r := newWhatsApp(t, func(o *WhatsAppOptions) { o.Ack = "delivered" })
	told := func(want ...string) {
		t.Helper()
		var got []string
		for _, report := range r.reports {
			address := "?"
			if report.Address != nil {
				address = *report.Address
			}
			got = append(got, string(report.What)+" "+address)
		}
		if r.reports = nil; !slices.Equal(got, want) {
			t.Errorf("reports: %q, want %q", got, want)
		}
	}
	p := waParcel("+" + first)
	r.service.user = known
	before := r.sends(p)
	r.service.user, p.Address = "", second
	r.service.strike("audio", waLost)
	_ = r.fails(p, delivery.Unknown)
	r.service.kinds()

	r.post(of(known, r.status("sent", before.ID, p.Key, 0)), of(known, r.status("failed", before.ID, p.Key, 131000)), of(known, r.status("delivered", before.ID, p.Key, 0)))
	told("accepted +"+first, "refused +"+first, "delivered +"+first)
	p.Attempt, p.Repeat = 2, true
	now := r.sends(p)
	r.wantSent("text audio") // the first one's is not the second one's
	r.post(of("4915100000000", r.status("delivered", "wamid.x", p.Key, 0)), of(second, r.status("failed", now.ID, p.Key, 131000)))
	told("delivered ?", "bounced "+second)

	// Driven again, the first one is to come: what came of the second one's last
	// turn is of no use, but that it arrived.
	r.service.user, p.Address, p.Attempt = known, "+"+first, 1
	r.sends(p)
	r.post(of(second, r.status("sent", "wamid.y", p.Key, 0)), of(second, r.status("failed", "wamid.y", p.Key, 131026)), of(second, r.status("delivered", "wamid.y", p.Key, 0)))
	told("delivered ?")
	r.post(of(known, r.status("failed", "wamid.z", p.Key, 131026))) // of its own last turn
	told()
	r.service.user, p.Address = "", second
	r.sends(p)
	r.post(of(known, r.status("failed", "wamid.w", p.Key, 131026)))
	told("refused +" + first)
}

// A failure of the attempt whose answer was lost counts, though its id was
// never told.
func TestWhatsAppFailedAfterALostAnswer(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { o.Ack = "delivered" })
	p := waParcel(waTo)
	r.post(r.status("failed", r.sends(p).ID, p.Key, 131000))
	r.wantTold("bounced " + p.Key)
	r.service.strike("audio", waLost)
	_ = r.fails(p, delivery.Unknown)
	r.post(r.status("failed", "wamid.lost", p.Key, 131026))
	r.wantTold("refused " + p.Key)
}

// Old news does no harm: a failure of a week ago, a window that closed before
// it was opened, a message that nobody remembers.
func TestWhatsAppOldNews(t *testing.T) {
	r := newWhatsApp(t, nil)
	p := waParcel(waTo)
	r.post(r.text(waTo, "", "hello", 0))
	r.post(r.statusAgo("failed", "wamid.0", delivery.NewID(), closedCode, time.Hour), r.statusAgo("failed", "wamid.0", p.Key, 131026, 72*time.Hour))
	r.wantTold()
	r.sends(p)
	r.wantSent("about file text audio") // what time it is there
	r.post(r.statusAgo("failed", "wamid.0", p.Key, 131026, 72*time.Hour))
	r.wantTold()

	quiet := newWhatsApp(t, withTemplate)
	quiet.post(quiet.text(waTo, "", "hello", 25*time.Hour), quiet.call(waTo, "BUSINESS_INITIATED", 0),
		quiet.incoming(waTo, "", `"type":"system","system":{"type":"user_changed_number"}`, 0),
		quiet.incoming(waTo, "", `"type":"text","group_id":"g","text":{"body":"hi"}`, 0))
	quiet.sends(p)
	quiet.wantSent("about template")
}

// A user without a number has a window too, and one with both names has both.
func TestWhatsAppScopedUsers(t *testing.T) {
	const scoped = "DE.13491208655302741918"
	r := newWhatsApp(t, withTemplate)
	r.post(r.text("", scoped, "hello", 0))
	r.sends(waParcel(scoped))
	r.wantSent("file text audio")
	r.sends(waParcel(waTo))
	r.wantSent("template")
	r.post(r.text(waTo, scoped, "hello", 0))
	r.sends(waParcel(waTo))
	r.wantSent("file text audio")
}

func FuzzWhatsAppCallback(f *testing.F) {
	r := &waRig{}
	for _, u := range []waUpdate{
		r.text(waTo, "DE.1349", "LINK-abc", 0), r.tap(delivery.NewID()), r.call(waTo, "USER_INITIATED", 0),
		r.status("failed", "wamid.1", delivery.NewID(), 131026), r.status("read", "wamid.1", delivery.NewID()+".t", 0),
	} {
		f.Add([]byte(fmt.Sprintf(`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":%q},%q:[%s]}}]}]}`, waID, u.kind, u.text)))
	}
	f.Add([]byte(`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"` + waID + `"},"messages":[{"timestamp":1e99,"from":"1"},null,7]}}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		reported := 0
		env := Env{Log: slog.New(slog.DiscardHandler), Memory: new(delivery.Scratch), Chats: newChats(nil)}
		env.Report = func(_ context.Context, report delivery.Report) error {
			if reported++; !delivery.ValidID(report.Job) || strings.ContainsAny(report.Detail, "\r\n\x00") {
				t.Errorf("a report of %+v", report)
			}
			return nil
		}
		o := whatsAppFor("http://127.0.0.1:1").(*WhatsAppOptions)
		w := openWith(t, o, env).(*whatsapp)
		w.http.Transport = waNobody{}
		for range 2 {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/callback/chat", bytes.NewReader(body))
			req.Header.Set("X-Hub-Signature-256", signWhatsApp(waSecret, string(body)))
			out := httptest.NewRecorder()
			if w.ServeHTTP(out, req); out.Code != http.StatusOK {
				t.Errorf("%d", out.Code)
			}
		}
	})
}

// waNobody is a service out of reach.
type waNobody struct{}

func (waNobody) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("nobody") }
