package delivery

import (
	"slices"
	"sync"
	"time"
)

const (
	maxFresh   = 4096 // leases a lane holds of notes that were just rendered
	maxClaimed = 32   // and of jobs that were claimed, at most: the rest wait in the queue
)

// lanes share the sends among the channels. A channel may hold as many sends
// as are left free: alone, it takes half of them, and however many services
// hang there is room for one more.
type lanes struct {
	mu     sync.Mutex
	work   sync.Cond // a lease's turn may have come
	lacks  sync.Cond // a lane with a rate may lack grants
	byName map[string]*lane
	eased  chan struct{} // holds a value when a lane is down to half of what it may hold
	order  []*lane       // the one whose turn is next comes first
	free   int
	closed bool
}

// lane is what waits for one channel, and what is under way.
type lane struct {
	name    string
	channel Channel
	within  time.Duration // the patience of a chain that goes on after it
	longest time.Duration // what an attempt may take
	ack     What          // what settles a chain
	now     func() time.Time
	breaker *breaker
	hold    int // of claimed, at most
	rate    Rate
	grants  int    // attempts that the rate lets begin
	fresh   []held // of notes that were just rendered
	claimed []held // out of the queue
	turn    bool   // the claimed are next: neither starves the other
	running int

	tellsDelivered bool // the service tells when a note reached the recipient
}

// held is a lease and when it was taken.
type held struct {
	Lease
	at time.Time
}

// ticket is a lease whose turn has come. settle is nil when the breaker did
// not let it through.
type ticket struct {
	held
	lane   *lane
	settle func(error)
}

func newLanes(sends int) *lanes {
	s := &lanes{byName: map[string]*lane{}, eased: make(chan struct{}, 1), free: sends}
	s.work.L, s.lacks.L = &s.mu, &s.mu
	return s
}

func (s *lanes) add(l *lane) { // before they are used
	s.byName[l.name] = l
	s.order = append(s.order, l)
}

// of is the lane that a lease belongs to: "" is the lane of channels that the
// configuration no longer has.
func (s *lanes) of(l Lease) *lane {
	if lane, ok := s.byName[l.Target().Channel]; ok {
		return lane
	}
	return s.byName[""]
}

// room is how many claimed leases find a place whatever their channels, but for
// those that are full, and whether there is such a one. Lanes with a rate do
// not count: theirs come back at the rate's pace.
func (s *lanes) room() (room int, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room = maxClaimed
	for _, l := range s.order {
		switch left := l.hold - len(l.claimed); {
		case left == 0:
			full = true
		case !l.rate.limits():
			room = min(room, left)
		}
	}
	return room, full
}

// offer holds a lease until its turn comes; false when there is no room, or
// the breaker is open for one that was claimed.
func (s *lanes) offer(l Lease, fresh bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane, h := s.of(l), held{l, time.Now()}
	switch {
	case s.closed || lane.lacks(l):
		return false
	case fresh && len(lane.fresh) < maxFresh:
		lane.fresh = append(lane.fresh, h)
	case !fresh && len(lane.claimed) < lane.hold && !lane.breaker.open():
		lane.claimed = append(lane.claimed, h)
	default:
		return false
	}
	s.work.Signal()
	s.lacks.Broadcast()
	return true
}

// take blocks until a lease's turn has come; false when the lanes are closed.
func (s *lanes) take() (ticket, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if t, ok := s.next(); ok {
			s.work.Signal() // the next sender looks whether there is more
			return t, true
		}
		s.work.Wait()
	}
	return ticket{}, false
}

func (s *lanes) next() (ticket, bool) {
	for i, l := range s.order {
		if l.running >= s.free || len(l.fresh)+len(l.claimed) == 0 || !l.mayBegin() {
			continue
		}
		settle, ok := l.breaker.allow()
		if ok {
			l.running++
			s.free--
			l.spend()
		}
		s.order = append(slices.Delete(s.order, i, i+1), l)
		t := ticket{l.pop(), l, settle}
		if len(l.claimed) == l.hold/2 {
			select {
			case s.eased <- struct{}{}:
			default:
			}
		}
		return t, true
	}
	return ticket{}, false
}

// pop takes from the fresh and the claimed in turn.
func (l *lane) pop() held {
	from := &l.fresh
	if len(l.fresh) == 0 || (l.turn && len(l.claimed) > 0) {
		from = &l.claimed
	}
	l.turn = !l.turn
	h := (*from)[0]
	*from = (*from)[1:]
	return h
}

// done tells the breaker what an attempt came to, and frees its send, which
// raises the limit of every lane.
func (s *lanes) done(t ticket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.settle(err)
	t.lane.running--
	s.free++
	s.work.Signal()
	s.lacks.Broadcast()
}

// putOff says how long a lease that found no room or no open breaker stays
// away, and whether it is for want of credentials.
func (s *lanes) putOff(l *lane) (wait time.Duration, credentials bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.breaker.putOff(), l.breaker.credentials
}

// close ends take and offer, and returns what was held.
func (s *lanes) close() []Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var left []Lease
	for _, l := range s.order {
		for _, h := range append(l.fresh, l.claimed...) {
			left = append(left, h.Lease)
		}
		l.fresh, l.claimed = nil, nil
	}
	s.work.Broadcast()
	s.lacks.Broadcast()
	return left
}
