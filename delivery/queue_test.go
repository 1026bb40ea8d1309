package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoryQueue keeps jobs in memory as [Queue] says a store must.
type memoryQueue struct {
	mu      sync.Mutex
	jobs    []*memoryJob
	threads map[string][]*memoryJob // by mailbox
	wake    chan struct{}
	claims  int // calls
	putOff  int
	broken  []error       // what Finish fails with
	unsure  bool          // Start fails
	failing bool          // and Finish and PutOff too
	foreign bool          // the notes are other machines'
	ahead   time.Duration // of the machine's clock
}

type memoryJob struct {
	Lease
	state   JobState
	at      time.Time
	ended   time.Time
	results []Result
	waits   bool
	reports []Meaning
}

func newMemoryQueue() *memoryQueue {
	return &memoryQueue{wake: make(chan struct{}, 1), threads: map[string][]*memoryJob{}}
}

func (q *memoryQueue) now() time.Time { return time.Now().Add(q.ahead) }

// put queues a job; notes of the same mailbox are one thread.
func (q *memoryQueue) put(mailbox string, chain ...string) (id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.poke()
	return q.add(mailbox, chain).Job
}

func (q *memoryQueue) add(mailbox string, chain []string) *memoryJob {
	j := &memoryJob{state: JobQueued, at: q.now()}
	j.Job = fmt.Sprintf("job-%d", len(q.jobs)+1)
	j.Note = Note{ID: NewID(), Kind: Voice, Recipient: Recipient{Number: mailbox}, EndedAt: time.Now()}
	for _, name := range chain {
		j.Chain = append(j.Chain, Target{Channel: name})
	}
	q.jobs = append(q.jobs, j)
	q.threads[mailbox] = append(q.threads[mailbox], j)
	return j
}

// render queues a job as [Draft].Rendered does, and leases it.
func (q *memoryQueue) render(mailbox string, chain ...string) []Lease {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.add(mailbox, chain)
	if q.blocked(j) {
		return nil
	}
	return []Lease{q.lease(j)}
}

func (q *memoryQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *memoryQueue) blocked(j *memoryJob) bool {
	for _, older := range q.threads[j.Note.Recipient.Number] {
		if older == j {
			return false
		}
		if older.ended.IsZero() && !older.waits {
			return true
		}
	}
	return false
}

func (q *memoryQueue) lease(j *memoryJob) Lease {
	j.state = JobSending
	if j.Waited = j.waits; !j.waits {
		j.Attempt++
	}
	j.Foreign = q.foreign
	if j.First.IsZero() {
		j.First = q.now()
	}
	return j.Lease
}

func (q *memoryQueue) Claim(_ context.Context, limit int) ([]Lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claims++
	due := slices.Clone(q.jobs)
	slices.SortStableFunc(due, func(a, b *memoryJob) int { return a.at.Compare(b.at) })
	var out []Lease
	for _, j := range due {
		if len(out) < limit && j.state == JobQueued && !j.at.After(q.now()) && !q.blocked(j) {
			out = append(out, q.lease(j))
		}
	}
	return out, nil
}

func (q *memoryQueue) Start(_ context.Context, l Lease) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.unsure {
		return errDisk
	}
	if j := q.find(l.Job); j == nil || j.state != JobSending || j.Attempt != l.Attempt {
		return fmt.Errorf("start: %w", ErrFenced)
	}
	return nil
}

var errDisk = errors.New("disk full")

func (q *memoryQueue) Finish(_ context.Context, l Lease, r Result) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing {
		return errDisk
	}
	if len(q.broken) > 0 {
		err := q.broken[0]
		q.broken = q.broken[1:]
		return err
	}
	j := q.job(l)
	j.results = append(j.results, r)
	j.waits = r.Outcome == Waiting
	switch {
	case r.Outcome == Done:
		j.state, j.ended = JobDelivered, q.now()
	case r.Outcome == Dead && j.Step+1 < len(j.Chain):
		j.state, j.at, j.Step, j.Attempt, j.First, j.Unknown = JobQueued, q.now(), j.Step+1, 0, time.Time{}, false
	case r.Outcome == Dead:
		j.state, j.ended = JobDead, q.now()
	default:
		j.state, j.at = JobQueued, q.now().Add(r.Wait)
		j.Unknown = j.Unknown || r.Outcome == Unknown
	}
	if !j.ended.IsZero() || j.waits {
		q.poke()
	}
	return nil
}

// Report settles what waits, and makes due what is asked for.
func (q *memoryQueue) Report(_ context.Context, _ string, r Report, m Meaning) (Upshot, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.find(r.Job)
	if j == nil {
		return Upshot{}, ErrNotFound
	}
	j.reports = append(j.reports, m)
	up := Upshot{Note: j.Note}
	switch {
	case m.Settles && j.state == JobQueued:
		j.state, j.ended, up.Settled = JobDelivered, q.now(), true
	case m.Settles && j.state == JobSending: // it is delivered when its lease ends
		up.Settled = true
	case r.What == WasRefused && j.waits:
		j.state, j.ended, up.Dead = JobDead, q.now(), true
	case (r.What == WasAsked || r.What == WasBounced) && j.waits:
		j.waits, j.at, j.First = false, q.now(), q.now()
	}
	return up, nil
}

func (q *memoryQueue) Release(ctx context.Context, l Lease) error { return q.PutOff(ctx, l, 0) }

func (q *memoryQueue) PutOff(_ context.Context, l Lease, wait time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing {
		return errDisk
	}
	j := q.job(l)
	j.state, j.at = JobQueued, q.now().Add(wait)
	j.Attempt--
	q.putOff++
	return nil
}

// fail makes the store keep nothing.
func (q *memoryQueue) fail(failing bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failing = failing
}

// doubt makes Start fail, or not.
func (q *memoryQueue) doubt(unsure bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unsure = unsure
}

// look is the job as it stands.
func (q *memoryQueue) look(id string) memoryJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		if j.Job == id {
			return *j
		}
	}
	panic("no job " + id)
}

// all are the jobs as they stand.
func (q *memoryQueue) all() []memoryJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []memoryJob
	for _, j := range q.jobs {
		out = append(out, *j)
	}
	return out
}

// job finds the job of a lease; one that is not leased is the worker's mistake.
func (q *memoryQueue) job(l Lease) *memoryJob {
	j := q.find(l.Job)
	if j == nil {
		panic("no job " + l.Job)
	}
	if j.state != JobSending || j.Attempt != l.Attempt {
		panic("the lease of " + l.Job + " is given back twice")
	}
	return j
}

func (q *memoryQueue) find(id string) *memoryJob {
	for _, j := range q.jobs {
		if j.Job == id {
			return j
		}
	}
	return nil
}

// erase takes a job away, whoever holds it.
func (q *memoryQueue) erase(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	is := func(j *memoryJob) bool { return j.Job == id }
	mailbox := q.find(id).Note.Recipient.Number
	q.jobs, q.threads[mailbox] = slices.DeleteFunc(q.jobs, is), slices.DeleteFunc(q.threads[mailbox], is)
}

func (q *memoryQueue) NextDue(context.Context) (time.Time, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due time.Time
	for _, j := range q.jobs {
		if j.state == JobQueued && !q.blocked(j) && (due.IsZero() || j.at.Before(due)) {
			due = j.at
		}
	}
	return due, nil
}

func (q *memoryQueue) Wake() <-chan struct{} { return q.wake }

func (q *memoryQueue) Depth(context.Context) (map[string]int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	depth := map[string]int{}
	for _, j := range q.jobs {
		depth[string(j.state)]++
	}
	return depth, nil
}

// expect fails the test unless so many jobs are in each state.
func (q *memoryQueue) expect(t *testing.T, want map[JobState]int) {
	t.Helper()
	depth, _ := q.Depth(t.Context())
	for _, state := range []JobState{JobQueued, JobSending, JobDelivered, JobDead} {
		if depth[string(state)] != want[state] {
			t.Fatalf("jobs: %v, want %v", depth, want)
		}
	}
}

// memoryFiles opens every note's file.
type memoryFiles struct{}

func (memoryFiles) Open(_ context.Context, id string) (io.ReadSeekCloser, Note, error) {
	return file{strings.NewReader(id)}, Note{ID: id}, nil
}

type file struct{ *strings.Reader }

func (file) Close() error { return nil }
