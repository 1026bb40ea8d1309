package shared

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

const knownFormat = 1

// beat registers this machine in every shard and sees how they stand.
func (s *Shared) beat(within context.Context) {
	ctx, cancel := context.WithTimeout(within, s.o.Answer*3/2)
	defer cancel()
	beats := everywhere(s.scripts.beat, s.o.Machine, s.owner, s.o.Patience.Milliseconds(), oneIf(s.beaten), s.o.Lease.Milliseconds())
	for i := range beats {
		beats[i].args = append(slices.Clip(beats[i].args), oneIf(s.usable(i) == nil))
	}
	replies := s.client.all(ctx, beats)
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return // the end, not an answer
	}
	met, opened, closed, back := map[string]bool{}, false, false, false
	before, wasFull := s.whyDown(), s.Full()
	s.mu.Lock()
	for i, r := range replies {
		gave, away := s.state[i].gives(), s.state[i].why != nil
		s.state[i].take(r, met)
		gives := s.state[i].gives()
		opened = opened || (gives && !gave)
		closed = closed || !gives
		if away && s.state[i].why == nil {
			back = true
			s.state[i].askAgain(s.o.Lease)
		}
	}
	s.mu.Unlock()
	after := s.whyDown()
	switch {
	case after != nil && (before == nil || errors.Is(before, errNotYet)):
		s.log.Warn("the shared Redis cannot be used; this machine goes on alone", "error", after)
	case before != nil && after == nil:
		s.log.Info("the shared Redis can be used")
	case errors.Is(after, errClone) && !errors.Is(before, errClone):
		s.log.Error("this machine shares nothing more", "error", after)
	}
	switch full := s.Full(); {
	case full && !wasFull:
		s.log.Warn("the shared Redis is full; new notes go out from the machine they came in on: raise its maxmemory")
	case wasFull && !full:
		s.log.Info("the shared Redis has room again")
	}
	s.beaten = s.beaten || after == nil
	s.meet(ctx, met, closed)
	s.sign(ctx, s.closed())
	if back {
		s.renewAll(within) // before others claim
		poke(s.back)
	}
	if opened {
		poke(s.wake)
	}
}

// gives says whether leases were given out at the last beat.
func (st *state) gives() bool { return st.why == nil && st.open }

// take keeps the answer of a beat.
func (st *state) take(r reply, met map[string]bool) {
	st.why = r.err
	switch { // nothing is sent there: certain enough
	case errors.Is(r.err, errNotReplicated):
		st.why = errLonely
	case errors.Is(r.err, ErrUncertain):
		st.why = errSilent
	}
	if st.why != nil {
		return
	}
	if r.value == "CLONE" {
		st.why = errClone
		return
	}
	values, _ := r.value.([]any)
	if len(values) < 6 {
		st.why = fmt.Errorf("%w: an answer that this version cannot read", ErrAway)
		return
	}
	open, _ := values[1].(int64)
	format, _ := values[2].(int64)
	st.era, _ = values[0].(string)
	st.open = open == 1
	st.erasing, _ = values[3].(int64)
	st.full = values[4] == int64(1)
	switch {
	case format > knownFormat:
		st.why = errNewer
	case st.evicts:
		st.why = errEvicts
	}
	for _, v := range values[5:] {
		machine, _ := v.(string)
		met[machine] = true
	}
}

// rememberPeers takes up whom an earlier process knew. Without them, a gate
// could open that should wait for them: nothing is shared before.
func (s *Shared) rememberPeers(ctx context.Context) bool {
	peers, err := s.ledger.Peers(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error("the machines that share the work cannot be read; trying again", "error", err)
		}
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range peers {
		s.peers[p] = true
	}
	return true
}

// meet keeps whom a beat found. When it found a gate closed nobody is
// forgotten: what a machine knows that was there before is waited for.
func (s *Shared) meet(ctx context.Context, met map[string]bool, closed bool) {
	if len(met) == 0 {
		return
	}
	s.mu.Lock()
	if closed {
		maps.Copy(met, s.peers)
	}
	changed := !maps.Equal(met, s.peers)
	s.mu.Unlock()
	if !changed {
		return
	}
	if err := s.ledger.Met(ctx, slices.Sorted(maps.Keys(met))); err != nil {
		s.log.Error("the machines that share the work cannot be kept", "error", err)
		return // told again by the next beat
	}
	s.mu.Lock()
	s.peers = met
	s.mu.Unlock()
}

// closed are the shards that wait for other machines' knowledge.
func (s *Shared) closed() (in Shards) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range s.state {
		if !st.open {
			in |= 1 << i
		}
	}
	return in
}

// sign says that this machine has told shards all it knows, where it has.
func (s *Shared) sign(ctx context.Context, in Shards) {
	var cmds []command
	s.mu.Lock()
	known := slices.Collect(maps.Keys(s.peers))
	known = append(known, s.o.Machine)
	for i, st := range s.state {
		if !in.Has(i) || (st.why != nil && !st.evicts) || st.told != st.era {
			continue
		}
		args := []any{s.o.Machine, st.era}
		for _, machine := range known {
			args = append(args, machine)
		}
		cmds = append(cmds, command{shard: i, script: s.scripts.asserted, args: args})
	}
	s.mu.Unlock()
	if len(cmds) > 0 {
		s.signed(cmds, s.client.all(ctx, cmds))
	}
}

// signed keeps what the shards said to the signature.
func (s *Shared) signed(cmds []command, replies []reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range replies {
		st := &s.state[cmds[i].shard]
		if r.err != nil {
			continue
		}
		st.evicts = r.value == "EVICTS"
		switch r.value {
		case "OPEN":
			st.open = st.open || st.era == cmds[i].args[1] // else it has closed again meanwhile
			poke(s.wake)
		case "EVICTS":
			st.why = errEvicts // logged by the next beat
		}
	}
}

// untold are the usable shards that this process has not told what it knows.
func (s *Shared) untold() (in Shards) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range s.state {
		if st.why == nil && st.told != st.era {
			in |= 1 << i
		}
	}
	return in
}
