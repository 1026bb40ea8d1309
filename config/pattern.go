package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A mailbox's number stands for itself, or for many numbers, each with a
// mailbox of its own and all with the same settings:
//
//	200-299       a range: as many digits on both sides
//	+49301234*    a wildcard: whatever digits follow, or none
//
// Both stand for digits alone, with or without "+": *97 and room-12 are SIP
// user parts like any other.

// pattern is what a mailbox's number stands for.
type pattern struct {
	prefix      string // of a wildcard
	wild        bool
	first, last string // of a range; "" for none
}

// longestNumber is how many digits a wildcard takes, those of its own among
// them: as E.164 has (ITU-T E.164 section 6.2.1). Who dials on and on does not
// open one mailbox after the other.
const longestNumber = 15

var (
	oneNumber  = regexp.MustCompile(`^(\+?[0-9]+#?|[*#][0-9*#]*)$`) // *97 and 97# are dialled too
	dialplan   = regexp.MustCompile(`^_?\+?[0-9]*([XZN]|\[[0-9-]+\])+[.!]?$`)
	wildcard   = regexp.MustCompile(`^\+?[0-9]*\*$`)
	digitRange = regexp.MustCompile(`^(\+?[0-9]+)-(\+?[0-9]+)$`)
)

// parsePattern reads a mailbox's number. The error says what was expected.
func parsePattern(number string) (pattern, error) {
	if !strings.ContainsAny(number, "*-") {
		return pattern{}, nil
	}
	if wildcard.MatchString(number) {
		return pattern{wild: true, prefix: strings.TrimSuffix(number, "*")}, nil
	}
	ends := digitRange.FindStringSubmatch(number)
	if ends == nil {
		return pattern{}, nil
	}
	first, last := ends[1], ends[2]
	if len(first) != len(last) || (first[0] == '+') != (last[0] == '+') || first > last {
		return pattern{}, fmt.Errorf("expected a range from a number to a higher one with as many digits, like 200-299 or +4930123400-+4930123499, not %q", number)
	}
	return pattern{first: first, last: last}, nil
}

// garbled says whether a mailbox's number looks like a pattern, or like a number
// as people write it, and is neither: no call could be for it. What has letters
// is a SIP user part like any other, unless Asterisk would take it for digits.
func garbled(number string) bool {
	if dialplan.MatchString(strings.ToUpper(number)) {
		return true
	}
	letters := strings.ContainsFunc(number, unicode.IsLetter)
	return !letters && !oneNumber.MatchString(number) && !wildcard.MatchString(number) && !digitRange.MatchString(number)
}

// exact says that the number stands for itself.
func (p pattern) exact() bool { return !p.wild && p.first == "" }

// isDigits says whether a pattern can stand for the number.
func isDigits(number string) bool {
	digits := strings.TrimPrefix(number, "+")
	return digits != "" && len(digits) <= longestNumber && strings.Trim(digits, "0123456789") == ""
}
