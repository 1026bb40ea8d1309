package shared

import (
	"fmt"
	"strconv"
	"time"
)

// State is how far a job has come.
type State string

// The states of a job: those of delivery.JobState, and erased.
const (
	Queued    State = "queued"
	Sending   State = "sending"
	Delivered State = "delivered"
	Dead      State = "dead"
	Erased    State = "erased"
)

// Job is one chain of a note on its way. Times are this machine's, reckoned
// from the server's.
type Job struct {
	ID      string
	Note    string
	Shard   int    // that of the note's mailbox
	Thread  string // jobs of a thread are sent one by one
	Pos     int    // among the note's jobs
	Home    string // the machine that keeps the truth
	Chain   []byte // opaque
	Steps   int    // targets in the chain, 30 at most
	State   State
	Step    int       // the target whose turn it is
	Attempt int       // at that target
	Unknown uint32    // one bit a step: an attempt there may have arrived
	Round   int       // how often it was redriven
	Epoch   int       // fences leases: each has a higher one
	First   time.Time // of the first attempt at this step; zero for none
	Next    time.Time // when it falls due
	Waits   int       // ToBeAsked or ForReport, until Next; one more when it is due for what was told
	Void    int       // deliveries of earlier rounds do not count: their service took them back
	Arrived bool      // of a delivered job: as far as its service tells
	Leased  bool      // to this process, by the call that returned it
}

// What a job waits for.
const (
	ToBeAsked = 1 // its service took an invitation to the note
	ForReport = 3 // its service took the note
)

// Waiting says that the job waits for what its service tells. Leased then, its
// next target's turn has come.
func (j Job) Waiting() bool { return j.Waits == ToBeAsked || j.Waits == ForReport }

// answerFields is how many values the scripts' standing() has.
const answerFields = 20

// parseJob reads what standing() answered.
func parseJob(shard int, value any) (Job, error) {
	values, ok := value.([]any)
	if !ok || len(values) != answerFields {
		return Job{}, fmt.Errorf("%w: an answer that this version cannot read", ErrUncertain)
	}
	text := make([]string, len(values))
	for i, v := range values {
		text[i], _ = v.(string)
	}
	var bad error
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil && bad == nil {
			bad = fmt.Errorf("%w: an answer that this version cannot read: %w", ErrUncertain, err)
		}
		return n
	}
	now, local := number(text[19]), time.Now()
	instant := func(s string) time.Time {
		if at := number(s); at != 0 {
			return local.Add(time.Duration(at-now) * time.Millisecond)
		}
		return time.Time{}
	}
	j := Job{
		ID: text[0], Note: text[1], Shard: shard, State: State(text[2]),
		Step: int(number(text[3])), Attempt: int(number(text[4])), Unknown: uint32(number(text[5])),
		Next: instant(text[6]), First: instant(text[7]), Epoch: int(number(text[8])), Round: int(number(text[9])),
		Home: text[10], Thread: text[11], Pos: int(number(text[12])), Steps: int(number(text[13])), Chain: []byte(text[14]),
		Leased: text[15] == "1", Waits: int(number(text[16])), Void: int(number(text[17])), Arrived: text[18] == "1",
	}
	return j, bad
}

// parseJobs reads a list of standing().
func parseJobs(shard int, value any) ([]Job, error) {
	values, _ := value.([]any)
	jobs := make([]Job, len(values))
	for i, v := range values {
		var err error
		if jobs[i], err = parseJob(shard, v); err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

// age is how long ago t was, in ms as the scripts take it: -1 for never.
func age(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return max(0, time.Since(t).Milliseconds())
}

// wait is how long it is until t, in ms.
func wait(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, time.Until(t).Milliseconds())
}
