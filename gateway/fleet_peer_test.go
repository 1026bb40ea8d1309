package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// startMember runs a gateway that shares its work in a Redis, and waits until
// the others do too. settings are more of the channel.
func startMember(t *testing.T, hook, redis, settings string) (g *gateway, path string) {
	t.Helper()
	path = memberFile(t, hook, redis, settings)
	g = startGateway(t, path)
	g.awaitGate(t)
	return g, path
}

// memberFile writes the configuration of such a gateway.
func memberFile(t *testing.T, hook, redis, settings string) (path string) {
	t.Helper()
	path = configFile(t, t.TempDir(), hook, "")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("path: data}"), fmt.Appendf(nil, "path: data, redis: %q}", redis), 1)
	text = bytes.Replace(text, []byte("attach: true,"), []byte("attach: true, "+settings), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitGate waits until the gateway shares its work.
func (g *gateway) awaitGate(t *testing.T) {
	t.Helper()
	until(t, "jobs are given out", func() bool {
		s, err := g.fleet.Standing(t.Context())
		return err == nil && s.Gate
	})
}

// until waits for what other goroutines and processes do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// ask asks the gateway's HTTP side.
func (g *gateway) ask(t *testing.T, method, path string) (status int, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.http.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}

// inboxNote is a note as the inbox page gets it.
type inboxNote struct {
	ID     string
	Played bool
}

// thread is the inbox behind a link.
func (g *gateway) thread(t *testing.T, inbox string) []inboxNote {
	t.Helper()
	status, body := g.ask(t, "GET", inbox+"/notes")
	var view struct{ Notes []inboxNote }
	if err := json.Unmarshal(body, &view); err != nil || status != http.StatusOK {
		t.Fatalf("the thread: %d, %v", status, err)
	}
	return view.Notes
}

func sumOf(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// A call to one machine is a note on every machine: in the inbox, in the ear
// and in the operator's hands. While Redis is away each goes on alone.
func TestMachinesShareTheirNotes(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	hook := newReceiver(t)
	a, _ := startMember(t, hook.URL, redis.URL, "")
	b, pathB := startMember(t, hook.URL, redis.URL, "")
	leave(t, a.address("udp"))
	n := hook.next(t)
	token, err := a.store.LinkFor(t.Context(), reception)
	if err != nil {
		t.Fatal(err)
	}
	inbox := "/inbox/" + token
	until(t, "the note is in the inbox on b", func() bool {
		notes := b.thread(t, inbox)
		return len(notes) == 1 && notes[0].ID == n.Data.ID
	})
	if status, file := b.ask(t, "GET", inbox+"/notes/"+n.Data.ID+"/media"); status != http.StatusOK || sumOf(file) != n.Data.Media.SHA256 {
		t.Errorf("b plays another file: %d, %d bytes", status, len(file))
	}
	if status, _ := b.ask(t, "POST", inbox+"/notes/"+n.Data.ID+"/played"); status != http.StatusNoContent {
		t.Errorf("marking on b: %d", status)
	}
	until(t, "the inbox on a shows the mark", func() bool {
		notes := a.thread(t, inbox)
		return len(notes) == 1 && notes[0].Played
	})
	until(t, "a's rows know of the mark", func() bool {
		life, err := a.store.Life(t.Context(), n.Data.ID)
		return err == nil && !life.Note.PlayedAt.IsZero()
	})
	if life := run(t, "note", "show", n.Data.ID, "--config", pathB); !strings.Contains(life, "the call came in on machine") || !strings.Contains(life, "delivered") {
		t.Errorf("note show on b:\n%s", life)
	}
	until(t, "the metrics of b say that there are two machines", func() bool {
		status, metrics := b.ask(t, "GET", "/metrics")
		return status == http.StatusOK && bytes.Contains(metrics, []byte("afterbeep_shared_machines 2"))
	})

	redis.Servers[0].Kill()
	until(t, "both notice", func() bool {
		s, _ := a.fleet.Standing(t.Context())
		o, _ := b.fleet.Standing(t.Context())
		return !s.Up && !o.Up
	})
	if status, body := b.ask(t, "GET", "/readyz"); status != http.StatusOK {
		t.Errorf("without Redis: %d %s", status, body)
	}
	leave(t, b.address("udp"))
	alone := hook.next(t)
	if notes := b.thread(t, inbox); len(notes) != 1 || notes[0].ID != alone.Data.ID {
		t.Errorf("without Redis the inbox on b: %+v", notes)
	}
	redis.Servers[0].Start()
	a.awaitGate(t)
	b.awaitGate(t)
	leave(t, a.address("udp"))
	hook.next(t)
	until(t, "every note is in both inboxes", func() bool { return len(a.thread(t, inbox)) == 3 && len(b.thread(t, inbox)) == 3 })
	hook.none(t, 500*time.Millisecond)
}

// check tells what of Redis is to be mended, and fails for none of it: the
// gateway goes on alone.
func TestCheckLooksAtRedis(t *testing.T) {
	t.Parallel()
	replicated := redistest.Replicated(t)
	cluster := redistest.Cluster(t)
	evicting := redistest.Single(t, "maxmemory 100mb", "maxmemory-policy allkeys-lru")
	newer := redistest.Single(t, "appendonly yes")
	newer.Servers[0].Do("SET afterbeep:{03}:format 2")
	keys := filepath.Join(t.TempDir(), "keys")
	run(t, "keys", "new", keys)
	for name, c := range map[string]struct {
		url, keys string
		want      []string
	}{
		"a replica":       {replicated.URL, keys, []string{"ok store.redis shared"}},
		"too few of them": {strings.Replace(replicated.URL, "replicas=1", "replicas=2", 1), keys, []string{"warn store.redis replicas=2, but a server has 1"}},
		"a cluster":       {cluster.URL, "", []string{"warn store.redis it has neither appendonly nor a replica", "warn store.redis notes lie there in clear"}},
		"it evicts":       {evicting.URL, keys, []string{"warn store.redis maxmemory-policy is allkeys-lru"}},
		"a newer format":  {newer.URL, keys, []string{"warn store.redis the shared Redis cannot be used now: a newer version of this program"}},
		"nobody there":    {"redis://127.0.0.1:1", keys, []string{"connection refused; until that is mended this machine goes on alone"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf("sip: {listen: 'udp://127.0.0.1:0'}\nhttp: {listen: '127.0.0.1:0'}\nstore: {redis: %q, key_file: %q}\n", c.url, c.keys)
			lines, failed := checked(t, t.TempDir(), text)
			for _, want := range c.want {
				if !strings.Contains(lines, want) || failed {
					t.Errorf("failed %v, want %q:\n%s", failed, want, lines)
				}
			}
		})
	}
}

// TestRateHoldsOverMachines sends 200 notes by two machines through a channel
// that takes 20 a second.
func TestRateHoldsOverMachines(t *testing.T) {
	t.Parallel()
	const notes, rate = 200, 20
	redis := redistest.Single(t)
	hook := newReceiver(t)
	a, _ := startMember(t, hook.URL, redis.URL, "rate: 20/s,")
	b, _ := startMember(t, hook.URL, redis.URL, "rate: 20/s,")
	var calls sync.WaitGroup
	began := time.Now()
	for i := range notes {
		g := []*gateway{a, b}[i%2]
		calls.Go(func() { g.deliverMissed(t, fmt.Sprint("+4917055", i)) })
	}
	var came []time.Time
	seen := map[string]bool{}
	for range notes {
		n := hook.next(t)
		came = append(came, time.Now())
		if seen[n.key] {
			t.Errorf("note %s came twice", n.Data.ID)
		}
		seen[n.key] = true
	}
	calls.Wait()
	hook.none(t, 200*time.Millisecond)
	for i, at := range came { // a second's worth goes at once
		if took, least := at.Sub(began), time.Duration(i+1-rate)*time.Second/rate; took < least {
			t.Errorf("%d notes came within %v, that is to take %v", i+1, took, least)
		}
	}
	if took := came[notes-1].Sub(began); took > 4*notes*time.Second/rate {
		t.Errorf("%d notes took %v", notes, took)
	}
}

// deliverMissed leaves a missed call of a caller and sends it.
func (g *gateway) deliverMissed(t *testing.T, caller string) {
	t.Helper()
	n := delivery.Note{
		ID: delivery.NewID(), Kind: delivery.Missed, Recipient: delivery.Recipient{Number: reception},
		Caller: delivery.Caller{Number: caller}, CalledAt: time.Now(),
	}
	d, err := g.store.Begin(t.Context(), n, 0)
	if err == nil {
		err = d.Recorded(t.Context(), false)
	}
	var leases []delivery.Lease
	if err == nil {
		leases, err = d.Rendered(t.Context(), d.Note(), nil, []delivery.Chain{{{Channel: "hook"}}})
	}
	if err != nil {
		t.Error(err)
	}
	g.worker.Deliver(leases...)
}
