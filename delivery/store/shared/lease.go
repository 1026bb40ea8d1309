package shared

import (
	"context"
	"maps"
	"sync"
	"time"
)

// leases are those that this process was given.
type leases struct {
	mu    sync.Mutex
	byJob map[string]held // the last of each job
	turns [shards]int     // how often a shard's leases were suspended
}

// held is a lease. It stays after its end for as long as a late answer may
// bring it once more: it is handed out but once.
type held struct {
	shard, epoch int
	stray        bool      // Redis has it for this process, and it was not handed out
	until        time.Time // reckoned from before the request: Redis keeps it longer; zero: suspended
	ended        time.Time // zero until whoever has it has ended it
}

// moment is when a request was made that may return leases.
type moment struct {
	at    time.Time
	turns [shards]int
}

func (ls *leases) now() moment {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return moment{time.Now(), ls.turns}
}

// since says whether the shard's leases were suspended since m.
func (ls *leases) since(m moment, shard int) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.turns[shard] != m.turns[shard]
}

// adopt takes in a lease that a request returned, and says whether it is to be
// handed out: one that was already is not, nor one whose answer took so long
// that nobody remembers. A lease from before a suspension is suspended: Redis
// may have forgotten it, and the ledger did not know it.
func (ls *leases) adopt(j Job, m moment, ttl time.Duration) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !j.Leased || ls.byJob[j.ID].epoch >= j.Epoch || time.Since(m.at) >= ttl {
		return false
	}
	h := held{shard: j.Shard, epoch: j.Epoch}
	if ls.turns[j.Shard] == m.turns[j.Shard] {
		h.until = m.at.Add(ttl)
	}
	ls.byJob[j.ID] = h
	return true
}

// suspend has the leases of some shards not be begun: those whose attempts have
// begun are taken in again as the ledger tells them.
func (ls *leases) suspend(in Shards) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i := range ls.turns {
		if in.Has(i) {
			ls.turns[i]++
		}
	}
	for job, h := range ls.byJob {
		if in.Has(h.shard) {
			h.until = time.Time{}
			ls.byJob[job] = h
		}
	}
}

// resume takes a suspended lease in again, which Redis was told of. One that
// was never handed out is kept suspended: its row was written in hope, and when
// that is undone nobody else knows that Redis now has the lease.
func (ls *leases) resume(j Job, m moment, ttl time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	h := ls.byJob[j.ID]
	switch {
	case !j.Leased:
	case h.epoch < j.Epoch:
		ls.byJob[j.ID] = held{shard: j.Shard, epoch: j.Epoch, stray: true}
	case h.epoch == j.Epoch && h.ended.IsZero() && !h.stray && ls.turns[h.shard] == m.turns[h.shard]:
		h.until = m.at.Add(ttl)
		ls.byJob[j.ID] = h
	}
}

// renewed takes in what became of a renewal that was asked for at m: the lease
// lasts until then, or with the zero time it is no longer had.
func (ls *leases) renewed(l lease, m moment, until time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	h := ls.byJob[l.job]
	if h.epoch == l.epoch && !h.until.IsZero() && ls.turns[h.shard] == m.turns[h.shard] {
		h.until = until
		ls.byJob[l.job] = h
	}
}

// drop ends a lease, unless a later one has taken its place.
func (ls *leases) drop(job string, epoch int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if h := ls.byJob[job]; h.epoch == epoch && epoch != 0 {
		h.until, h.ended = time.Time{}, time.Now()
		ls.byJob[job] = h
	}
}

// sweep forgets leases that ended so long ago that adopt refuses an answer from
// before, and returns those that are to be renewed, by shard.
func (ls *leases) sweep(ttl time.Duration) (byShard map[int][]lease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	maps.DeleteFunc(ls.byJob, func(_ string, h held) bool { return !h.ended.IsZero() && time.Since(h.ended) > ttl })
	byShard = map[int][]lease{}
	for job, h := range ls.byJob {
		if !h.until.IsZero() {
			byShard[h.shard] = append(byShard[h.shard], lease{h, job})
		}
	}
	return byShard
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

// HandedOut says that a lease was returned to somebody, by this or another
// request.
func (s *Shared) HandedOut(job string, epoch int) bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	h := s.leases.byJob[job]
	return h.epoch == epoch && epoch != 0 && !h.stray
}

// Leases are those that this process has not ended: ID, Shard and Epoch of each.
func (s *Shared) Leases() []Job {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	var all []Job
	for job, h := range s.leases.byJob {
		if h.ended.IsZero() {
			all = append(all, Job{ID: job, Shard: h.shard, Epoch: h.epoch})
		}
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
	byShard := s.leases.sweep(s.o.Lease)
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
	m := s.leases.now()
	for i, r := range s.client.all(ctx, cmds) {
		answers, _ := r.value.([]any)
		ls := byShard[cmds[i].shard]
		if r.err != nil || len(answers) != len(ls) {
			continue // they run out by the local clock
		}
		for k, answer := range answers {
			if answer == int64(1) {
				s.leases.renewed(ls[k], m, m.at.Add(s.o.Lease))
			} else if s.opened(ls[k].shard) {
				s.leases.renewed(ls[k], m, time.Time{})
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
