package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// buildNext builds the program as a version to come would be: it has another
// name, keeps a field more of each job in Redis and says more in its messages.
func buildNext(t *testing.T) (program string) {
	t.Helper()
	peertest.Needs(t, "go")
	dir, overlay := t.TempDir(), struct{ Replace map[string]string }{map[string]string{}}
	for _, change := range []struct{ file, from, to string }{
		{"publish.lua", "note = note, thread = thread,", "later = 'kept', note = note, thread = thread,"},
		{"common.lua", "job = j.id,", "later = { 'kept' }, job = j.id,"},
	} {
		path, err := filepath.Abs(filepath.Join("../delivery/store/shared/lua", change.file))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), change.from) {
			t.Fatalf("%s has no %q: %v", change.file, change.from, err)
		}
		changed := filepath.Join(dir, change.file)
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), change.from, change.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = changed
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(files, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "afterbeep-next")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", files, "-ldflags", "-X main.version=next", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// metric waits until a gateway says a line of its metrics.
func (c *child) metric(t *testing.T, line string) {
	t.Helper()
	until(t, line, func() bool {
		answer, err := http.Get("http://" + c.http + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(text), line+"\n")
	})
}

// TestRollingUpgrade replaces the program under two machines one by one, and
// back: what one of them could not deliver, the other one does, though it be of
// the other version. Then Redis has a format that neither knows: each goes on
// alone, and says why.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	older, next := os.Args[0], buildNext(t)
	redis := redistest.Single(t)
	l := newLedger(t)
	service := newChat(t, l.hook)
	paths := make([]string, 2)
	machines := make([]*child, 2)
	start := func(i int, program string) {
		machines[i] = startProgram(t, program, paths[i])
		machines[i].metric(t, "afterbeep_shared_gate 1")
	}
	for i := range paths {
		paths[i] = memberFile(t, service.URL, redis.URL, "")
		start(i, older)
	}
	for _, turn := range []struct {
		machine int
		program string
	}{{0, next}, {1, next}, {0, older}, {1, older}} { // the latter two are the way back
		service.does(down)
		one, other := l.speak(t, machines[0].sip, time.Second), l.speak(t, machines[1].sip, time.Second)
		l.hangUp(t, one)
		l.hangUp(t, other)
		machines[turn.machine].stop(t)
		service.does(nil)
		l.await(t) // both by the one that is left, which may be of the other version
		start(turn.machine, turn.program)
		l.leave(t, machines[turn.machine].sip)
		l.await(t)
	}
	until(t, "every home knows that its notes are delivered", func() bool {
		return !slices.ContainsFunc(slices.Concat(lives(t, paths[0]), lives(t, paths[1])), func(n delivery.Life) bool {
			return stateOf(n) != delivery.JobDelivered
		})
	})

	for shard := range 16 {
		redis.Servers[0].Do(fmt.Sprintf("SET afterbeep:{%02d}:format 2", shard))
	}
	machines[0].metric(t, "afterbeep_shared_up 0")
	began := time.Now()
	l.leave(t, machines[0].sip)
	l.await(t)
	t.Logf("alone, a call and its note took %v", time.Since(began))
	log, err := os.ReadFile(filepath.Join(filepath.Dir(paths[0]), childLog))
	if err != nil || !strings.Contains(string(log), "a newer version of this program keeps its data there; run that version") {
		t.Errorf("the log does not say why it goes on alone: %v", err)
	}
	for _, m := range machines {
		m.stop(t)
	}
	l.settle(t, paths...)
}
