package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// children are what the test binary does as a child that is to be killed.
func children() map[string]func() {
	return map[string]func(){
		"work":   func() { childWork(true) },
		"settle": func() { childWork(false) },
	}
}

// childWork takes up what is left in the store, and then, if it shall go on,
// records and delivers notes until it is killed. It says on its standard
// output what the store has promised, as soon as it has.
func childWork(goOn bool) {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := Open(Options{Path: os.Getenv("AFTERBEEP_STORE_PATH"), KeyFile: os.Getenv("AFTERBEEP_STORE_KEYS")}, quiet())
	must(err)
	drafts, err := s.Unfinished(ctx)
	must(err)
	var leases []delivery.Lease
	for _, d := range drafts {
		first, err := d.Rendered(ctx, d.Note(), []byte("recovered"), []delivery.Chain{chainTo("crm")})
		must(err)
		leases = append(leases, first...)
	}
	for more := true; more; more = len(leases) > 0 {
		for _, l := range leases {
			must(s.Finish(ctx, l, delivery.Result{Outcome: delivery.Done}))
		}
		leases, err = s.Claim(ctx, 16)
		must(err)
	}
	var calls sync.WaitGroup
	for caller := range 4 {
		calls.Go(func() {
			for goOn {
				must(childCall(ctx, s, fmt.Sprint(caller)))
			}
		})
	}
	calls.Wait()
	must(s.Close())
}

func childCall(ctx context.Context, s *Store, caller string) error {
	n := newNote("101", caller)
	d, err := s.Begin(ctx, n, 1<<16)
	if err != nil {
		return err
	}
	fmt.Println("begun", n.ID, 0)
	records := 1 + rand.IntN(40)
	for i := range records {
		if err := d.Append(recordOf(n.ID, i)); err != nil {
			return err
		}
		fmt.Println("appended", n.ID, i+1)
	}
	if err := d.Recorded(ctx, false); err != nil {
		return err
	}
	fmt.Println("recorded", n.ID, records)
	leases, err := d.Rendered(ctx, d.Note(), []byte("file of "+n.ID), []delivery.Chain{chainTo("crm")})
	if err != nil {
		return err
	}
	fmt.Println("rendered", n.ID, records)
	for _, l := range leases {
		if err := s.Finish(ctx, l, delivery.Result{Outcome: delivery.Done}); err != nil {
			return err
		}
		fmt.Println("delivered", n.ID, records)
	}
	return nil
}

func recordOf(id string, i int) []byte {
	return fmt.Appendf(nil, "record %d of %s %s", i, id, strings.Repeat("x", i*53))
}

// promise is what the child last said of a note.
type promise struct {
	step    string
	records int
}

// run runs a child on a store and returns what it promised. After
// life from its first word it is killed, wherever it is then; 0 lets it end.
func run(t *testing.T, what string, o Options, life time.Duration) map[string]promise {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) // its own tests must not run: see TestMain
	cmd.Env = append(os.Environ(), childEnv+"="+what, "AFTERBEEP_STORE_PATH="+o.Path, "AFTERBEEP_STORE_KEYS="+o.KeyFile)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	words := bufio.NewReader(out)
	if life > 0 {
		_, err = words.Peek(1)
		check(t, err)
		time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
	}
	said, err := io.ReadAll(words)
	check(t, err)
	if err := cmd.Wait(); life == 0 {
		check(t, err)
	}
	promises := map[string]promise{}
	for line := range strings.Lines(string(said)) {
		var id string
		var p promise
		if n, _ := fmt.Sscan(line, &p.step, &id, &p.records); n == 3 {
			promises[id] = p
		}
	}
	return promises
}

// Killed at any moment, even while it takes up what the last one left, the
// store keeps what it promised: every record whose Append returned, every note
// that was recorded, every file and delivery.
func TestKill(t *testing.T) { everywhere(t, testKill) }

func testKill(t *testing.T, c composition) {
	path := t.TempDir()
	o := c.options(t, path)
	promised := map[string]promise{}
	for range 5 {
		maps.Copy(promised, run(t, "work", o, time.Duration(30+rand.IntN(170))*time.Millisecond))
		s := c.openAt(t, path)
		for id, p := range promised {
			checkPromise(t, s, id, p)
		}
		if rand.IntN(2) == 0 { // else the next child finds them as they are
			_, err := s.Unfinished(t.Context())
			check(t, err)
		}
		check(t, s.Close())
	}
	if len(promised) == 0 {
		t.Fatal("no child lived long enough to promise anything")
	}
	run(t, "settle", o, 0)
	s := c.openAt(t, path)
	for id, p := range promised {
		l := life(t, s, id)
		if l.Note.State != delivery.Rendered || len(l.Jobs) != 1 || l.Jobs[0].State != delivery.JobDelivered {
			t.Errorf("note %s, once %s, ended as %s with %+v", id, p.step, l.Note.State, l.Jobs)
		}
	}
	depth, err := s.Depth(t.Context())
	if err != nil || depth["queued"]+depth["sending"]+depth["dead"] != 0 {
		t.Errorf("depth %v, %v", depth, err)
	}
}

// checkPromise compares what a child said of a note with what is there.
func checkPromise(t *testing.T, s *Store, id string, p promise) {
	t.Helper()
	l, err := s.Life(t.Context(), id)
	if err != nil {
		t.Errorf("note %s was %s: %v", id, p.step, err)
		return
	}
	n, err := s.note(t.Context(), id)
	check(t, err)
	tape, _, err := s.recoverTape(s.tapePath(id), n.box)
	check(t, err)
	records, err := read(t, tape.follow())
	if err != nil || len(records) < p.records {
		t.Errorf("%d of %d records of note %s: %v", len(records), p.records, id, err)
	}
	for i, r := range records {
		if r != string(recordOf(id, i)) {
			t.Errorf("record %d of note %s differs", i, id)
		}
	}
	reached := slices.Index([]string{"begun", "appended", "recorded", "rendered", "delivered"}, p.step)
	if reached >= 2 && (l.Note.State == delivery.Recording || l.Note.Partial) {
		t.Errorf("note %s was recorded whole and is %s, partial %v", id, l.Note.State, l.Note.Partial)
	}
	if reached >= 3 {
		f, _, err := s.Open(t.Context(), id)
		if err != nil {
			t.Errorf("the file of note %s: %v", id, err)
			return
		}
		if b, err := io.ReadAll(f); err != nil || string(b) != "file of "+id {
			t.Errorf("the file of note %s holds %q, %v", id, b, err)
		}
		check(t, f.Close())
	}
	if reached >= 4 && l.Jobs[0].State != delivery.JobDelivered {
		t.Errorf("note %s was delivered and is %s", id, l.Jobs[0].State)
	}
}
