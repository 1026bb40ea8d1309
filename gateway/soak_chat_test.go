package main

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// flaky is a chat service that takes a note in the end: until its third
// request, and until calm is called, it may refuse it, answer late or not at
// all. Each gateway posts to a path of its own.
type flaky struct {
	*httptest.Server
	tb   testing.TB
	hook *webhooks.Webhook

	mu   sync.Mutex
	rng  *rand.Rand
	well bool
	came map[string][]*arrival // by the call's name, in order
}

// arrival is a request for a note.
type arrival struct {
	received
	gateway string // the path that it came to
	at      time.Time
	taken   bool      // the service has the note
	ended   time.Time // when the gateway had its answer; zero when it cannot have had it
}

func newFlaky(t *testing.T, rng *rand.Rand) *flaky {
	t.Helper()
	hook, err := webhooks.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{tb: t, hook: hook, rng: rng, came: map[string][]*arrival{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// moods are what becomes of a request, by how often in a hundred; of all
// others the answer is 200.
var moods = []struct {
	share  int
	answer func(*flaky, *arrival, http.ResponseWriter, *http.Request)
}{
	{10, func(_ *flaky, _ *arrival, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}},
	{10, func(_ *flaky, _ *arrival, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}},
	{10, func(f *flaky, a *arrival, w http.ResponseWriter, _ *http.Request) {
		f.take(a, false)
		reset(w)
	}},
	{15, func(f *flaky, a *arrival, _ http.ResponseWriter, r *http.Request) {
		f.take(a, false)
		select {
		case <-time.After(f.delay()):
			f.take(a, true)
		case <-r.Context().Done(): // the gateway is gone
		}
	}},
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := receive(f.hook, r)
	if err != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Context().Err() == nil && !strings.Contains(err.Error(), "EOF") { // not a gateway that was killed while it sent
			f.tb.Errorf("the webhook's request: %v", err)
		}
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a := &arrival{received: n, gateway: r.URL.Path, at: time.Now()}
	f.mu.Lock()
	call := n.Data.Caller.Name
	first := len(f.came[call]) < 2
	f.came[call] = append(f.came[call], a)
	draw := f.rng.IntN(100)
	well := f.well
	f.mu.Unlock()
	if first && !well {
		for _, m := range moods {
			if draw -= m.share; draw < 0 {
				m.answer(f, a, w, r)
				return
			}
		}
	}
	f.take(a, true)
}

// take keeps that the service has the note, and whether it answers.
func (f *flaky) take(a *arrival, answers bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.taken = true
	if answers {
		a.ended = time.Now()
	}
}

func (f *flaky) delay() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(100+f.rng.IntN(2000)) * time.Millisecond
}

// calm has it answer well from now on.
func (f *flaky) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.well = true
}

// arrivals are the requests so far, by the call's name.
func (f *flaky) arrivals() map[string][]arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string][]arrival{}
	for call, came := range f.came {
		for _, a := range came {
			all[call] = append(all[call], *a)
		}
	}
	return all
}
