package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// channelFunc is a channel for a test.
type channelFunc func(ctx context.Context, p Parcel) (Receipt, error)

func (f channelFunc) Send(ctx context.Context, p Parcel) (Receipt, error) { return f(ctx, p) }

func healthy(context.Context, Parcel) (Receipt, error) { return Receipt{Detail: "200 OK"}, nil }

func down(context.Context, Parcel) (Receipt, error) {
	return Receipt{}, &SendError{Outcome: Retry, Status: 503, Err: errors.New("503 Service Unavailable")}
}

func hanging(ctx context.Context, _ Parcel) (Receipt, error) {
	<-ctx.Done()
	return Receipt{}, &SendError{Outcome: Unknown, Err: ctx.Err()}
}

// observed counts what the worker tells its observer.
type observed struct {
	mu        sync.Mutex
	attempts  map[Outcome]int
	delivered []time.Duration
	dead      int
	breaker   []string
	reported  []What
}

func (o *observed) Attempt(_ string, outcome Outcome, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.attempts == nil {
		o.attempts = map[Outcome]int{}
	}
	o.attempts[outcome]++
}

func (o *observed) Delivered(n Note, _ string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.delivered = append(o.delivered, time.Since(n.EndedAt))
}

func (o *observed) Dead(string, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dead++
}

func (o *observed) Breaker(_, state string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breaker = append(o.breaker, state)
}

func (o *observed) Reported(_ string, what What) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reported = append(o.reported, what)
}

// arrivals is how long a note took to each delivery.
func (o *observed) arrivals() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.delivered)
}

// moments are the times of something.
type moments struct {
	mu sync.Mutex
	at []time.Time
}

func (m *moments) now() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, time.Now())
}

// take returns the times since it was last called.
func (m *moments) take() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.at
	m.at = nil
	return at
}

// rig is a worker under test in a bubble of virtual time.
type rig struct {
	*Worker
	queue *memoryQueue
	seen  *observed
	log   *bytes.Buffer
	stop  func() // ends the worker and waits for it
}

func start(t *testing.T, channels map[string]Channel) *rig {
	t.Helper()
	return startWith(t, WorkerOptions{}, channels)
}

func startWith(t *testing.T, o WorkerOptions, channels map[string]Channel) *rig {
	t.Helper()
	r := &rig{queue: newMemoryQueue(), seen: &observed{}, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelError}))
	o.Observer = r.seen
	o.Now = r.queue.now
	o.Link = func(id string, _ time.Time) string { return "https://notes.example/" + id }
	r.Worker = NewWorker(r.queue, memoryFiles{}, channels, o, log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(r.stop)
	synctest.Wait()
	return r
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFreshLeaseIsSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got Parcel
		r := start(t, map[string]Channel{"crm": channelFunc(func(_ context.Context, p Parcel) (Receipt, error) {
			got = p
			return Receipt{}, nil
		})})
		before := time.Now()
		r.Deliver(r.queue.render("101", "crm")...)
		synctest.Wait()
		r.queue.expect(t, map[JobState]int{JobDelivered: 1})
		if took := time.Since(before); took != 0 {
			t.Errorf("it took %v", took)
		}
		if len(r.seen.arrivals()) != 1 || r.seen.arrivals()[0] != 0 {
			t.Errorf("observed %v", r.seen.arrivals())
		}
		file, err := got.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(file)
		if string(content) != got.Note.ID || got.Link(time.Now()) != "https://notes.example/"+got.Note.ID {
			t.Errorf("the parcel's file reads %q, its link %q", content, got.Link(time.Now()))
		}
		if got.Key != "job-1" || got.Attempt != 1 || got.Repeat {
			t.Errorf("parcel %+v", got)
		}
	})
}

func TestMissedNoteHasNoFile(t *testing.T) {
	w := NewWorker(newMemoryQueue(), memoryFiles{}, nil, WorkerOptions{}, slog.New(slog.DiscardHandler))
	p := w.parcel(Lease{Note: Note{Kind: Missed}, Chain: Chain{{Channel: "crm"}}})
	if p.Open != nil || p.Link != nil {
		t.Error("a missed note has something to open")
	}
}

func TestRetryAfterWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent moments
		r := start(t, map[string]Channel{"crm": channelFunc(func(_ context.Context, p Parcel) (Receipt, error) {
			sent.now()
			if p.Attempt == 1 {
				return Receipt{}, &SendError{Outcome: Retry, Status: 429, After: 2 * time.Hour, Err: errors.New("slow down")}
			}
			return Receipt{}, nil
		})})
		r.queue.put("101", "crm")
		pass(3 * time.Hour)
		r.queue.expect(t, map[JobState]int{JobDelivered: 1})
		at := sent.take()
		if gap := at[1].Sub(at[0]); gap < 2*time.Hour || gap > 2*time.Hour+time.Second {
			t.Errorf("sent again after %v", gap)
		}
	})
}

func TestChain(t *testing.T) {
	dead := func(context.Context, Parcel) (Receipt, error) {
		return Receipt{Detail: "no such chat"}, &SendError{Outcome: Dead, Status: 404, Err: errors.New("404 Not Found")}
	}
	for name, tc := range map[string]struct {
		first Channel
		after time.Duration // until the second target has it
	}{
		"dead":           {channelFunc(dead), 0},
		"not configured": {nil, 0},
		"down":           {channelFunc(down), defaultPatient},
		"own patience":   {patient{channelFunc(down)}, time.Minute},
		"hanging":        {channelFunc(hanging), defaultPatient},
		"unhurried":      {unhurried{channelFunc(hanging)}, defaultPatient},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				channels := map[string]Channel{"last": channelFunc(healthy)}
				if tc.first != nil {
					channels["first"] = tc.first
				}
				r := start(t, channels)
				r.Deliver(r.queue.render("101", "first", "last")...)
				if tc.after > 0 {
					pass(tc.after - time.Second)
					if r.queue.look("job-1").Step != 0 {
						t.Fatal("it went on too early")
					}
				}
				pass(32 * time.Second) // an attempt may be under way
				r.queue.expect(t, map[JobState]int{JobDelivered: 1})
				if j := r.queue.look("job-1"); j.Step != 1 {
					t.Errorf("delivered by target %d", j.Step)
				}
			})
		})
	}
}

// A channel that this machine does not have yet, or no longer, is no reason to
// end another machine's note: it goes back for one that has it.
func TestForeignNoteOfAnotherConfiguration(t *testing.T) {
	for name, chain := range map[string][]string{"last target": {"new"}, "a target after it": {"new", "last"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"last": channelFunc(healthy)})
				r.queue.foreign = true
				id := r.queue.put("101", chain...)
				pass(giveUpAfter - time.Minute)
				if j := r.queue.look(id); j.Step != 0 || len(j.results) != 0 || j.Attempt != 0 {
					t.Fatalf("job %+v", j)
				}
				pass(2 * time.Minute) // nobody had the channel
				if j := r.queue.look(id); len(j.results) == 0 || j.results[0].Outcome != Dead {
					t.Errorf("job %+v", j)
				}
			})
		})
	}
}

type patient struct{ Channel }

func (patient) Within() time.Duration { return time.Minute }

type unhurried struct{ Channel }

func (unhurried) Longest() time.Duration { return time.Hour }

// A slow service gets the time that its channel asks for, and the note once.
func TestAttemptTakesItsChannelsTime(t *testing.T) {
	slow := channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
		select {
		case <-ctx.Done():
			return hanging(ctx, p)
		case <-time.After(59 * time.Minute):
			return healthy(ctx, p)
		}
	})
	for name, tc := range map[string]struct {
		channel Channel
		want    Outcome
		after   time.Duration
	}{
		"its own":      {unhurried{slow}, Done, 59 * time.Minute},
		"and no more":  {unhurried{channelFunc(hanging)}, Unknown, time.Hour},
		"the worker's": {slow, Unknown, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"post": tc.channel})
				r.Deliver(r.queue.render("101", "post")...)
				pass(tc.after - time.Second)
				if results := r.queue.look("job-1").results; len(results) != 0 {
					t.Fatalf("it ended too early: %+v", results)
				}
				pass(time.Second)
				if j := r.queue.look("job-1"); len(j.results) != 1 || j.results[0].Outcome != tc.want || j.Attempt != 1 {
					t.Errorf("attempt %d, results %+v", j.Attempt, j.results)
				}
			})
		})
	}
}

func TestThreadKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived := map[string][]string{}
		var mu sync.Mutex
		r := start(t, map[string]Channel{"crm": channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
			time.Sleep(rand.N(2 * time.Second))
			if rand.N(3) == 0 {
				return down(ctx, p)
			}
			mu.Lock()
			defer mu.Unlock()
			mailbox := p.Note.Recipient.Number
			arrived[mailbox] = append(arrived[mailbox], p.Key)
			return Receipt{}, nil
		})})
		want := map[string][]string{}
		for i := range 60 {
			mailbox := fmt.Sprint(i % 5)
			want[mailbox] = append(want[mailbox], fmt.Sprintf("job-%d", i+1))
			r.Deliver(r.queue.render(mailbox, "crm")...)
			pass(200 * time.Millisecond)
		}
		pass(24 * time.Hour)
		if fmt.Sprint(arrived) != fmt.Sprint(want) {
			t.Errorf("arrived %v", arrived)
		}
	})
}

func TestStrangeFailuresAreUnknown(t *testing.T) {
	for name, tc := range map[string]struct {
		send func() (Receipt, error)
		want string
	}{
		"panic of the runtime": {func() (Receipt, error) { panic(noSuchIndex()) }, "index out of range"},
		"panic with a secret":  {func() (Receipt, error) { panic("whsec_c2VjcmV0") }, "panicked with a string"},
		"any error":            {func() (Receipt, error) { return Receipt{}, errDisk }, "disk full"},
		"done as an error":     {func() (Receipt, error) { return Receipt{}, &SendError{Outcome: Done, Err: errDisk} }, "disk full"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"crm": channelFunc(func(_ context.Context, p Parcel) (Receipt, error) {
					if p.Attempt == 1 {
						return tc.send()
					}
					if !p.Repeat {
						t.Error("the second attempt is not marked as a repeat")
					}
					return Receipt{}, nil
				})})
				id := r.queue.put("101", "crm")
				pass(time.Minute)
				r.queue.expect(t, map[JobState]int{JobDelivered: 1})
				if got := r.queue.look(id).results[0]; got.Outcome != Unknown || !strings.Contains(got.Detail, tc.want) || strings.Contains(got.Detail, "whsec_") {
					t.Errorf("result %+v", got)
				}
				if strings.Contains(r.log.String(), "whsec_") {
					t.Error("the log has the secret")
				}
			})
		})
	}
}

// noSuchIndex is what the runtime panics with.
func noSuchIndex() (cause any) {
	defer func() { cause = recover() }()
	var none []int
	_ = none[len(none)]
	return nil
}

func TestNoTimeLeft(t *testing.T) {
	lane := &lane{within: 10 * time.Minute, now: time.Now}
	chain := Chain{{Channel: "a"}, {Channel: "b"}}
	retry := &SendError{Outcome: Retry, Err: errors.New("busy")}
	for name, tc := range map[string]struct {
		step  int
		began time.Duration // ago
		after time.Duration
		want  Outcome
	}{
		"in time":                  {0, 9 * time.Minute, 0, Retry},
		"over, and another target": {0, 10 * time.Minute, 0, Dead},
		"asked to come too late":   {0, time.Minute, 9 * time.Minute, Dead},
		"last target":              {1, 10 * time.Minute, 0, Retry},
		"last target, a week":      {1, 7 * 24 * time.Hour, 0, Dead},
	} {
		l := Lease{Chain: chain, Step: tc.step, Attempt: 1, First: time.Now().Add(-tc.began)}
		failed := *retry
		failed.After = tc.after
		r := lane.judge(l, Receipt{}, &failed)
		if r.Outcome != tc.want {
			t.Errorf("%s: %s, want %s", name, r.Outcome, tc.want)
		}
		if r.Outcome == Retry && r.Wait > lane.left(l)+time.Second {
			t.Errorf("%s: waits %v beyond the deadline", name, r.Wait)
		}
	}
}

// TestLostAtTheEnd: an answer that was lost leaves a doubt, though there is no
// time or no use for another attempt.
func TestLostAtTheEnd(t *testing.T) {
	lane := &lane{within: 10 * time.Minute, now: time.Now}
	chain := Chain{{Channel: "a"}, {Channel: "b"}}
	for name, tc := range map[string]struct {
		step    int
		began   time.Duration // ago
		failed  SendError
		inDoubt bool
	}{
		"lost at a target's end":   {0, 10 * time.Minute, SendError{Outcome: Unknown}, true},
		"lost after a week":        {1, 7 * 24 * time.Hour, SendError{Outcome: Unknown}, true},
		"lost, and to be mended":   {0, 0, SendError{Outcome: Unknown, Credentials: true}, true},
		"busy after a week":        {1, 7 * 24 * time.Hour, SendError{Outcome: Retry}, false},
		"refused for good at once": {1, 0, SendError{Outcome: Dead}, false},
	} {
		l := Lease{Chain: chain, Step: tc.step, Attempt: 1, First: time.Now().Add(-tc.began)}
		tc.failed.Err = errors.New("no")
		if r := lane.judge(l, Receipt{}, &tc.failed); r.Outcome != Dead || r.InDoubt != tc.inDoubt {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
