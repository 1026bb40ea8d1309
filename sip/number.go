package sip

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

const (
	// shortestNational is how many digits a number without "+" needs at least:
	// anything shorter is an extension.
	shortestNational = 7
	// longestDialled is E.164's 15 digits with room for prefixes.
	longestDialled = 24
)

// Normalize turns the user part of a URI into E.164 with "+", or "" when it
// is no telephone number: a name, a service code, an extension. It takes "+",
// the country's international prefix, "00", the country's national prefix,
// visual separators and ;phone-context= (RFC 3966 section 5.1.5). country is
// ISO 3166 with two letters, "" when unknown. A number that says by its
// prefix what it is needs a possible length; bare digits must lie in the
// country's numbering plan, as extensions look just like them.
func Normalize(user, country string) string {
	number, ps, _ := strings.Cut(user, ";")
	dialled := digits(number)
	if dialled == "" {
		return ""
	}
	if dialled[0] != '+' {
		if context, _ := params(ps).get("phone-context"); strings.HasPrefix(unescape(context), "+") {
			dialled = digits(unescape(context)) + dialled
		}
	}
	country = strings.ToUpper(country)
	if e164 := e164(dialled, country); e164 != "" {
		return e164
	}
	if rest, ok := strings.CutPrefix(dialled, "00"); ok { // many trunks write it whatever the country dials
		return e164("+"+rest, "")
	}
	return ""
}

// e164 reads digits as dialled in the country.
func e164(dialled, country string) string {
	if dialled[0] != '+' && (country == "" || len(dialled) < shortestNational) {
		return ""
	}
	n, err := phonenumbers.Parse(dialled, country)
	if err != nil || phonenumbers.IsPossibleNumberWithReason(n) != phonenumbers.IS_POSSIBLE {
		return ""
	}
	if !prefixed(dialled, country) && !phonenumbers.IsValidNumber(n) {
		return ""
	}
	return phonenumbers.Format(n, phonenumbers.E164)
}

// prefixed says whether the digits begin with "+" or the country's prefix for
// national calls, with which no extension begins.
func prefixed(dialled, country string) bool {
	if dialled[0] == '+' {
		return true
	}
	national := phonenumbers.GetNddPrefixForRegion(country, true)
	return national != "" && strings.HasPrefix(dialled, national)
}

// digits strips visual separators (RFC 3966 section 5.1.1, and the space and
// slash people write); "" when anything but digits and a leading "+" remains.
func digits(s string) string {
	var b [longestDialled]byte
	n := 0
	for i := range len(s) {
		switch c := s[i]; c {
		case '-', '.', '(', ')', ' ', '/':
			continue
		case '+':
			if n > 0 {
				return ""
			}
		default:
			if c < '0' || c > '9' {
				return ""
			}
		}
		if n == len(b) {
			return ""
		}
		b[n] = s[i]
		n++
	}
	return string(b[:n])
}
