package sip

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// sipp runs a scenario of testdata/sipp against a server.
func sipp(t *testing.T, scenario string, to netip.AddrPort, transport string, calls int, more ...string) {
	t.Helper()
	peertest.Needs(t, "sipp")
	file, err := filepath.Abs(filepath.Join("testdata", "sipp", scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	local := to.Addr().String()
	if to.Addr().Is6() {
		local = "[" + local + "]"
	}
	args := append([]string{
		to.String(), "-sf", file, "-t", transport, "-i", local, "-p", strconv.Itoa(peertest.Ports(t, 1)), "-m", strconv.Itoa(calls), "-r", "200", "-l", "100",
		"-recv_timeout", "20000", "-nostdin", "-trace_err", "-default_behaviors", "all,-abortunexp", // see unexpected
	}, more...)
	cmd := exec.CommandContext(ctx, "sipp", args...)
	cmd.Dir = t.TempDir() // it writes its errors there
	cmd.Env = append(os.Environ(), "TERM=dumb")
	out, err := cmd.CombinedOutput()
	logs, _ := filepath.Glob(filepath.Join(cmd.Dir, "*errors.log"))
	for _, l := range logs {
		text, _ := os.ReadFile(l)
		if err != nil || unexpected(text) {
			t.Errorf("%s:\n%.2000s", filepath.Base(l), text)
		}
	}
	if err != nil {
		t.Fatalf("sipp %s: %v\n%.500s", scenario, err, out)
	}
}

// What a scenario does not foresee. A machine that stalls may send its 100 after
// the 200, at which sipp would end the call if it was let.
var (
	sippUnexpected = regexp.MustCompile(`call on (an )?unexpected`)
	sippLate100    = regexp.MustCompile(`call on unexpected message.*received 'SIP/2.0 100 `)
)

func unexpected(log []byte) bool {
	return len(sippUnexpected.FindAll(log, -1)) > len(sippLate100.FindAll(log, -1))
}

func TestSipp(t *testing.T) {
	for _, tt := range []struct {
		scenario, transport, user string
		calls                     int
		answered                  uint64
		cause                     error
		change                    func(*Server)
		handler                   Handler
		drain                     bool
	}{
		{scenario: "call", transport: "u1", calls: 50, answered: 50, cause: ErrCallerHungUp},
		{scenario: "call", transport: "t1", calls: 50, answered: 50, cause: ErrCallerHungUp},
		{scenario: "late_offer", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "hold", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "hold", transport: "t1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "cancel", transport: "u1", calls: 5, cause: ErrCancelled, handler: unanswered},
		{scenario: "cancel", transport: "t1", calls: 5, cause: ErrCancelled, handler: unanswered},
		{scenario: "cancel_after", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "refused", transport: "u1", user: "404", calls: 5, cause: errRefused},
		{scenario: "refused", transport: "t1", user: "404", calls: 5, cause: errRefused},
		{scenario: "not_acceptable", transport: "u1", calls: 5, cause: errRefused},
		{scenario: "resent", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp, handler: slow},
		{scenario: "no_ack", transport: "u1", calls: 2, answered: 2, cause: ErrNoACK, change: quick},
		{scenario: "hung_up", transport: "u1", calls: 5, answered: 5, cause: ErrHungUp, handler: hangingUp},
		{scenario: "hung_up", transport: "t1", calls: 5, answered: 5, cause: ErrHungUp, handler: hangingUp},
		{scenario: "reliable", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "reliable", transport: "t1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "moved", transport: "u1", calls: 5, answered: 5, cause: ErrHungUp, handler: hangingUpLater},
		{scenario: "moved", transport: "t1", calls: 5, answered: 5, cause: ErrHungUp, handler: hangingUpLater},
		{scenario: "precondition", transport: "u1", calls: 5},
		{scenario: "precondition_supported", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp},
		{scenario: "too_short", transport: "u1", calls: 5},
		{scenario: "silent_refresher", transport: "u1", calls: 5, answered: 5, cause: ErrExpired, change: brief},
		{scenario: "refreshed", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp, change: brief},
		{scenario: "refreshed", transport: "t1", calls: 5, answered: 5, cause: ErrCallerHungUp, change: brief},
		{scenario: "login", transport: "u1", calls: 5, answered: 5, cause: ErrCallerHungUp, change: askSesame},
		{scenario: "login", transport: "t1", calls: 5, answered: 5, cause: ErrCallerHungUp, change: askSesame},
		{scenario: "options", transport: "u1", calls: 5},
		{scenario: "options", transport: "t1", calls: 5},
		{scenario: "draining", transport: "u1", calls: 5, drain: true},
		{scenario: "draining", transport: "t1", calls: 5, drain: true},
	} {
		t.Run(tt.scenario+"/"+tt.transport, func(t *testing.T) {
			t.Parallel()
			ts := serveTest(t, tt.change, tt.handler)
			if tt.drain {
				ts.Drain()
			}
			network := map[string]string{"u1": "udp", "t1": "tcp"}[tt.transport]
			user := tt.user
			if user == "" {
				user = "+4930123456"
			}
			sipp(t, tt.scenario, ts.addr(network), tt.transport, tt.calls, "-s", user)
			for tt.cause != nil && tt.calls > 0 {
				ts.ended(t, tt.cause)
				tt.calls--
			}
			if got := ts.Stats(); got.Answered != tt.answered || got.Malformed != 0 || got.Panics != 0 {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

func unanswered(ctx context.Context, _ *Call) { <-ctx.Done() }

// askSesame asks the peer for its password by MD5 alone: sipp 3.6, like old
// PBXs, gives up where the first challenge is another.
func askSesame(s *Server) {
	s.trunks.find(loopback).Digest = &Digest{User: "pbx", Password: "opensesame", Algorithms: []DigestAlgorithm{"MD5"}}
}

func slow(ctx context.Context, c *Call) {
	time.Sleep(50 * time.Millisecond)
	if err := c.Answer([]byte(testAnswer), &media{}); err == nil {
		<-ctx.Done()
	}
}

func hangingUpLater(ctx context.Context, c *Call) {
	m := &media{}
	if err := c.Answer([]byte(testAnswer), m); err != nil {
		return
	}
	moved := func() bool {
		offers, _ := m.heard()
		c.dialog.mu.Lock()
		defer c.dialog.mu.Unlock()
		return len(offers) > 0 && !c.dialog.offering
	}
	for end := time.Now().Add(2 * patience); !moved() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
}

func hangingUp(ctx context.Context, c *Call) {
	if err := c.Answer([]byte(testAnswer), &media{}); err == nil {
		_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
	}
}
