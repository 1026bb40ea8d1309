package sip

import (
	"fmt"
	"slices"
	"strings"
)

// refuseAnonymous is Trunk.Anonymous where callers must show a number.
const refuseAnonymous = "refuse"

// calleeSources are the places that tell who was called by this trunk, the best
// first. Those that the trunk's policy leaves out come last, and tell no more
// than why the call went on.
func (t *Trunk) calleeSources() []calleeSource {
	if len(t.Headers) == 0 {
		return calleeSources
	}
	sources := slices.Clone(calleeSources)
	rank := func(s calleeSource) int {
		i := slices.IndexFunc(t.Headers, func(h string) bool { return strings.EqualFold(h, s.header) })
		if i < 0 {
			return len(t.Headers)
		}
		return i
	}
	slices.SortStableFunc(sources, func(a, b calleeSource) int { return rank(a) - rank(b) })
	for i, s := range sources {
		sources[i].decides = rank(s) < len(t.Headers)
	}
	return sources
}

// policy adds what is wrong with how a trunk is to be read and told.
func (m *mistakes) policy(key string, t Trunk) {
	var known []string
	for _, s := range calleeSources {
		known = append(known, s.header)
	}
	for i, h := range t.Headers {
		at := fmt.Sprintf("%sheaders[%d]", key, i)
		switch h = strings.ToLower(h); {
		case !slices.Contains(known, h):
			m.add(at, "expected %s, not %q", strings.Join(known, " or "), h)
		case slices.ContainsFunc(t.Headers[:i], func(before string) bool { return strings.EqualFold(before, h) }):
			m.add(at, "%s stands in the list already", h)
		}
	}
	if t.MWI == "" {
		return
	}
	if _, err := lampURI(t.MWI, "101"); err != nil {
		m.add(key+"mwi", "%v", err)
	}
}
