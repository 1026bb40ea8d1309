package shared

import (
	"context"
	"maps"
	"sync"
	"time"
)

// leases are those that this process holds.
type leases struct {
	mu    sync.Mutex
	byJob map[string]held
}

type held struct {
	shard, epoch int
	until        time.Time // reckoned from before the request: Redis keeps it longer
}

// adopt takes a lease in that a call returned, or forgets one that it did not.
func (ls *leases) adopt(j Job, until time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if j.Leased {
		ls.byJob[j.ID] = held{j.Shard, j.Epoch, until}
	} else {
		delete(ls.byJob, j.ID)
	}
}

// drop forgets a lease, unless a later one has taken its place.
func (ls *leases) drop(job string, epoch int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.byJob[job].epoch == epoch {
		delete(ls.byJob, job)
	}
}

// suspend forgets the leases of some shards: those whose attempts have begun
// are taken in again as the ledger tells them.
func (ls *leases) suspend(in Shards) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	maps.DeleteFunc(ls.byJob, func(_ string, h held) bool { return in.Has(h.shard) })
}

// extend makes a lease last longer, if it is still held.
func (ls *leases) extend(job string, epoch int, until time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if h := ls.byJob[job]; h.epoch == epoch && epoch != 0 {
		h.until = until
		ls.byJob[job] = h
	}
}

func (ls *leases) has(job string, epoch int) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return epoch != 0 && ls.byJob[job].epoch == epoch
}

// Held says, from the local clock alone, whether a lease is certain to last
// long enough for its attempt to begin. What was not renewed in time must not
// be started: another machine may be at it. Ask after the ledger has the
// attempt and before the sending: then a Redis that forgets the lease is told
// of it, or Held says no.
func (s *Shared) Held(job string, epoch int) bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	h := s.leases.byJob[job]
	return h.epoch == epoch && epoch != 0 && time.Until(h.until) > s.o.Lease/heldMargin
}

// Leases are those that this process holds: ID, Shard and Epoch of each.
func (s *Shared) Leases() []Job {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	var all []Job
	for job, h := range s.leases.byJob {
		all = append(all, Job{ID: job, Shard: h.shard, Epoch: h.epoch})
	}
	return all
}

// renew keeps every lease from running out, until ctx ends.
func (s *Shared) renew(ctx context.Context) {
	tick := time.NewTicker(s.o.Lease / renewParts)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.renewAll(ctx)
		}
	}
}

// lease is a held lease and its job.
type lease struct {
	held
	job string
}

func (s *Shared) renewAll(ctx context.Context) {
	byShard := map[int][]lease{}
	s.leases.mu.Lock()
	for job, h := range s.leases.byJob {
		byShard[h.shard] = append(byShard[h.shard], lease{h, job})
	}
	s.leases.mu.Unlock()
	var cmds []command
	for shard, ls := range byShard {
		if s.usable(shard) != nil {
			continue
		}
		args := []any{s.owner, s.o.Lease.Milliseconds()}
		for _, l := range ls {
			args = append(args, l.job, l.epoch)
		}
		cmds = append(cmds, command{shard: shard, script: s.scripts.renew, args: args})
	}
	until := time.Now().Add(s.o.Lease)
	for i, r := range s.client.all(ctx, cmds) {
		answers, _ := r.value.([]any)
		ls := byShard[cmds[i].shard]
		if r.err != nil || len(answers) != len(ls) {
			continue // they run out by the local clock
		}
		for k, answer := range answers {
			if answer == int64(1) {
				s.leases.extend(ls[k].job, ls[k].epoch, until)
			} else if s.opened(ls[k].shard) {
				s.leases.drop(ls[k].job, ls[k].epoch)
			}
		}
	}
}

// opened says whether leases were given out from the shard at the last beat.
func (s *Shared) opened(shard int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[shard].open
}
