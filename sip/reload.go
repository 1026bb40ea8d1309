package sip

import "slices"

// Reload takes the trunks and limits of o in the place of those there are, from
// the next message on; o must be valid. Calls in progress go on: of a trunk that
// is gone only their audio is heard, and they end with it. They count, as do the
// calls of the last second, towards limits that are new. Nothing else of o
// counts.
func (s *Server) Reload(o Options) {
	o.Trunks = slices.Clone(o.Trunks)
	learnNumbering(o.Trunks)
	s.trunks.replace(o.Trunks)
	s.certified.replace(o.Trunks)
	s.admission.limits.Store(&o.Limits)
	for _, r := range s.accounts.all {
		r.trunk.Store(r.account.trunk(o))
	}
}

// learnNumbering looks at the countries' numbering plans, as the first look is
// slow: not while a caller waits.
func learnNumbering(trunks []Trunk) {
	for _, t := range trunks {
		Normalize("0301234567", t.Country)
	}
}
