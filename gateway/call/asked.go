package call

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/sip"
)

const (
	askedSpan    = time.Hour
	askedSources = 4096 // that are told apart at once; the others count as one
)

// asked remembers which numbers each source called within askedSpan, as far as
// its limit goes: every answer tells that there is a mailbox. The zero value is
// ready.
type asked struct {
	mu      sync.Mutex
	sources map[netip.Addr]*source
}

// source is what one address asked for.
type source struct {
	since   time.Time
	numbers map[number]struct{}
}

// number is a hash of who was called.
type number [16]byte

// numberOf is the number whose mailbox was found. Where none was it is all
// that the call named: whoever guesses may hide one guess behind another.
func numberOf(callees []sip.Callee, callee sip.Callee, found bool) (n number) {
	if found {
		callees = []sip.Callee{callee}
	}
	h := sha256.New()
	for _, c := range callees {
		h.Write([]byte(cmp.Or(c.Number, c.User)))
		h.Write([]byte{0})
	}
	copy(n[:], h.Sum(nil))
	return n
}

// admit counts a number and says whether its source may call it: limit
// different ones, or all when it is 0.
func (a *asked) admit(from netip.Addr, n number, limit int, now time.Time) bool {
	if limit == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.source(from, now)
	if _, before := s.numbers[n]; before {
		return true
	}
	if len(s.numbers) >= limit {
		return false
	}
	s.numbers[n] = struct{}{}
	return true
}

// source returns what an address asked for. One machine has a whole /64 of
// IPv6 (RFC 4291 section 2.5.4). The lock is held.
func (a *asked) source(from netip.Addr, now time.Time) *source {
	from = from.Unmap()
	if from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	s := a.sources[from]
	if s == nil && len(a.sources) >= askedSources {
		a.forget(now)
		if len(a.sources) >= askedSources {
			from = netip.Addr{}
			s = a.sources[from]
		}
	}
	if s == nil || now.Sub(s.since) >= askedSpan {
		if a.sources == nil {
			a.sources = make(map[netip.Addr]*source)
		}
		s = &source{since: now, numbers: make(map[number]struct{})}
		a.sources[from] = s
	}
	return s
}

// forget drops what is over. The lock is held.
func (a *asked) forget(now time.Time) {
	for from, s := range a.sources {
		if now.Sub(s.since) >= askedSpan {
			delete(a.sources, from)
		}
	}
}
