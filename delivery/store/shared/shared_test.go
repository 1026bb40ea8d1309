package shared

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // they wait for servers more than they work
	goleak.VerifyTestMain(m)
}

// memoryLedger is a machine's knowledge in a test.
type memoryLedger struct {
	mu      sync.Mutex
	facts   []Fact
	peers   []string
	learned []Job
	recalls int
	hold    chan struct{} // Recall waits until it is closed, when there is one
}

func (l *memoryLedger) Recall(ctx context.Context, _ Shards, say func(Fact) error) error {
	l.mu.Lock()
	facts, hold := slices.Clone(l.facts), l.hold
	l.recalls++
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, f := range facts {
		if err := say(f); err != nil {
			return err
		}
	}
	return nil
}

func (l *memoryLedger) Learn(_ context.Context, jobs []Job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.learned = append(l.learned, jobs...)
	return nil
}

func (l *memoryLedger) Peers(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peers, nil
}

func (l *memoryLedger) Met(_ context.Context, machines []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers = machines
	return nil
}

// told is how often Recall was called.
func (l *memoryLedger) told() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recalls
}

// know adds facts.
func (l *memoryLedger) know(facts ...Fact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, facts...)
}

// machine is one gateway's shared side in a test.
type machine struct {
	*Shared
	ledger *memoryLedger
	stop   func() // ends Run
	end    func() // stops it as a crash would
}

// join starts a machine and waits until leases are given out.
func join(tb testing.TB, url, name string) *machine {
	tb.Helper()
	m := enter(tb, Options{URL: url, Machine: name}, &memoryLedger{})
	m.awaitOpen(tb)
	return m
}

// stalls is an Answer that outlasts a pause of the whole test machine.
const stalls = 20 * time.Second

// open prepares a machine that is not run.
func open(tb testing.TB, o Options, ledger Ledger) *Shared {
	tb.Helper()
	o.Answer = cmp.Or(o.Answer, stalls)
	s, err := Open(o, ledger, slog.New(slog.NewTextHandler(tb.Output(), nil)))
	check(tb, err)
	return s
}

// enter starts a machine.
func enter(tb testing.TB, o Options, ledger *memoryLedger) *machine {
	tb.Helper()
	return run(tb, open(tb, o, ledger), ledger)
}

func run(tb testing.TB, s *Shared, ledger *memoryLedger) *machine {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	m := &machine{Shared: s, ledger: ledger, stop: func() { cancel(); running.Wait() }}
	m.end = sync.OnceFunc(func() {
		m.stop()
		check(tb, s.Close())
	})
	tb.Cleanup(m.end)
	return m
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (m *machine) awaitOpen(tb testing.TB) {
	tb.Helper()
	eventually(tb, "the gates open", m.Ready)
}

// knows says whether the knowledge of a machine would be waited for.
func (s *Shared) knows(peer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[peer]
}

// patience is how long anything may take on a slow machine.
const patience = time.Minute

// eventually waits for something that other processes do.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// publication is a note with jobs of two targets each, in threads of their own
// mailbox. Its id is MAILBOX-NOTE.
func publication(mailbox, note string, jobs int) Publication {
	note = mailbox + "-" + note
	p := Publication{
		ID: note, Mailbox: mailbox, Body: []byte("body of " + note),
		Audio: func(context.Context) ([]byte, error) { return []byte("audio of " + note), nil },
	}
	for i := range jobs {
		p.Jobs = append(p.Jobs, Job{
			ID: fmt.Sprintf("%s-job%d", note, i), Thread: fmt.Sprintf("%s-%d", mailbox, i), Chain: []byte{0, 255, byte(i)}, Steps: 2,
		})
	}
	return p
}

// publish publishes a note with one job, again where a busy machine's server
// did not answer in time.
func (m *machine) publish(tb testing.TB, mailbox, note string, lease bool) Job {
	tb.Helper()
	p := publication(mailbox, note, 1)
	jobs, err := m.Publish(tb.Context(), p, false, lease)
	if errors.Is(err, ErrUncertain) || errors.Is(err, ErrAway) {
		eventually(tb, "it is published", func() bool {
			jobs, err = m.Publish(tb.Context(), p, true, lease)
			return err == nil
		})
	}
	check(tb, err)
	return jobs[0]
}

// claim leases what is due.
func (m *machine) claim(tb testing.TB, limit int) []Lease {
	tb.Helper()
	ls, err := m.Claim(tb.Context(), limit)
	check(tb, err)
	return ls
}

// claimOne waits for a lease of one job.
func (m *machine) claimOne(tb testing.TB) Lease {
	tb.Helper()
	var ls []Lease
	eventually(tb, "a job can be claimed", func() bool {
		ls, _ = m.Claim(tb.Context(), 1)
		return len(ls) == 1
	})
	return ls[0]
}

func (m *machine) finish(tb testing.TB, j Job, outcome string) Job {
	tb.Helper()
	got, _, err := m.Finish(tb.Context(), j, Result{Outcome: outcome, Event: []byte("event\x00\xff")})
	check(tb, err)
	return got
}

// drain reads this machine's messages.
func (m *machine) drain(tb testing.TB) (all []Message) {
	tb.Helper()
	_, err := m.Drain(tb.Context(), func(_ context.Context, ms []Message) error {
		all = append(all, ms...)
		return nil
	})
	check(tb, err)
	return all
}

func (m *machine) depth(tb testing.TB, queued, sending, dead int) {
	tb.Helper()
	d, err := m.Depth(tb.Context())
	check(tb, err)
	if d[Queued] != queued || d[Sending] != sending || d[Dead] != dead {
		tb.Errorf("depth %v, want %d queued, %d sending, %d dead", d, queued, sending, dead)
	}
}

func expect(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("error %v, want %v", err, want)
	}
}

// notesAfter publishes a note, and counts those of its mailbox then.
func (m *machine) notesAfter(tb testing.TB, p Publication) int {
	tb.Helper()
	_, err := m.Publish(tb.Context(), p, false, false)
	check(tb, err)
	notes, err := m.Thread(tb.Context(), p.Mailbox, "", 10)
	check(tb, err)
	return len(notes)
}
