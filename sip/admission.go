package sip

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
	"golang.org/x/time/rate"
)

// verdict is what becomes of an INVITE that would be a new call.
type verdict uint8

const (
	admitted verdict = iota
	draining
	tooMany
	tooFast
	trunkTooMany
	trunkTooFast
)

// verdicts say how metrics name each, and when a peer may try again. The pause
// is short where room comes back by itself: peers that keep to it and all
// return at once are a burst again.
var verdicts = [...]struct {
	name  string
	pause time.Duration
}{
	admitted:     {name: "admitted"},
	draining:     {"draining", 30 * time.Second},
	tooMany:      {"calls", 2 * time.Second},
	tooFast:      {"rate", 2 * time.Second},
	trunkTooMany: {"trunk_calls", 2 * time.Second},
	trunkTooFast: {"trunk_rate", 2 * time.Second},
}

// rejection is the response that says a verdict.
func (v verdict) rejection() *rejection {
	return &rejection{503, []sipmsg.Header{retryAfter(verdicts[v].pause)}}
}

// admission lets new calls in as far as the limits go, and counts those it turns
// away (RFC 3261 section 21.5.4).
type admission struct {
	log    *slog.Logger           // nil logs nothing
	calls  *gate                  // handlers that run
	limits atomic.Pointer[Limits] // of all trunks together, as they are now
	rate   bucket

	mu      sync.Mutex
	trunks  map[string]*meter       // by name
	decided memory[uint64, verdict] // of datagrams, by their key

	turned [len(verdicts)]atomic.Uint64 // by verdict
	told   tally                        // all of them
}

const (
	decisionSpan = 64 * t1 // as long as copies of an INVITE may come (RFC 3261 section 17.1.1.2)
	decisionSize = 1 << 16 // of one generation
)

// meter is how far a trunk has used its limits.
type meter struct {
	calls   gate
	rate    bucket
	unheard chan struct{} // holds a value for each subscriber whose first NOTIFY is not answered yet
}

func newAdmission(limits Limits, calls *gate, log *slog.Logger) *admission {
	a := &admission{
		log: log, calls: calls, trunks: make(map[string]*meter),
		decided: memory[uint64, verdict]{span: decisionSpan, size: decisionSize},
	}
	a.limits.Store(&limits)
	return a
}

// bucket holds the calls of a second, as many as may come now: what is in it
// stays when that changes. The zero value is full.
type bucket struct {
	mu   sync.Mutex
	rate *rate.Limiter
}

// take takes a call out of a bucket that holds perSecond; 0 is no limit.
func (b *bucket) take(perSecond int, now time.Time) bool {
	if perSecond == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.rate == nil:
		b.rate = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	case b.rate.Burst() != perSecond:
		b.rate.SetLimitAt(now, rate.Limit(perSecond))
		b.rate.SetBurstAt(now, perSecond)
	}
	return b.rate.AllowN(now, 1)
}

// meter returns that of a trunk.
func (a *admission) meter(t *Trunk) *meter {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.trunks[t.Name]
	if m == nil {
		m = &meter{unheard: make(chan struct{}, maxUnheard)}
		a.trunks[t.Name] = m
	}
	return m
}

// weigh decides on a datagram with a new INVITE by its key, the same way for
// each copy of it: what was turned away must not be answered after all when
// its 503 is late, and what was admitted must not be refused.
func (a *admission) weigh(t *Trunk, key uint64, now time.Time) verdict {
	a.mu.Lock()
	v, known := a.decided.recall(key, now)
	a.mu.Unlock()
	if known {
		return v
	}
	v = a.decide(t, now)
	a.count(v, now)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.decided.keep(key, v, now)
	return v
}

// decide says whether another call of the trunk is let in.
func (a *admission) decide(t *Trunk, now time.Time) verdict {
	if v := a.full(t); v != admitted {
		return v
	}
	return a.take(t, now)
}

// full says whether there is room for another call of the trunk.
func (a *admission) full(t *Trunk) verdict {
	switch m := a.meter(t); {
	case a.calls.isShut():
		return draining
	case full(&m.calls, t.Limits.Calls):
		return trunkTooMany
	case full(a.calls, a.limits.Load().Calls):
		return tooMany
	}
	return admitted
}

func full(g *gate, limit int) bool { return limit > 0 && g.count() >= limit }

// take takes a new call out of the buckets, the trunk's first: a trunk that is
// beyond its own takes nothing from the others.
func (a *admission) take(t *Trunk, now time.Time) verdict {
	switch {
	case !a.meter(t).rate.take(t.Limits.Rate, now):
		return trunkTooFast
	case !a.rate.take(a.limits.Load().Rate, now):
		return tooFast
	}
	return admitted
}

// admit lets the call of an INVITE in, until leave, or says why not. Datagrams
// were weighed before they were parsed, unless the trunk of their address logs
// in.
func (a *admission) admit(in *incoming) verdict {
	v, now := admitted, time.Now()
	if !in.weighed {
		v = a.decide(in.trunk, now)
	}
	if v == admitted {
		v = a.enter(in.trunk)
	}
	a.count(v, now)
	return v
}

// enter counts a call in, until leave. Here the limits are kept exactly: the
// calls that weigh lets pass are not counted yet.
func (a *admission) enter(t *Trunk) verdict {
	m := a.meter(t)
	if !m.calls.enterBelow(t.Limits.Calls) {
		return trunkTooMany
	}
	if !a.calls.enterBelow(a.limits.Load().Calls) {
		m.calls.leave()
		if a.calls.isShut() {
			return draining
		}
		return tooMany
	}
	return admitted
}

// leave counts a call out. Its trunk may have other limits by now.
func (a *admission) leave(t *Trunk) {
	a.mu.Lock()
	m := a.trunks[t.Name]
	a.mu.Unlock()
	m.calls.leave()
	a.calls.leave()
}

// count counts a call that is turned away, and leaves a trace in the log. That
// the gateway drains is no news there.
func (a *admission) count(v verdict, now time.Time) {
	if v == admitted {
		return
	}
	a.turned[v].Add(1)
	a.told.count.Add(1)
	if a.log == nil || v == draining {
		return
	}
	if turned, due := a.told.due(now); due {
		a.log.Warn("calls are turned away with 503, see sip.limits and trunks[].limits", "limit", verdicts[v].name, "turned_away", turned)
	}
}

// counts are the calls turned away, by why.
func (a *admission) counts() map[string]uint64 {
	counts := make(map[string]uint64, len(a.turned)-1)
	for v := range a.turned {
		if verdict(v) != admitted {
			counts[verdicts[v].name] = a.turned[v].Load()
		}
	}
	return counts
}
