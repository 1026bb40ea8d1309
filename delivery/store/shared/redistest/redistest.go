// Package redistest starts real Redis servers for tests, on ports of 127.0.0.1
// that are the tests' own: one server, a master with a replica under Sentinel, or a
// Cluster of three. A test skips where redis-server is missing, and fails
// there when CI is set.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// patience is how long anything may take that a server does: a Sentinel that
// stood still for 2 s does nothing for 30 s.
const patience = 90 * time.Second

// Server is one process of redis-server.
type Server struct {
	Port int

	tb   testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
}

// start runs redis-server with a folder of its own, and waits until it answers.
func start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	peertest.Needs(tb, "redis-server")
	s := &Server{Port: peertest.Ports(tb, 1), tb: tb, dir: tb.TempDir(), args: args}
	s.Start()
	tb.Cleanup(s.Kill)
	return s
}

// Start runs a server that was killed again, on what it left on disk.
func (s *Server) Start() {
	s.tb.Helper()
	conf := filepath.Join(s.dir, "redis.conf") // Sentinel rewrites its own
	if _, err := os.Stat(conf); err != nil {
		text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsave \"\"\nrdbcompression no\nappendfsync no\nlogfile %s\n%s\n",
			s.Port, s.dir, filepath.Join(s.dir, "log"), strings.Join(s.args, "\n"))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			s.tb.Fatal(err)
		}
	}
	run := []string{conf}
	if len(s.args) > 0 && strings.HasPrefix(s.args[0], "sentinel") {
		run = append(run, "--sentinel")
	}
	s.cmd = exec.CommandContext(context.Background(), "redis-server", run...) //nolint:gosec // a test says what to run
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c, err := (&net.Dialer{}).DialContext(s.tb.Context(), "tcp", s.Addr())
		if err == nil {
			_ = c.Close()
			break
		}
	}
	s.Wait("PING", func(v any) bool { return v == "PONG" })
}

// Addr is where the server listens.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// Kill ends the server with SIGKILL. Killing twice is as good as once.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Pause stops the server in its tracks: connections stay, nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

// Try runs a command, given as one line.
func (s *Server) Try(line string) (any, error) {
	c := redis.NewClient(&redis.Options{
		Addr: s.Addr(), Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience,
	})
	defer func() { _ = c.Close() }()
	var args []any
	for word := range strings.FieldsSeq(line) {
		args = append(args, word)
	}
	return c.Do(context.Background(), args...).Result()
}

// Do runs a command that must succeed.
func (s *Server) Do(line string) any {
	s.tb.Helper()
	v, err := s.Try(line)
	if err != nil {
		s.tb.Fatalf("%s: %v", line, err)
	}
	return v
}

// Wait runs a command until its answer is good.
func (s *Server) Wait(line string, good func(any) bool) {
	s.tb.Helper()
	var (
		v   any
		err error
	)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if v, err = s.Try(line); err == nil && good(v) {
			return
		}
	}
	s.tb.Fatalf("%s still answers %v, %v", line, v, err)
}

// Dump has the server write down all it holds, and returns its folder: the
// dump, the append-only file where that is on, rewritten, and the log.
func (s *Server) Dump() string {
	s.tb.Helper()
	s.Do("SAVE")
	if list, _ := s.Do("CONFIG GET appendonly").([]any); len(list) == 2 && list[1] == "yes" {
		s.Do("BGREWRITEAOF")
		s.Wait("INFO persistence", func(v any) bool {
			return Has("aof_rewrite_in_progress:0")(v) && Has("aof_rewrite_scheduled:0")(v) && Has("aof_last_bgrewrite_status:ok")(v)
		})
	}
	return s.dir
}

// Has says whether a line of a text answer, as INFO's, is among v.
func Has(line string) func(any) bool {
	return func(v any) bool {
		text, _ := v.(string)
		return strings.Contains(text, line+"\r\n")
	}
}
