package channel

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/afterbeep/afterbeep/delivery"
)

// redactor takes secrets, numbers and names out of texts that come from
// outside.
type redactor struct{ secrets []string }

// newRedactor knows a channel's secrets: those given, and every part of its
// address that may be one.
func newRedactor(address *url.URL, secrets ...string) redactor {
	secrets = append(secrets, address.String(), address.RawQuery)
	for part := range strings.SplitSeq(address.Path, "/") {
		if len(part) >= 8 { // a shorter one is a word
			secrets = append(secrets, part)
		}
	}
	for _, values := range address.Query() {
		secrets = append(secrets, values...)
	}
	if address.User != nil {
		password, _ := address.User.Password()
		secrets = append(secrets, address.User.String(), address.User.Username(), password)
	}
	return redactor{secrets}
}

// digits is a run that could be a phone number however it is written.
var digits = regexp.MustCompile(`\+?\d[\d\s()./-]{4,}\d`)

const (
	hidden     = "[…]"
	maxExcerpt = 200     // runes that are kept
	maxSearch  = 4 << 10 // bytes that they are taken from
)

// excerpt is the start of a service's answer as one line of text, without the
// channel's secrets and without what would say who called whom.
func (r redactor) excerpt(body []byte, n delivery.Note) string {
	text := oneLine(strings.ToValidUTF8(string(body[:min(len(body), maxSearch)]), " "))
	text = r.hide(text, slices.Concat(
		[]string{n.Caller.Number, n.Recipient.Number}, spellings(n.Caller.Name), spellings(n.Recipient.Name),
	)...)
	text = digits.ReplaceAllString(text, hidden)
	if runes := []rune(text); len(runes) > maxExcerpt {
		text = string(runes[:maxExcerpt]) + "…"
	}
	return text
}

// oneLine is a text on one line, without what cannot be seen.
func oneLine(text string) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// spellings are a name as a service may write it: whole, and each word of it,
// where quotes and brackets are escaped.
func spellings(name string) []string {
	words := strings.FieldsFunc(name, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	return append(words, name, oneLine(name))
}

// hide takes the secrets, and what else is given, out of a text: the longest
// first, as one may be part of another.
func (r redactor) hide(text string, more ...string) string {
	all := slices.Concat(r.secrets, more)
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range all {
		if len(secret) > 2 { // shorter ones would leave no text at all
			text = strings.ReplaceAll(text, secret, hidden)
		}
	}
	return text
}
