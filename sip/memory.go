package sip

import "time"

// memory holds values for span at least and twice that at most, in two
// generations: forgetting costs nothing. It is not safe for use by several
// goroutines at once.
type memory[K comparable, V any] struct {
	span time.Duration
	size int // values of one generation: a flood makes the memory shorter, not larger; 0 is no bound

	young, old map[K]V
	born       time.Time // of the young generation
}

// recall returns what is held for key.
func (m *memory[K, V]) recall(key K, now time.Time) (v V, known bool) {
	m.age(now)
	if v, known = m.young[key]; known {
		return v, true
	}
	v, known = m.old[key]
	return v, known
}

// keep holds a value from now on.
func (m *memory[K, V]) keep(key K, v V, now time.Time) {
	m.age(now)
	m.young[key] = v
}

// age begins a new generation when the young one is old or full.
func (m *memory[K, V]) age(now time.Time) {
	passed := now.Sub(m.born)
	full := m.size > 0 && len(m.young) >= m.size
	switch {
	case m.young != nil && passed < m.span && !full:
		return
	case passed < 2*m.span:
		m.old = m.young
	default:
		m.old = nil
	}
	m.young, m.born = make(map[K]V), now
}
