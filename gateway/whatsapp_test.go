package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

const (
	waNumberID  = "106540352242922"
	waAppSecret = "app5ecret-0123456789"
)

// waSent is a message as the WhatsApp service gets it.
type waSent struct {
	Type     string `json:"type"`
	To       string `json:"to"`
	Callback string `json:"biz_opaque_callback_data"`
}

// whatsAppService takes whatever comes, and tells of the messages.
func whatsAppService(t *testing.T) (address string, sent chan waSent) {
	t.Helper()
	sent = make(chan waSent, 20)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/media") {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"id":"4490709327384033"}`)
			return
		}
		var m waSent
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		sent <- m
		_, _ = fmt.Fprintf(w, `{"messages":[{"id":"wamid.%s"}]}`, m.Callback)
	}))
	t.Cleanup(service.Close)
	return service.URL, sent
}

// next is the message that comes next.
func next(t *testing.T, sent <-chan waSent) waSent {
	t.Helper()
	select {
	case m := <-sent:
		return m
	case <-time.After(90 * time.Second):
		t.Fatal("no message comes within 90 s")
		return waSent{}
	}
}

// calledBack brings the gateway a callback of the service.
func (g *gateway) calledBack(t *testing.T, kind, update string) {
	t.Helper()
	body := fmt.Sprintf(`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":%q},%q:[%s]}}]}]}`, waNumberID, kind, update)
	mac := hmac.New(sha256.New, []byte(waAppSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.http.Addr().String()+"/callback/wa", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the callback got %s", resp.Status)
	}
}

// A call becomes an invitation, a tap the voice message, and what the service
// tells of it the note's life. Until it is read the chain waits.
func TestWhatsAppInvitesPlaysAndTells(t *testing.T) {
	t.Parallel()
	service, sent := whatsAppService(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`
sip: {listen: ["udp://127.0.0.1:0"], trunks: [{name: test, from: [127.0.0.1/32], country: DE}]}
media: {address: 127.0.0.1, ports: 31000-33999, no_rtp: 10s}
store: {path: data}
http: {listen: "127.0.0.1:0", public_url: "https://notes.example"}
channels:
  wa:
    {type: whatsapp, phone_number_id: %q, token: t0ken, app_secret: %s, verify_token: ver1fy,
     template: {name: voice_note, language: en}, ack: read, api_url: %q, allow_private: true}
mailboxes:
  - {number: %q, name: Reception, deliver: ["wa:4915112345678"]}
`, waNumberID, waAppSecret, service, reception)
	path := filepath.Join(dir, "afterbeep.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, path)
	leave(t, g.address("udp"))

	invitation := next(t, sent)
	job, _, _ := strings.Cut(invitation.Callback, ".")
	if invitation.Type != "template" || invitation.To != "4915112345678" || !delivery.ValidID(job) {
		t.Fatalf("first comes %+v", invitation)
	}
	now := fmt.Sprint(time.Now().Unix())
	tap := fmt.Sprintf(`{"from":"4915112345678","id":"wamid.tap","timestamp":%q,"type":"button","button":{"payload":%q}}`, now, job)
	g.calledBack(t, "messages", tap)
	g.calledBack(t, "messages", tap)
	if line, voice := next(t, sent), next(t, sent); line.Type != "text" || voice.Type != "audio" || voice.Callback != job {
		t.Fatalf("then come %+v and %+v", line, voice)
	}
	for _, status := range []string{"played", "sent", "read", "read"} {
		g.calledBack(t, "statuses", fmt.Sprintf(`{"id":"wamid.%s","status":%q,"timestamp":%q,"recipient_id":"4915112345678","biz_opaque_callback_data":%q}`, job, status, now, job))
	}

	notes, err := g.store.List(t.Context(), delivery.Filter{})
	if err != nil || len(notes) != 1 {
		t.Fatalf("%d notes, %v", len(notes), err)
	}
	life, err := g.store.Life(t.Context(), notes[0].Note.ID)
	if err != nil {
		t.Fatal(err)
	}
	if life.Note.PlayedAt.IsZero() || life.Note.ReadAt.IsZero() || life.Jobs[0].State != delivery.JobDelivered {
		t.Errorf("the note: %+v %+v", life.Note, life.Jobs)
	}
	var told []string
	for _, e := range life.Events {
		if e.Job == job {
			told = append(told, e.Name)
		}
	}
	for _, name := range []string{"waiting", "asked", "accepted", "read", "played"} {
		if !slices.Contains(told, name) {
			t.Errorf("its life has no %s: %q", name, told)
		}
	}
	if len(sent) != 0 {
		t.Errorf("sent beside: %+v", <-sent)
	}
}
