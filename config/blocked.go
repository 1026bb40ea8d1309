package config

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/afterbeep/afterbeep/sip"
)

// private stands among the blocked callers for those who hide their number.
const private = "private"

// Blocks says whether the mailbox does not take calls of a caller. Numbers are
// compared in E.164, read with the country of the trunk.
func (m *Mailbox) Blocks(c sip.Caller, country string) bool {
	for _, blocked := range m.Blocked {
		if c.Private || c.Number == "" {
			if blocked == private {
				return true
			}
			continue
		}
		if blocked == c.Number || sip.Normalize(blocked, country) == c.Number {
			return true
		}
	}
	return false
}

// hidden are the words by which people, PBXs and carriers know those who hide
// their number.
var hidden = []string{private, "anonymous", "withheld", "restricted", "unavailable", "hidden"}

// checkBlocked says what is wrong with the callers that a mailbox blocks. A
// caller is a number or, among the users of a PBX, a name.
func (d *decoder) checkBlocked(key string, callers []string) {
	for i, caller := range callers {
		at, word := fmt.Sprintf("%s[%d]", key, i), strings.ToLower(caller)
		near := nearest(word, hidden)
		switch {
		case caller == private || oneNumber.MatchString(caller):
		case near != "" && edits(word, near) <= 1: // with two Holden would be hidden
			d.problem(at, "callers who hide their number are called %s here, not %q", private, caller)
		case !strings.ContainsFunc(caller, unicode.IsLetter), strings.ContainsFunc(caller, unicode.IsSpace), strings.ContainsAny(caller, "@:<>*"):
			d.problem(at, `expected one whole number in digits alone, like "+493055501234", or %s, not %q`, private, caller)
		}
	}
}
