package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// whatsAppChannel is how a member sends to the service. Its chains wait no
// longer than a minute for an answer that was lost, and this long for a status.
const whatsAppChannel = `  wa:
    {type: whatsapp, phone_number_id: %q, token: t0ken, app_secret: %s, verify_token: ver1fy,
     assume_window_open: true, ack: delivered, within: %v, api_url: %q, allow_private: true}
`

const soakWithin = 8 * time.Second

// tardy is a WhatsApp service that takes a note in the end, as flaky does, and
// tells of it what comes true or not: late, twice, in any order, to any gateway,
// and again until that one says that it has heard.
type tardy struct {
	*httptest.Server
	tb      testing.TB
	members []*member
	done    chan struct{} // the test is over
	tells   sync.WaitGroup

	mu   sync.Mutex
	rng  *rand.Rand
	well bool
	came map[string][]*posted // notes, by the job
}

// posted is a voice message that the service was sent.
type posted struct {
	id      string
	gateway string
	at      time.Time
	taken   bool
	ended   time.Time // when the gateway had its answer; zero when it cannot have had it
	fate    *fate
	heard   map[string]word // by status
}

// word is when a gateway said that it has a status.
type word struct {
	at time.Time
	by *member
}

// fate is what becomes of a message that the service took.
type fate struct {
	share    int // in a hundred
	statuses []string
}

var fates = []fate{
	{40, []string{"sent", "delivered"}},
	{30, []string{"sent", "delivered", "read"}},
	{15, []string{"sent", "failed"}},
	{15, []string{"sent"}}, // and no word more
}

// arrives says that the message reaches the recipient.
func (f *fate) arrives() bool { return slices.Contains(f.statuses, "delivered") }

func newTardy(t *testing.T, rng *rand.Rand) *tardy {
	t.Helper()
	s := &tardy{tb: t, rng: rng, came: map[string][]*posted{}, done: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		close(s.done)
		s.tells.Wait()
		s.Close()
	})
	return s
}

// ServeHTTP takes files and lines of text at once, voice messages in its moods.
func (s *tardy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	gateway, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var sent waSent
	if strings.HasSuffix(path, "/media") {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"id":"4490709327384033"}`)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		w.WriteHeader(http.StatusBadRequest) // a gateway that was killed while it sent
		return
	}
	if sent.Type != "audio" {
		_, _ = fmt.Fprintf(w, `{"messages":[{"id":"wamid.%s"}]}`, sent.Callback)
		return
	}
	s.mu.Lock()
	came := s.came[sent.Callback]
	m := &posted{id: fmt.Sprintf("wamid.%s.%d", sent.Callback, len(came)), gateway: gateway, at: time.Now(), heard: map[string]word{}}
	s.came[sent.Callback] = append(came, m)
	draw, lot, late := s.rng.IntN(100), s.rng.IntN(100), time.Duration(100+s.rng.IntN(2000))*time.Millisecond
	moody := len(came) < 2 && !s.well
	s.mu.Unlock()
	answer := func() { _, _ = fmt.Fprintf(w, `{"messages":[{"id":%q}]}`, m.id) }
	switch {
	case moody && draw < 10:
		w.WriteHeader(http.StatusServiceUnavailable)
	case moody && draw < 20: // the answer is lost: without a status, a minute goes by
		s.take(m, sent, lot%70, false)
		reset(w)
	case moody && draw < 35:
		s.take(m, sent, lot, false)
		select {
		case <-time.After(late):
			s.answered(m)
			answer()
		case <-r.Context().Done(): // the gateway is gone
		}
	default:
		s.take(m, sent, lot, true)
		answer()
	}
}

// take keeps that the service has the note, and begins to tell of it.
func (s *tardy) take(m *posted, sent waSent, lot int, answers bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.taken = true
	if answers {
		m.ended = time.Now()
	}
	for i := range fates {
		if lot -= fates[i].share; lot < 0 {
			m.fate = &fates[i]
			break
		}
	}
	for _, status := range m.fate.statuses {
		for range 1 + s.rng.IntN(2) {
			late := time.Duration(s.rng.IntN(4000)) * time.Millisecond
			at := time.Now().Unix()
			s.tells.Go(func() { s.tell(m, sent, status, late, at) })
		}
	}
}

func (s *tardy) answered(m *posted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.ended = time.Now()
}

// tell tells a status until a gateway has it.
func (s *tardy) tell(m *posted, sent waSent, status string, wait time.Duration, at int64) {
	errors := ""
	if status == "failed" {
		errors = `,"errors":[{"code":131026,"title":"Message undeliverable"}]`
	}
	update := fmt.Sprintf(`{"id":%q,"status":%q,"timestamp":"%d","recipient_id":%q,"biz_opaque_callback_data":%q%s}`,
		m.id, status, at, sent.To, sent.Callback, errors)
	for {
		select {
		case <-s.done:
			return
		case <-time.After(wait):
		}
		s.mu.Lock()
		by := s.members[s.rng.IntN(len(s.members))]
		s.mu.Unlock()
		if to := by.web(); to != "" && callBack(to, update) {
			s.mu.Lock()
			if m.heard[status].by == nil {
				m.heard[status] = word{time.Now(), by}
			}
			s.mu.Unlock()
			return
		}
		wait = 200 * time.Millisecond
	}
}

// callBack brings a gateway one status; true when it said that it has it.
func callBack(to, update string) bool {
	body := fmt.Sprintf(`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":%q},"statuses":[%s]}}]}]}`, waNumberID, update)
	mac := hmac.New(sha256.New, []byte(waAppSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequest(http.MethodPost, "http://"+to+"/callback/wa", strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// calm has it answer well from now on.
func (s *tardy) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.well = true
}

// messages are those that came so far about a job, in order.
func (s *tardy) messages(job string) (all []posted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.came[job] {
		c := *m
		c.heard = maps.Clone(m.heard)
		all = append(all, c)
	}
	return all
}

// untold counts the statuses that no gateway has heard yet.
func (s *tardy) untold() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, came := range s.came {
		for _, m := range came {
			if m.taken {
				n += len(m.fate.statuses) - len(m.heard)
			}
		}
	}
	return n
}

// checkWhatsApp is of a call to a mailbox whose notes go to WhatsApp first:
// taken is what came to the second target.
func (c *soakCheck) checkWhatsApp(t *testing.T, call *tried, k kept, taken []arrival) (arrived bool) {
	t.Helper()
	if len(k.Jobs) != 1 {
		c.fault(t, call, "its note has %d jobs", len(k.Jobs))
		return false
	}
	came := slices.DeleteFunc(c.wa.messages(k.Jobs[0].ID), func(m posted) bool { return !m.taken })
	arrived = len(taken) > 0
	for i, m := range came {
		arrived = arrived || m.fate.arrives()
		if read := m.heard["read"]; read.by != nil && k.Note.ReadAt.IsZero() {
			c.fault(t, call, "that it was read is not known at home; %s heard it at %s", read.by.name, clock(read.at))
		}
		var again time.Time
		switch {
		case i+1 < len(came):
			again = came[i+1].at
		case len(taken) > 0 && taken[0].at.After(m.at):
			again = taken[0].at
		default:
			continue
		}
		told := m.heard["delivered"]
		switch {
		case c.answerLost(arrival{gateway: "/" + m.gateway, at: m.at, ended: m.ended}):
			c.marked++
		case !m.fate.arrives():
			c.onward++
		case told.by == nil || again.Before(told.at.Add(time.Second+c.crowd.late())) || c.troubled(told, again):
			c.late++
		default:
			c.doubled++
			c.fault(t, call, "WhatsApp had it from %s at %s, answered at %s, told %s at %s that it was delivered, and it came again at %s",
				m.gateway, clock(m.at), clock(m.ended), told.by.name, clock(told.at), clock(again))
		}
	}
	return arrived
}

// troubled says that what a gateway heard may not have reached the others before
// the note came again: Redis was struck about that time, or the gateway died.
func (c *soakCheck) troubled(h word, again time.Time) bool {
	return !h.by.death(h.at, h.at.Add(2*time.Second+c.crowd.late())).IsZero() || slices.ContainsFunc(c.redisStruck, func(at time.Time) bool {
		return at.After(h.at.Add(-troubleLasts)) && at.Before(again)
	})
}

// troubleLasts is how long a blow at Redis is felt, at most: until it is well
// again, and was told what it forgot.
const troubleLasts = 10 * time.Second

// toWhatsApp says that a mailbox's notes go to WhatsApp first.
func toWhatsApp(mailbox string) bool { return slices.Index(soakMailboxes, mailbox) >= soakWebhooks }

// soakChain is where a mailbox's notes go.
func soakChain(mailbox string) string {
	if toWhatsApp(mailbox) {
		return fmt.Sprintf("[\"wa:%s\", hook]", strings.TrimPrefix(mailbox, "+"))
	}
	return "[hook]"
}
