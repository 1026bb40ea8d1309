package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
)

// Every channel has a line of its own, which says what to mend; the slow ones
// are waited for together, and none gets a note.
func TestCheckProvesChannels(t *testing.T) {
	t.Parallel()
	const services = 10 // each answers when all are asked
	var asked atomic.Int32
	together := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if asked.Add(1) == services {
			close(together)
		}
		select {
		case <-together:
		case <-r.Context().Done():
		}
		if r.URL.Path == "/closed" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer service.Close()
	text := "sip: {listen: 'udp://127.0.0.1:0', trunks: [{name: pbx, from: 127.0.0.0/8}]}\nhttp: {listen: '127.0.0.1:0', public_url: 'https://notes.example'}\n" +
		"mailboxes: [{number: 101, deliver: ['texts:+4930123456', closed, 'post:a@example.org']}]\nchannels:\n" +
		"  post: {type: mail, server: 'smtp://127.0.0.1:1', from: v@example.org, allow_private: true}\n" +
		"  inside: {type: mail, server: 'smtp://127.0.0.1:1', from: v@example.org}\n" +
		fmt.Sprintf("  texts: {type: sms, url: %q, allow_private: true}\n", service.URL) +
		fmt.Sprintf("  closed: {type: sms, url: %q, allow_private: true}\n", service.URL+"/closed")
	for i := range 8 {
		text += fmt.Sprintf("  hook%d: {type: webhook, url: %q, secret: %s, attach: true, allow_private: true}\n", i, service.URL, webhookSecret)
	}
	lines, failed := checked(t, t.TempDir(), text)
	for _, want := range []string{
		"warn channel post mail: the session broke off at the connection: dial tcp 127.0.0.1:1: connect: connection refused; until that is mended its notes wait",
		"allow_private: true; until that is mended its notes wait",
		"ok channel texts sms\n",
		"warn channel closed sms: the gateway refuses the login; see headers, user and password; until that is mended its notes wait",
		"warn channel hook7 webhook, which no mailbox delivers to",
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if failed || t.Failed() {
		t.Errorf("failed: %v, got:\n%s", failed, lines)
	}
}

// unchecked is a type of channel that cannot be proven, or not opened.
type unchecked struct{ err error }

func (u unchecked) Open(channel.Env) (delivery.Channel, error) { return u, u.err }

func (unchecked) Send(context.Context, delivery.Parcel) (delivery.Receipt, error) {
	return delivery.Receipt{}, errors.New("check sends a note")
}

func TestCheckOfWhatCannotBeProven(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Channels = map[string]config.Channel{
		"pigeon": {Type: "post", Options: unchecked{}}, "egg": {Type: "post", Options: unchecked{errors.New("it has not hatched")}},
	}
	cfg.Mailboxes = []config.Mailbox{{Number: "101", Deliver: delivery.Chain{{Channel: "pigeon"}}}}
	c := &checker{cfg: &cfg}
	c.channels(t.Context())
	want := []finding{
		{markFail, "channel egg", "post: it has not hatched"},
		{markOK, "channel pigeon", "post, not checked: it can be tried with a note alone, see `afterbeep channel test`"},
	}
	if fmt.Sprint(c.found) != fmt.Sprint(want) {
		t.Errorf("got %v", c.found)
	}
}
