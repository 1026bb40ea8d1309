package sip

import (
	"net/netip"
	"slices"
)

// trunkSet finds the trunk of a source address: one map look-up for each
// length of prefix that is configured, however many prefixes there are.
type trunkSet struct {
	lengths    []prefixLength // the longest first: the most specific prefix wins
	registrars *registrars    // of the accounts; nil for none
}

// prefixLength holds the prefixes of one length in one address family.
type prefixLength struct {
	v4     bool
	bits   int
	trunks map[netip.Prefix]*Trunk
}

// newTrunkSet indexes the trunks that are known by their address alone. Of two
// with the same prefix the first counts.
func newTrunkSet(trunks []Trunk) trunkSet {
	var ts trunkSet
	for i := range trunks {
		t := &trunks[i]
		if len(t.TLSName) > 0 {
			continue
		}
		for _, p := range t.From {
			p = unmapPrefix(p).Masked()
			if !p.IsValid() {
				continue
			}
			known := ts.length(p)
			if _, taken := known[p]; !taken {
				known[p] = t
			}
		}
	}
	slices.SortFunc(ts.lengths, func(a, b prefixLength) int { return b.bits - a.bits })
	return ts
}

// length returns the prefixes as long as p.
func (ts *trunkSet) length(p netip.Prefix) map[netip.Prefix]*Trunk {
	for _, l := range ts.lengths {
		if l.v4 == p.Addr().Is4() && l.bits == p.Bits() {
			return l.trunks
		}
	}
	trunks := make(map[netip.Prefix]*Trunk)
	ts.lengths = append(ts.lengths, prefixLength{p.Addr().Is4(), p.Bits(), trunks})
	return trunks
}

// find returns the trunk an address belongs to, that of an account where no
// other has it; nil for a stranger.
func (ts trunkSet) find(addr netip.Addr) *Trunk {
	addr = addr.Unmap()
	for _, l := range ts.lengths {
		if l.v4 != addr.Is4() {
			continue
		}
		p, err := addr.Prefix(l.bits) // drops the zone, as prefixes have none
		if err != nil {
			continue
		}
		if t := l.trunks[p]; t != nil {
			return t
		}
	}
	return ts.registrars.find(addr)
}

// unmapPrefix turns ::ffff:192.0.2.0/120 into 192.0.2.0/24.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
