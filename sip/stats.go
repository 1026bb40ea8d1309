package sip

import "sync/atomic"

// Stats are counters since Listen.
type Stats struct {
	Active     int    // calls whose handler runs
	Calls      uint64 // handed to the handler
	Answered   uint64 // with a 200 OK
	Refused    uint64 // by the handler
	NoACK      uint64 // ended because no ACK came
	Malformed  uint64 // datagrams that cannot be SIP and requests that are not valid
	Panics     uint64 // in handlers and elsewhere, each of which cost one call
	Logins     uint64 // refused: a wrong user, password or realm
	Strangers  uint64 // datagrams and connections from outside every trunk
	Late       uint64 // INVITEs dropped because they had waited too long when they were read
	Connected  int    // connections that stand
	TooMany    uint64 // connections over a cap
	Unready    uint64 // connections whose TLS or WebSocket handshake failed
	Idle       uint64 // connections closed because nothing was said
	SockErrors uint64 // of sockets, survived

	TurnedAway map[string]uint64 // new calls that got 503 at once, by why: draining, calls, rate, trunk_calls, trunk_rate

	Subscriptions int    // to message lamps
	Notified      uint64 // NOTIFYs that were taken
	Unnotified    uint64 // NOTIFYs that were refused or not answered
}

// counters are those of the Stats that nobody else counts.
type counters struct {
	calls, answered, refused, noACK, malformed, panics, notified, unnotified atomic.Uint64
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Active:     s.Active(),
		Calls:      s.stats.calls.Load(),
		Answered:   s.stats.answered.Load(),
		Refused:    s.stats.refused.Load(),
		NoACK:      s.stats.noACK.Load(),
		Malformed:  s.stats.malformed.Load() + s.drops.junk.Load(),
		Panics:     s.stats.panics.Load(),
		Logins:     s.logins.refused.count.Load(),
		Strangers:  s.drops.strangers.count.Load(),
		Late:       s.drops.late.Load(),
		Connected:  s.proven.count(),
		TooMany:    s.drops.connections.Load(),
		Unready:    s.drops.unready.count.Load(),
		Idle:       s.drops.idle.Load(),
		SockErrors: s.drops.errors.Load(),

		TurnedAway: s.admission.counts(),

		Subscriptions: s.subscriptions.count(),
		Notified:      s.stats.notified.Load(),
		Unnotified:    s.stats.unnotified.Load(),
	}
}
