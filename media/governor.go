package media

import (
	"sync"
	"time"
)

// effort is an Opus complexity worth choosing.
type effort struct {
	complexity int
	cost       float64 // of encoding, against complexity 0
	share      float64 // of the processors that may be spent on rendering with it
}

// efforts are what the governor chooses from, the best first. Bits beat
// complexity, so the steps are few: best while idle, the usual one, and the
// cheapest under load. Costs were measured on ten minutes of speech.
var efforts = [...]effort{
	{complexity: 9, cost: 2.7, share: 0.10},
	{complexity: 2, cost: 1.4, share: 0.60},
	{complexity: 0, cost: 1.0, share: 1},
}

const (
	governorCost  = 0.0015                 // processor seconds for a second of 8 kHz audio at complexity 0, until it is measured
	governorStep  = 1.02                   // by which one measurement moves that
	governorCalm  = 5 * time.Second        // a better effort must have been affordable for so long,
	governorSlack = 0.8                    // with so much of its share
	governorLate  = 500 * time.Millisecond // who waits longer for a turn shows that there is too much to do
)

// governor decides how much effort goes into encoding: from what encoding
// costs here, measured all along, and from how many calls there are to encode.
// It gives way at once and comes back slowly.
type governor struct {
	processors int

	mu      sync.Mutex
	cost    float64 // processor seconds for a second of audio at complexity 0
	current int     // of efforts
	calm    time.Time
	yielded time.Time // when a late turn last made it give way
	frames  map[int]uint64
}

func newGovernor(processors int) *governor {
	return &governor{processors: processors, cost: governorCost, frames: make(map[int]uint64)}
}

// observe takes the measure of a turn: so much processor time for so many
// frames of 60 ms; zero where that is not measured, and late turns alone tell.
// Time on the clock would count what others did meanwhile, and make a busy
// neighbour look like costly encoding.
func (g *governor) observe(busy time.Duration, frames int, e effort) {
	if frames == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frames[e.complexity] += uint64(frames)
	switch cost := busy.Seconds() / (float64(frames) * 0.06) / e.cost; {
	case cost > g.cost:
		g.cost *= governorStep
	case cost > 0:
		g.cost /= governorStep
	}
}

// decide says what effort the next turn is worth, with that many calls to
// encode, after this turn was waited for.
func (g *governor) decide(calls int, waited time.Duration) effort {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case g.load(calls, g.current) > efforts[g.current].share:
		g.worsen(now)
	case waited > governorLate && now.Sub(g.yielded) > governorLate:
		g.yielded = now
		g.worsen(now)
	case waited > governorLate || g.current == 0 || g.load(calls, g.current-1) > governorSlack*efforts[g.current-1].share:
		g.calm = now
	case now.Sub(g.calm) >= governorCalm:
		g.current--
		g.calm = now
	}
	return efforts[g.current]
}

func (g *governor) worsen(now time.Time) {
	g.current = min(g.current+1, len(efforts)-1)
	g.calm = now
}

// load is the share of the processors that encoding so many calls takes.
func (g *governor) load(calls, at int) float64 {
	return float64(calls) * g.cost * efforts[at].cost / float64(g.processors)
}
