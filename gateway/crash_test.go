package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/sip"
)

// child is a gateway in a process of its own.
type child struct {
	cmd    *exec.Cmd
	stderr io.Reader
	sip    netip.AddrPort
	http   string // host and port
}

var listening = regexp.MustCompile(`msg=listening (sip=udp://|http=)(\S+)`)

// childLog is where a child's log goes, beside its configuration file.
const childLog = "serve.log"

// startChild runs `serve` and waits until it listens.
func startChild(t *testing.T, path string) *child {
	t.Helper()
	return startProgram(t, os.Args[0], path)
}

// startProgram does so with the program of another build.
func startProgram(t *testing.T, program, path string) *child {
	t.Helper()
	c := launch(t, program, path)
	c.awaitReady(t, path)
	return c
}

// launch starts a program without waiting until it is ready.
func launch(t *testing.T, program, path string) *child {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), program, "serve", "--config", path)
	cmd.Env = append(os.Environ(), "AFTERBEEP_TEST_MAIN=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stderr: stderr}
	t.Cleanup(c.kill) // of a test that failed before it did
	return c
}

// awaitReady reads what the gateway says until it is ready, and where it
// listens; its log goes on beside the file at path.
func (c *child) awaitReady(t *testing.T, path string) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(filepath.Dir(path), childLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(io.TeeReader(c.stderr, log))
	var said strings.Builder
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			if m[1] == "http=" {
				c.http = m[2]
			} else {
				c.sip = netip.MustParseAddrPort(m[2])
			}
		}
		if strings.Contains(lines.Text(), "msg=ready") {
			go func() {
				_, _ = io.Copy(log, c.stderr)
				_ = log.Close()
			}()
			return
		}
	}
	err = c.cmd.Wait()
	t.Fatalf("the gateway did not start: %v\n%s", err, said.String())
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

// steadily sleeps, and a second more where the machine stood still meanwhile:
// what was said then came at once, and is on the tape a second later.
func steadily(d time.Duration) {
	const step, still = 100 * time.Millisecond, 200 * time.Millisecond
	for left := d; left > 0; left -= step {
		began := time.Now()
		time.Sleep(min(step, left))
		if time.Since(began) > step+still {
			left = max(left, time.Second+step)
		}
	}
}

const kills = 10

// A call that kill -9 cuts off becomes one note, marked partial, as long as
// what was on the tape: at most the second that was not written yet is missing.
func TestKilledDuringTheCall(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	path := configFile(t, t.TempDir(), l.hook.URL, "")
	for i := range kills {
		gateway := startChild(t, path)
		speaking := l.speak(t, gateway.sip, 4*time.Second)
		steadily(1200*time.Millisecond + time.Duration(i)*70*time.Millisecond)
		speaking.playing.Stop() // a kill takes its time on a busy machine
		gateway.kill()
		l.cutOff(t, speaking, 1300*time.Millisecond)

		gateway = startChild(t, path)
		l.await(t)
		gateway.stop(t)
	}
	l.settle(t, path)
}

func testCaller(t *testing.T) *caller {
	t.Helper()
	c, err := newCaller(netip.MustParseAddr("127.0.0.1"), []string{"PCMA"}, sip.ClientTLS{}, slog.New(slog.DiscardHandler))
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
