package shared

import "context"

// Ledger is what this machine knows, on its own disk. Its methods may be
// called at any time between Run's start and end, Recall while work goes on.
type Ledger interface {
	// Recall says all that this machine knows of jobs and notes in the shards,
	// in this order: results of its attempts (10 days back), attempts that are
	// under way, attempts of which nobody knows the outcome, what services told it
	// (10 days back), erasures, and its own notes with jobs that have not ended. say keeps nothing of the fact; its
	// error ends the recall.
	Recall(ctx context.Context, in Shards, say func(Fact) error) error
	// Learn takes in how this machine's own jobs stand, where Redis knew better.
	Learn(ctx context.Context, jobs []Job) error
	// Peers are the machines of the last Met, none before the first.
	Peers(ctx context.Context) ([]string, error)
	// Met keeps which machines share the work: those whose knowledge is waited
	// for when Redis may have forgotten something.
	Met(ctx context.Context, machines []string) error
}

// Shards is a set of shards.
type Shards uint16

// Has says whether the shard is in the set.
func (s Shards) Has(shard int) bool { return s&(1<<shard) != 0 }

// Fact is one thing that a machine knows.
type Fact struct {
	Kind Kind
	Job  Job         // of WasDelivered, WasDead, IsWaiting, IsSending, WasInterrupted and WasReported
	Said Said        // of WasReported
	Note Publication // of IsPending: all of it; of WasErased: Mailbox, and the last note erased
}

// Kind is what a fact says.
type Kind string

// The kinds of fact.
const (
	WasDelivered   Kind = "delivered"   // this machine delivered the job
	WasDead        Kind = "dead"        // this machine's attempt was the last
	IsSending      Kind = "sending"     // an attempt of this process is under way
	WasInterrupted Kind = "interrupted" // an attempt of an earlier process, or one that ended so: whether it arrived is unknown
	IsWaiting      Kind = "waiting"     // this machine's attempt was taken by its service, whose report is waited for
	WasReported    Kind = "reported"    // a chat service told this machine
	WasErased      Kind = "erased"
	IsPending      Kind = "pending" // a note of this machine has jobs to do
)
