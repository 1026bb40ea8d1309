package sip

import (
	"cmp"
	"slices"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// caller tells who called: P-Asserted-Identity (RFC 3325 section 9.1), else
// Remote-Party-ID, both only from a believed trunk, else From. Never
// P-Preferred-Identity, which is the caller's own word. Who asked for privacy
// has neither number nor name, whatever else stands there.
func caller(req *sipmsg.Request, t *Trunk) Caller {
	asserted := addresses(req, "P-Asserted-Identity")
	remote := remoteParties(req)
	from := addresses(req, "From")
	if private(req, asserted, remote, from) {
		return Caller{Private: true}
	}
	if !t.Believes() {
		asserted, remote = nil, nil
	}
	for _, identities := range [][]address{asserted, remote, from} {
		if c := identify(identities, t.Country); c != (Caller{}) {
			if t.Believes() {
				c.Trust = trustIn(c.Number, t.Country, asserted, remote, from)
			}
			return c
		}
	}
	return Caller{Private: slices.ContainsFunc(from, address.unavailable)}
}

// identify makes one caller of the identities of one header: a sip and a tel
// URI may stand for the same person (RFC 3325 section 9.1), one with the
// number, one with the name.
func identify(identities []address, country string) Caller {
	var c Caller
	user := ""
	for _, a := range identities {
		if a.unavailable() {
			continue
		}
		if c.Number == "" {
			c.Number = a.uri.number(country)
		}
		user = cmp.Or(user, clean(a.uri.user))
		if strings.Trim(a.name, "+0123456789 -()/.") != "" { // a name, not the number once more
			c.Name = cmp.Or(c.Name, a.name)
		}
	}
	c.Number = cmp.Or(c.Number, user)
	if c.Name == c.Number {
		c.Name = ""
	}
	return c
}

// remoteParties reads Remote-Party-ID (draft-ietf-sip-privacy-04) without the
// entries of other parties than the caller, and without names to be hidden.
func remoteParties(req *sipmsg.Request) []address {
	var list []address
	for _, a := range addresses(req, "Remote-Party-ID") {
		if party, ok := a.params.get("party"); ok && !strings.EqualFold(party, "calling") {
			continue
		}
		if privacy, _ := a.params.get("privacy"); strings.EqualFold(privacy, "name") {
			a.name = ""
		}
		list = append(list, a)
	}
	return list
}

// private says whether the caller asked not to be named: Privacy id, user or
// header (RFC 3323 section 4.2, RFC 3325 section 9.3), an anonymous URI, or
// Remote-Party-ID with privacy=full or uri.
func private(req *sipmsg.Request, asserted, remote, from []address) bool {
	for _, v := range headerValues(req, "Privacy") {
		for token := range splitOutside(v, ';') {
			switch strings.ToLower(token) {
			case "id", "user", "header":
				return true
			}
		}
	}
	for _, a := range remote {
		switch privacy, _ := a.params.get("privacy"); strings.ToLower(privacy) {
		case "full", "uri":
			return true
		}
	}
	for _, identities := range [][]address{asserted, remote, from} {
		for _, a := range identities {
			if a.restricted() {
				return true
			}
		}
	}
	return false
}

// restricted says whether an identity is one of a caller who wants not to be
// shown: anonymous (RFC 3323 section 4.1.1.3), or what PBXs write instead.
func (a address) restricted() bool {
	return a.uri.anonymous() || a.stands("anonymous", "restricted")
}

// unavailable says whether an identity is one of a caller whose number the
// network does not know (3GPP TS 24.229): another header may.
func (a address) unavailable() bool {
	return strings.EqualFold(a.uri.host, "unknown.invalid") || a.stands("unavailable", "unknown")
}

// stands says whether a word takes the place of the user part, or of the
// display name where there is no user part.
func (a address) stands(words ...string) bool {
	shown := cmp.Or(a.uri.user, a.name)
	return slices.ContainsFunc(words, func(word string) bool { return strings.EqualFold(shown, word) })
}
