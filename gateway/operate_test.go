package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/sip"
)

// run runs a command of the program and returns what it printed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Errorf("afterbeep %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

// leave leaves a message of a second.
func leave(t *testing.T, address fmt.Stringer) {
	t.Helper()
	said := &sound{audio: audioOf(speech(t, time.Second)), coded: map[string][][]byte{}}
	who := identity{from: "+491705550101", name: "Maria", diversion: reception, reason: "user-busy"}
	if _, err := testCaller(t).leaveMessage(t.Context(), io.Discard, fmt.Sprintf("sip:%s@%s", reception, address), who.request(), said); err != nil {
		t.Fatal(err)
	}
}

var noteID = regexp.MustCompile(`(?m)^[0-9a-z]{26}`)

// A note that the receiver refuses is dead; the operator sees why, mends it
// and sends it again, through the running gateway and on the store alone.
func TestOperatorSendsADeadNoteAgain(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	var gone atomic.Bool
	gone.Store(true)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.Error(w, "moved away", http.StatusGone)
			return
		}
		hook.Config.Handler.ServeHTTP(w, r)
	}))
	defer front.Close()
	told := make(chan []byte, 10)
	operator := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- body
	}))
	defer operator.Close()
	path := configFile(t, t.TempDir(), front.URL, "",
		fmt.Sprintf("operator: {url: %q, secret: %s, allow_private: true}", operator.URL, webhookSecret))
	gateway := startChild(t, path)
	leave(t, gateway.sip)

	list := ""
	until(t, "the note is dead", func() bool {
		list = run(t, "note", "list", "--config", path, "--state", "dead")
		return strings.Contains(list, "hook dead")
	})
	id := noteID.FindString(list)
	for _, want := range []string{"busy", "recorded", "rendered", "410", "moved away", "dead"} {
		if life := run(t, "note", "show", id, "--config", path); !strings.Contains(life, want) {
			t.Errorf("note show does not tell %q:\n%s", want, life)
		}
	}
	select {
	case notice := <-told:
		if want := fmt.Sprintf(`"data":{"id":%q,"kind":"voice","mailbox":%q,`, id, reception); !bytes.Contains(notice, []byte(want)) ||
			!bytes.Contains(notice, []byte(`{"type":"note.dead",`)) || bytes.Contains(notice, []byte("491705550101")) {
			t.Errorf("the operator is told %s", notice)
		}
	case <-time.After(90 * time.Second):
		t.Error("the operator is not told")
	}
	gone.Store(false)
	if said := run(t, "note", "redrive", id, "--config", path); !strings.Contains(said, "queued again: 1") {
		t.Errorf("redrive said %q", said)
	}
	if n := hook.next(t); n.Data.ID != id {
		t.Errorf("note %s came, not %s", n.Data.ID, id)
	}
	if len(told) > 0 {
		t.Error("the operator is told twice")
	}
	link := run(t, "link", reception, "--config", path)
	gateway.stop(t)

	// The same without a gateway: the commands open the store themselves.
	if list := run(t, "note", "list", "--config", path); !strings.Contains(list, id) || !strings.Contains(list, "hook delivered") {
		t.Errorf("note list on the store alone:\n%s", list)
	}
	if again := run(t, "link", reception, "--config", path); again != link {
		t.Errorf("the link changed from %q to %q", link, again)
	}
}

// SIGTERM: no new calls, the one in progress finishes, and the process ends.
func TestDrain(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	gateway := startChild(t, configFile(t, t.TempDir(), hook.URL, ""))
	caller := testCaller(t)
	target := fmt.Sprintf("sip:%s@%s", reception, gateway.sip)
	talk, playing := talking(t, caller, target)
	_ = gateway.cmd.Process.Signal(syscall.SIGTERM)
	gateway.awaitDraining(t)

	refused := (*sip.StatusError)(nil)
	if _, err := caller.dial(t.Context(), target, sip.Request{From: "+491705550102"}); !errors.As(err, &refused) || refused.Code != 503 {
		t.Errorf("a new call got %v, want 503", err)
	}
	if got := exchange(t, gateway.sip.String(), "OPTIONS", "after"); !strings.HasPrefix(got, "SIP/2.0 503 ") || !strings.Contains(got, "Retry-After:") {
		t.Errorf("OPTIONS got %q", got)
	}
	<-playing.Done()
	if err := talk.hangUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := hook.next(t); n.Data.Partial || n.Data.DurationMS != 2000 {
		t.Errorf("the call in progress left %+v", n.Data)
	}
	if err := gateway.cmd.Wait(); err != nil {
		t.Errorf("the gateway's end: %v", err)
	}
}

// A second SIGTERM ends now: the note is partial, nothing is lost.
func TestSecondSignalEndsNow(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	path := configFile(t, t.TempDir(), hook.URL, "")
	gateway := startChild(t, path)
	caller := testCaller(t)
	talk, playing := talking(t, caller, fmt.Sprintf("sip:%s@%s", reception, gateway.sip))
	time.Sleep(time.Second)
	_ = gateway.cmd.Process.Signal(syscall.SIGTERM)
	gateway.awaitDraining(t) // two signals that wait together are one
	_ = gateway.cmd.Process.Signal(syscall.SIGTERM)
	if err := gateway.cmd.Wait(); err != nil {
		t.Errorf("the gateway's end: %v", err)
	}
	playing.Stop()
	<-playing.Done()
	_ = talk.leg.Close()

	gateway = startChild(t, path)
	if n := hook.next(t); !n.Data.Partial || n.Data.DurationMS < 900 {
		t.Errorf("the call cut off left %+v", n.Data)
	}
	hook.none(t, 200*time.Millisecond)
	gateway.stop(t)
}

// awaitDraining waits until the gateway takes no new calls.
func (c *child) awaitDraining(t *testing.T) {
	t.Helper()
	asked := 0
	until(t, "no new calls are taken", func() bool {
		asked++
		return strings.HasPrefix(exchange(t, c.sip.String(), "OPTIONS", fmt.Sprint("o", asked)), "SIP/2.0 503 ")
	})
}

// talking is a call whose caller speaks for two seconds.
func talking(t *testing.T, c *caller, target string) (*conversation, interface {
	Stop()
	Done() <-chan struct{}
},
) {
	t.Helper()
	said := &sound{audio: audioOf(speech(t, 2*time.Second)), coded: map[string][][]byte{}}
	talk, err := c.dial(t.Context(), target, sip.Request{From: "+491705550101"})
	if err != nil {
		t.Fatal(err)
	}
	playing, err := talk.speak(said, 0)
	if err != nil {
		t.Fatal(err)
	}
	return talk, playing
}

// A CANCEL before the answer leaves a missed call, unless somebody answered
// elsewhere.
func TestCancelBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	const directoryTakes = 500 * time.Millisecond
	for _, c := range []struct {
		name, reason string
		missed       bool
	}{
		{"given up", "", true},
		{"answered elsewhere", "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n", false},
		{"answered elsewhere, by Q.850", "Reason: Q.850;cause=26\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			desk, hook := newDesk(t), newReceiver(t)
			desk.slow.Store(int64(directoryTakes)) // the CANCEL is there before the answer, however slow this machine is
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, "", desk.settings()))
			conn := dialUDP(t, g.address("udp").String())
			for _, text := range []string{request("INVITE", "c1", "", ""), request("CANCEL", "c1", c.reason, "")} {
				_, _ = conn.Write([]byte(strings.ReplaceAll(text, reception, "719")))
			}
			if got := readUntil(t, conn, "SIP/2.0 487 "); got == "" {
				t.Fatal("no 487 came")
			}
			if !c.missed {
				hook.none(t, 2*directoryTakes)
				return
			}
			if n := hook.next(t); n.Data.Kind != "missed" || n.Data.Media != nil || n.Data.Partial {
				t.Errorf("got %+v, want a missed call", n.Data)
			}
		})
	}
}

// Call records tell calls of one number together without naming it.
func TestCallRecords(t *testing.T) {
	t.Parallel()
	for _, numbers := range []string{"hash", "plain"} {
		t.Run(numbers, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			hook := newReceiver(t)
			gateway := startChild(t, configFile(t, dir, hook.URL, "", "log: {call_records: calls.jsonl, record_numbers: "+numbers+"}"))
			leave(t, gateway.sip)
			n := hook.next(t)
			gateway.stop(t)
			text, err := os.ReadFile(filepath.Join(dir, "calls.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			var r struct {
				Note, Outcome, Mailbox, Caller, Kind, Codec, Reason string
				NoteID                                              string `json:"note_id"`
				Duration                                            int    `json:"duration_ms"`
				Packets                                             int
			}
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			if r.NoteID != n.Data.ID || r.Outcome != "voice" || r.Reason != "busy" || r.Duration != 1000 || r.Packets != 50 || r.Codec != "PCMA" {
				t.Errorf("the record is %s", text)
			}
			if named := bytes.Contains(text, []byte("1705550101")) && bytes.Contains(text, []byte("30123456")); named != (numbers == "plain") {
				t.Errorf("numbers are named: %v in %s", named, text)
			}
		})
	}
}

func TestMetricsTellOfACall(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	leave(t, g.address("udp"))
	hook.next(t)
	for _, want := range []string{
		`afterbeep_calls_total{outcome="voice"} 1`, `afterbeep_rtp_packets_total 50`, `afterbeep_rtp_lost_packets_total 0`,
		`afterbeep_render_frames_total{complexity=`, `afterbeep_delivery_attempts_total{channel="hook",outcome="done"} 1`,
		`afterbeep_delivery_seconds_count{channel="hook"} 1`, `afterbeep_calls_active 0`, `afterbeep_queue_jobs{state="queued"} 0`,
	} {
		until(t, "the metrics have "+want, func() bool {
			return strings.Contains(get(t, "http://"+g.http.Addr().String()+"/metrics"), want)
		})
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		get(t, "http://"+g.http.Addr().String()+path)
	}
}

// A recording that an earlier process left and that cannot be read shows.
func TestMetricsTellOfATapeThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:9", "")
	n := delivery.Note{ID: delivery.NewID(), Recipient: delivery.Recipient{Number: "101"}, CalledAt: time.Now()}
	withStore(t, dir, func(s *store.Store) {
		if _, err := s.Begin(t.Context(), n, 0); err != nil {
			t.Fatal(err)
		}
	})
	tape := filepath.Join(dir, "data", "tapes", n.ID[:5], n.ID)
	if err := errors.Join(os.Remove(tape), os.Mkdir(tape, 0o700)); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, path)
	until(t, "the metrics tell of it", func() bool { return scraped(t, g, "afterbeep_notes_held_up") == 1 })
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	http.DefaultClient.CloseIdleConnections()
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, res.Status, err)
	}
	return string(body)
}

func dialUDP(t *testing.T, address string) net.Conn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// request is a SIP request of its own transaction, named by its branch.
func request(method, branch, extra, body string) string {
	return fmt.Sprintf("%s sip:%s@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:+491705550101@127.0.0.1>;tag=f\r\nTo: <sip:%s@127.0.0.1>\r\nCall-ID: %s@test\r\nCSeq: 1 %s\r\n"+
		"Contact: <sip:caller@127.0.0.1>\r\n%sContent-Length: %d\r\n\r\n%s", method, reception, branch, reception, branch, method, extra, len(body), body)
}

// exchange sends a request and returns the final response.
func exchange(t *testing.T, address, method, branch string) string {
	t.Helper()
	conn := dialUDP(t, address)
	if _, err := conn.Write([]byte(request(method, branch, "", ""))); err != nil {
		t.Fatal(err)
	}
	return readUntil(t, conn, "SIP/2.0 ")
}

// readUntil reads responses until one begins with the prefix; "" when none
// comes in five seconds.
func readUntil(t *testing.T, conn net.Conn, prefix string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	deadline, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(deadline)
	datagram := make([]byte, 65536)
	for {
		n, err := conn.Read(datagram)
		if err != nil {
			return ""
		}
		if strings.HasPrefix(string(datagram[:n]), prefix) {
			return string(datagram[:n])
		}
	}
}
