package delivery

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors a caller of the store decides on.
var (
	ErrNotFound = errors.New("no such note")
	ErrFull     = errors.New("the store cannot keep another recording") // disk full or failing: 503, never a 200
	ErrLocked   = errors.New("the store is in use by another process")
	ErrFenced   = errors.New("the lease is no longer held") // finished or given back already

	// ErrUnreadable says that a note is there and cannot be opened.
	ErrUnreadable = errors.New("cannot be read: where the key is missing put its line back into store.key_file, where the note is damaged put the store back from a copy")
)

// Drafts keeps recordings safe from before the 200 OK until they are rendered.
type Drafts interface {
	// Begin opens a draft for the note, reserving room for bytes of tape. When
	// it returns, the draft is on disk. ErrFull: the call must not be answered.
	Begin(ctx context.Context, n Note, bytes int64) (Draft, error)
	// Unfinished returns what an earlier process left recording or recorded,
	// oldest first, each draft once: what cannot be read now, a later call
	// returns. The tapes are cut at the first bad record and closed.
	Unfinished(ctx context.Context) ([]Draft, error)
}

// Draft is a note that is being recorded or rendered. Its methods may be used
// by two goroutines at once: one that appends and one that follows Records.
type Draft interface {
	// Note is the note as it stands.
	Note() Note
	// Append adds a record to the tape, with its sequence number and checksum.
	Append(record []byte) error
	// Records reads the tape from its start, following it while it grows, to
	// the end that Recorded sets.
	Records() RecordReader
	// Recorded ends the tape: everything appended is on disk when it returns,
	// and the note's state is recorded. From now on the note is promised.
	Recorded(ctx context.Context, partial bool) error
	// Rendered keeps the note's file (nil for a missed note) with its
	// checksum, the note as n describes it, one job for each chain, and their
	// first leases, all in one commit. The leases come back; a chain whose
	// thread has an older job waiting gets none, the queue gives it out in turn.
	Rendered(ctx context.Context, n Note, file []byte, chains []Chain) ([]Lease, error)
	// Discard forgets the draft: nothing was promised.
	Discard(ctx context.Context) error
}

// RecordReader reads a draft's tape, see Draft.Records.
type RecordReader interface {
	// Next blocks until the next record is there; io.EOF at the end. The
	// record is valid until the next call.
	Next(ctx context.Context) ([]byte, error)
	Close() error
}

// Chain is a list of targets: the next one only when the one before failed for
// good or was not acknowledged in time.
type Chain []Target

// Target is a channel of the configuration file and an address within it,
// written CHANNEL:ADDRESS, or CHANNEL alone.
type Target struct {
	Channel string
	Address string
}

// Lease is the right to send one job, for one attempt. The attempt is on disk
// before the lease is given.
type Lease struct {
	Job     string // the job's id: the key that makes a repeat recognisable
	Note    Note
	Chain   Chain
	Step    int       // the target of the chain whose turn it is
	Attempt int       // 1 for the first attempt at this target
	Round   int       // how often the job was driven again
	Waited  bool      // the time of Waiting is over, and no report settled it: the next target's turn
	Unknown bool      // an earlier attempt's outcome is unknown: this one may be a repeat
	First   time.Time // when the time for this target began: with the note's rendering, or the first attempt at a later target
	Foreign bool      // the note is another machine's, whose configuration made the chain
	Epoch   int64     // the fencing number of a lease that several machines could hold; 0 for one of this machine's own
}

// Target is the target whose turn it is.
func (l Lease) Target() Target { return l.Chain[l.Step] }

// Outcome is how an attempt ended.
type Outcome string

// The outcomes of an attempt.
const (
	Done    Outcome = "done"    // the service accepted the note
	Retry   Outcome = "retry"   // it did not, and may later
	Unknown Outcome = "unknown" // the answer was lost: it may have
	Dead    Outcome = "dead"    // it never will at this target
	Waiting Outcome = "waiting" // it has the note, or an invitation to it: its report is waited for
)

// Result is what an attempt came to, as the queue keeps it.
type Result struct {
	Outcome Outcome
	Receipt Receipt       // of Done
	Wait    time.Duration // of Retry and Unknown: until the next attempt; of Waiting: until the report's time is over
	InDoubt bool          // of Dead: the answer was lost, it may have arrived
	Arrived bool          // of Done: delivered as far as the service ever tells, see Meaning
	Detail  string        // the answer or the error, without secrets: what `note show` prints
	Status  int           // the service's status code, 0 when there was none
}

// Queue hands out jobs and keeps what came of them.
type Queue interface {
	Reports

	// Claim leases up to limit jobs whose time has come: the oldest of each
	// thread only. The attempts are on disk when it returns.
	Claim(ctx context.Context, limit int) ([]Lease, error)
	// Start says that the attempt of a lease begins now. ErrFenced when the
	// lease is no longer held: what waited too long for its turn is not sent
	// twice.
	Start(ctx context.Context, l Lease) error
	// Finish keeps an attempt's result. Dead moves the job to the next target
	// of its chain, or ends it when there is none. Waiting takes it out of its
	// thread, which goes on without it; when its time is over it is leased once
	// more, with Waited.
	Finish(ctx context.Context, l Lease, r Result) error
	// Release gives a lease back unused: no attempt was made.
	Release(ctx context.Context, l Lease) error
	// PutOff gives a lease back unused, as Release does, but it is not claimed
	// again before wait is over: its channel takes nothing now. The attempt is
	// not counted, no event is kept, the job keeps its place in its thread,
	// and First of the next lease is still this one's.
	PutOff(ctx context.Context, l Lease, wait time.Duration) error
	// NextDue is when the next waiting job falls due; zero when none waits.
	NextDue(ctx context.Context) (time.Time, error)
	// Wake returns a channel that gets a value when a job became due early
	// (redriven, or its thread was unblocked).
	Wake() <-chan struct{}
	// Depth counts the jobs that bring notes to recipients by state, for
	// metrics.
	Depth(ctx context.Context) (map[string]int, error)
}

// Notes is the operator's and the inbox's view of the store.
type Notes interface {
	// List returns notes, newest first; oldest first after Filter.After. One that
	// cannot be read keeps none of the others back, see Summary.
	List(ctx context.Context, f Filter) ([]Summary, error)
	// Count is how many notes List would return without a limit.
	Count(ctx context.Context, f Filter) (int, error)
	// Life is everything known of a note. ErrNotFound, ErrUnreadable.
	Life(ctx context.Context, id string) (Life, error)
	// Open reads a note's file, whole and as it was kept: another error says
	// that it is damaged. ErrNotFound when it has none.
	Open(ctx context.Context, id string) (io.ReadSeekCloser, Note, error)
	// Redrive queues a note's dead jobs again, from the first target of their
	// chains, and says how many: those that died at the channel, or with ""
	// all but the operator's. ErrNotFound.
	Redrive(ctx context.Context, id, channel string) (int, error)
}

// Summary is a note and how its jobs stand.
type Summary struct {
	Note Note
	Jobs []Job

	// Unreadable: the note cannot be opened. Of it there are its id and its state;
	// how its jobs stand is not known, so that no Filter.ByJobs finds it.
	Unreadable bool `json:",omitempty"`
}

// JobState is how far a job has come.
type JobState string

// The states of a job. Waiting is being queued with a next time.
const (
	JobQueued    JobState = "queued"
	JobSending   JobState = "sending"
	JobDelivered JobState = "delivered"
	JobDead      JobState = "dead"
)

// Job is one chain of a note on its way.
type Job struct {
	ID      string
	State   JobState
	Chain   Chain
	Step    int
	Attempt int
	NextAt  time.Time // of a queued job
	Waits   bool      // a queued job was sent, and waits for the service's report until NextAt
}

// Life is a note, its jobs, and each step and attempt in order of time.
type Life struct {
	Note   Note
	Jobs   []Job
	Events []Event
}

// Event is one line of a note's life.
type Event struct {
	At     time.Time
	Job    string // "" for the note's own steps
	Name   string // recording, recorded, rendered, sending, done, waiting, retry, unknown, dead, redriven; accepted, delivered, read, played, refused, asked
	Target string // the channel and address, for a job's events
	Detail string // the answer, or what was measured
}

// Inbox is the inbox channel's thread view: the committed note is the message.
type Inbox interface {
	// Thread returns a mailbox's rendered notes whose chains name the inbox or
	// not, newest first, at most limit, older than the id before ("" for all).
	// Less than limit is the end. One that cannot be read is left out.
	Thread(ctx context.Context, mailbox, before string, limit int) ([]Note, error)
	// Mark keeps that a note was read or played; the first time counts.
	Mark(ctx context.Context, mailbox, id string, what Mark) error
	// Watch gets the mailbox's note ids as they are rendered or marked, and ""
	// when notes were erased, until ctx ends. A slow reader misses some: it must
	// read the thread again.
	Watch(ctx context.Context, mailbox string) <-chan string
}

// Mark is what a recipient did with a note.
type Mark string

// The marks of a note.
const (
	MarkRead   Mark = "read"
	MarkPlayed Mark = "played"
)

// Links binds secret links to mailboxes.
type Links interface {
	// LinkFor returns the mailbox's secret token, minting it the first time.
	LinkFor(ctx context.Context, mailbox string) (token string, err error)
	// LinkOwner returns the mailbox of a token, or ErrNotFound.
	LinkOwner(ctx context.Context, token string) (mailbox string, err error)
	// SigningKey is the key that signs media links, the same after a restart.
	SigningKey(ctx context.Context) ([]byte, error)
}
