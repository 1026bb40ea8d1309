package shared

import (
	"fmt"
	"hash/fnv"
	"time"
)

// Options says which Redis, and who asks.
type Options struct {
	URL     string // see ParseURL
	Machine string // this machine's id, the same after a restart; letters, digits, - and _

	Wake     chan struct{} // gets a value when jobs may have become due; holds one; nil for one that Shared.Wake returns
	Lease    time.Duration // how long a lease lasts unrenewed; 0 for 10 s
	Patience time.Duration // how long a closed gate waits for a missing machine; 0 for 30 s
	Answer   time.Duration // how long Redis may take to answer; 0 for 1 s
}

// MaxSteps is how many targets a chain may have that is shared: one bit each in
// 32, with a sign.
const MaxSteps = 30

// Count is how many shards there are.
const Count = shards

const (
	shards = 16

	beatEvery  = time.Second
	renewParts = 3 // renewals in a lease's time
	heldMargin = 5 // a lease in its last fifth is not started

	answerWithin = time.Second // of a running Redis
	showWithin   = 10 * time.Minute

	recallBatch = 200 // facts in one round trip
	eraseBatch  = 100 // notes in one script call
	drainBatch  = 500 // messages read at once
)

func (o Options) withDefaults() Options {
	if o.Wake == nil {
		o.Wake = make(chan struct{}, 1)
	}
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Answer == 0 {
		o.Answer = answerWithin
	}
	return o
}

// ShardOf is the shard of a mailbox's index.
func ShardOf(mailbox string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(mailbox)) // never fails (package hash)
	return int(h.Sum32() % shards)
}

// prefix begins the keys of a shard; the braces make it one slot of a Cluster.
func prefix(shard int) string { return fmt.Sprintf("afterbeep:{%02d}:", shard) }
