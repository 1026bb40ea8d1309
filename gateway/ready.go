package main

import (
	"context"
	"sync"
	"time"
)

const (
	readyFor    = time.Second     // as long as an answer of the store holds
	readyWithin = 2 * time.Second // as long as it may take: dispatchers wait about so long
)

// readiness says whether calls can be kept, to peers who may ask as often as
// they like: the store writes to its disk to find out.
type readiness struct {
	ask func(context.Context) error

	mu   sync.Mutex
	at   time.Time
	well bool
}

// now is what the store said within readyFor.
func (r *readiness) now() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < readyFor {
		return r.well
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	r.well = r.ask(ctx) == nil
	r.at = time.Now()
	return r.well
}
