package sip

import "time"

const (
	memorySpan = 64 * t1 // as long as copies of an INVITE may come (RFC 3261 section 17.1.1.2)
	memorySize = 1 << 16 // decisions of one generation; a flood makes the memory shorter, not larger
)

// memory holds what was decided on INVITEs for memorySpan at least and twice
// that at most, in two generations. The zero value is empty.
type memory struct {
	young, old map[uint64]verdict
	born       time.Time // of the young generation
}

// recall returns what was decided on key.
func (m *memory) recall(key uint64, now time.Time) (v verdict, known bool) {
	m.age(now)
	if v, known = m.young[key]; known {
		return v, true
	}
	v, known = m.old[key]
	return v, known
}

// keep remembers a decision.
func (m *memory) keep(key uint64, v verdict, now time.Time) {
	m.age(now)
	m.young[key] = v
}

// age begins a new generation when the young one is old or full.
func (m *memory) age(now time.Time) {
	passed := now.Sub(m.born)
	switch {
	case passed < memorySpan && len(m.young) < memorySize:
		return
	case passed < 2*memorySpan:
		m.old = m.young
	default:
		m.old = nil
	}
	m.young, m.born = make(map[uint64]verdict), now
}
