package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// child is a gateway in a process of its own.
type child struct {
	cmd *exec.Cmd
	sip netip.AddrPort
}

var listening = regexp.MustCompile(`msg=listening sip=udp://(\S+)`)

// childLog is where a child's log goes, beside its configuration file.
const childLog = "serve.log"

// startChild runs `serve` and waits until it listens.
func startChild(t *testing.T, path string) *child {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "serve", "--config", path) // the test kills it itself
	cmd.Env = append(os.Environ(), "AFTERBEEP_TEST_MAIN=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(path), childLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	lines := bufio.NewScanner(io.TeeReader(stderr, log))
	var said strings.Builder
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			c.sip = netip.MustParseAddrPort(m[1])
		}
		if strings.Contains(lines.Text(), "msg=ready") {
			go func() {
				_, _ = io.Copy(log, stderr)
				_ = log.Close()
			}()
			return c
		}
	}
	_ = cmd.Wait()
	t.Fatalf("the gateway did not start:\n%s", said.String())
	return nil
}

// kill is kill -9.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// stop is SIGTERM, and the end of the process.
func (c *child) stop(t *testing.T) {
	t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the gateway's end: %v", err)
	}
}

const kills = 10

// A call that kill -9 cuts off becomes one note, marked partial, as long as
// what was on the tape: at most the second that was not written yet is missing.
func TestKilledDuringTheCall(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	path := configFile(t, t.TempDir(), hook.URL, "")
	caller := testCaller(t)
	said := &sound{audio: audioOf(speech(t, 4*time.Second)), coded: map[string][][]byte{}}
	for i := range kills {
		gateway := startChild(t, path)
		spoken := 1200*time.Millisecond + time.Duration(i)*70*time.Millisecond
		talk, err := caller.dial(t.Context(), fmt.Sprintf("sip:%s@%s", reception, gateway.sip), (&identity{from: "+491705550101"}).request())
		if err != nil {
			t.Fatal(err)
		}
		playing, err := talk.speak(said, 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(spoken)
		gateway.kill()
		playing.Stop()
		spoken = time.Duration(playing.Result().Sent) * 20 * time.Millisecond
		_ = talk.leg.Close()

		gateway = startChild(t, path)
		n := hook.next(t)
		length := time.Duration(n.Data.DurationMS) * time.Millisecond
		if !n.Data.Partial || n.Data.Kind != "voice" || length < spoken-1300*time.Millisecond || length > spoken {
			t.Errorf("kill %d after %v: kind %s, partial %v, %v", i, spoken, n.Data.Kind, n.Data.Partial, length)
		}
		hook.none(t, 150*time.Millisecond)
		gateway.stop(t)
	}
}

// A gateway killed while it sends repeats the note under the same key, which
// is one note to the receiver.
func TestKilledDuringSending(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	var hang atomic.Bool
	arrived := make(chan string, 10)
	release := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			_, _ = io.Copy(io.Discard, r.Body)
			arrived <- r.Header.Get("Webhook-Id")
			select {
			case <-r.Context().Done():
			case <-release:
			}
			return
		}
		hook.Config.Handler.ServeHTTP(w, r)
	}))
	defer front.Close()
	defer close(release)
	path := configFile(t, t.TempDir(), front.URL, "")
	caller := testCaller(t)
	said := &sound{audio: audioOf(speech(t, time.Second)), coded: map[string][][]byte{}}
	for i := range kills {
		gateway := startChild(t, path)
		hang.Store(true)
		if _, err := caller.leaveMessage(t.Context(), io.Discard, fmt.Sprintf("sip:%s@%s", reception, gateway.sip),
			(&identity{from: "+491705550101"}).request(), said); err != nil {
			t.Fatal(err)
		}
		key := <-arrived
		gateway.kill()
		hang.Store(false)

		gateway = startChild(t, path)
		n := hook.next(t)
		if n.key != key {
			t.Errorf("kill %d: the repeat has the key %s, the first had %s", i, n.key, key)
		}
		if n.Data.Partial || n.Data.DurationMS != 1000 {
			t.Errorf("kill %d: partial %v, %d ms", i, n.Data.Partial, n.Data.DurationMS)
		}
		hook.none(t, 150*time.Millisecond)
		gateway.stop(t)
	}
}

func testCaller(t *testing.T) *caller {
	t.Helper()
	c, err := newCaller(netip.MustParseAddr("127.0.0.1"), []string{"PCMA"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
