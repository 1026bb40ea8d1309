package sip

import "slices"

// Reload takes other trunks in the place of those there are, from the next
// message on; options with them must be valid. Calls in progress go on: of a
// trunk that is gone only their audio is heard, and they end with it. Accounts
// keep the settings that the trunk of their name had at the start.
func (s *Server) Reload(trunks []Trunk) {
	trunks = slices.Clone(trunks)
	learnNumbering(trunks)
	s.trunks.replace(trunks)
	s.certified.replace(trunks)
}

// learnNumbering looks at the countries' numbering plans, as the first look is
// slow: not while a caller waits.
func learnNumbering(trunks []Trunk) {
	for _, t := range trunks {
		Normalize("0301234567", t.Country)
	}
}
