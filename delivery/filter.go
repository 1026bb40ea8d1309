package delivery

import (
	"slices"
	"time"
)

// Filter chooses notes; the zero value chooses the newest 50.
type Filter struct {
	Mailbox string    // Recipient.Number; "" for all
	State   string    // a note's or job's state (recording, recorded, rendered, queued, sending, delivered, dead); "" for all
	Channel string    // only notes with a job whose present target is this channel, in State where that is a job's; "" for all
	Since   time.Time // only calls at this time or later; zero for all
	Until   time.Time // only calls before this time; zero for all
	Limit   int       // 0 for 50
	Before  string    // an id: only older notes
	After   string    // an id: only younger notes, the oldest first; FirstID for the very first
}

// ByJobs says that the filter asks how a note's jobs stand, see Wants.
func (f Filter) ByJobs() bool { return f.Channel != "" || f.jobState() }

func (f Filter) jobState() bool {
	return slices.Contains([]JobState{JobQueued, JobSending, JobDelivered, JobDead}, JobState(f.State))
}

// Wants says whether one of a note's jobs is of the channel and the state that
// the filter asks for. The operator's count only when their channel is asked
// for.
func (f Filter) Wants(jobs []Job) bool {
	return !f.ByJobs() || slices.ContainsFunc(jobs, func(j Job) bool {
		return j.At(f.Channel) && (!f.jobState() || j.State == JobState(f.State))
	})
}

// At says whether the channel is the job's present target; with "" any that a
// recipient reads.
func (j Job) At(channel string) bool {
	at := j.Chain[j.Step].Channel
	return at == channel || (channel == "" && at != Operator)
}

// Range is the filter's bounds as ids: above < id < below, "" where there is
// none.
func (f Filter) Range() (above, below string) {
	above, below = f.After, f.Before
	if !f.Since.IsZero() {
		above = max(above, FirstID(f.Since))
	}
	if !f.Until.IsZero() {
		if until := FirstID(f.Until); below == "" || until < below {
			below = until
		}
	}
	return above, below
}
