package shared

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Shared is this machine's side of a shared Redis.
type Shared struct {
	o       Options
	owner   string // of leases: this process of this machine
	client  *client
	scripts scripts
	ledger  Ledger
	log     *slog.Logger

	mu    sync.Mutex // guards state and peers
	state [shards]state
	peers map[string]bool // machines whose knowledge is waited for

	beaten    bool // every shard knows this process
	leases    leases
	turn      atomic.Uint32 // the shard that a claim begins with
	recalling atomic.Bool
	kick      chan struct{} // holds a value when a beat should not wait
	wake      chan struct{}
	back      chan struct{} // holds a value when Redis has come back
}

// state is how a shard stood at the last beat.
type state struct {
	why     error     // it cannot be used; nil when it can
	era     string    // what Redis remembers, see lua/common.lua
	open    bool      // leases are given out
	evicts  bool      // it would drop keys when its memory is full
	full    bool      // it takes nothing new
	told    string    // the era that this process has told all it knows
	erasing int64     // the version of the erasures
	lost    time.Time // until when leases may stand whose answer was lost
	turn    int       // jobs asked for: the newest and the oldest take turns
}

// Open prepares the shared side. Nothing is connected before Run, and an error
// means that the options are wrong.
func Open(o Options, ledger Ledger, log *slog.Logger) (*Shared, error) {
	target, err := ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("store.redis: %w", err)
	}
	if !regexp.MustCompile(`^[\w-]+$`).MatchString(o.Machine) {
		return nil, errors.New("the machine's id is not of letters, digits, - and _")
	}
	if o = o.withDefaults(); o.Patience <= o.Lease {
		return nil, errors.New("a missing machine must be waited for until its leases have run out: Patience must exceed Lease")
	}
	all, err := loadScripts(sources)
	if err != nil {
		return nil, err
	}
	redis.SetLogger(quiet{})
	o = o.withDefaults()
	s := &Shared{
		o: o, wake: o.Wake, owner: o.Machine + "/" + rand.Text(), scripts: all, ledger: ledger, log: log,
		client: &client{target.dial(o.Answer), target.replicas, o.Answer / 2},
		peers:  map[string]bool{}, kick: make(chan struct{}, 1), back: make(chan struct{}, 1),
	}
	for i := range s.state {
		s.state[i].why = errNotYet
	}
	s.leases.byJob = map[string]held{}
	return s, nil
}

// Run keeps in touch with Redis until ctx ends: it beats, asserts the ledger
// when that is called for, and renews leases.
func (s *Shared) Run(ctx context.Context) {
	for !s.rememberPeers(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(beatEvery):
		}
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { s.renew(ctx) })
	for ctx.Err() == nil {
		s.beat(ctx)
		if in := s.untold(); in != 0 && s.recalling.CompareAndSwap(false, true) {
			tasks.Go(func() {
				defer s.recalling.Store(false)
				s.recall(ctx, in)
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(beatEvery):
		case <-s.kick:
		}
	}
	tasks.Wait()
}

// Leave tells the others that this machine stops in order: nobody waits for
// its knowledge. To be called after Run, when no lease is held.
func (s *Shared) Leave(ctx context.Context) error {
	var errs []error
	for _, r := range s.client.all(ctx, everywhere(s.scripts.leave, s.o.Machine, s.owner)) {
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}

// Close ends the connections. To be called last.
func (s *Shared) Close() error { return s.client.Close() }

// Up says whether every shard answered the last beat.
func (s *Shared) Up() bool { return s.whyDown() == nil }

// Full says that Redis has no room for anything new, as of the last beat.
func (s *Shared) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.state[:], func(st state) bool { return st.full })
}

// Reach asks every shard once, so that the others can be asked before Run runs.
// Its error says why not.
func (s *Shared) Reach(ctx context.Context) error {
	s.rememberPeers(ctx)
	s.beat(ctx)
	return s.whyDown()
}

// whyDown is why a shard cannot be used now; nil when all can.
func (s *Shared) whyDown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.state {
		if st.why != nil {
			return st.why
		}
	}
	return nil
}

// Ready says whether leases are given out from every shard, and all of them
// know what this machine knows.
func (s *Shared) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.state {
		if st.why != nil || !st.open || st.told != st.era {
			return false
		}
	}
	return true
}

// usable is why a shard cannot be used now, or nil. What is known to be away
// is not waited for.
func (s *Shared) usable(shard int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[shard].why
}

// Wake returns a channel that gets a value when jobs may have become due: a
// gate opened, or a thread was freed.
func (s *Shared) Wake() <-chan struct{} { return s.wake }

// Back returns a channel that gets a value when Redis can be used that could not
// before: what it was not told waits.
func (s *Shared) Back() <-chan struct{} { return s.back }

// poke puts a value into a channel that holds at most one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run runs a script in a usable shard.
func (s *Shared) run(ctx context.Context, shard int, script *redis.Script, args ...any) (any, error) {
	if err := s.usable(shard); err != nil {
		return nil, err
	}
	return s.client.do(ctx, command{shard: shard, script: script, args: args})
}

// everywhere is a script for each shard.
func everywhere(script *redis.Script, args ...any) []command {
	cmds := make([]command, shards)
	for i := range cmds {
		cmds[i] = command{shard: i, script: script, args: args}
	}
	return cmds
}

// usableShards are the shards that can be used now; an error when there is none.
func (s *Shared) usableShards() ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var usable []int
	var why error
	for i, st := range s.state {
		if st.why == nil {
			usable = append(usable, i)
		} else {
			why = st.why
		}
	}
	if len(usable) == 0 {
		return nil, why
	}
	return usable, nil
}
