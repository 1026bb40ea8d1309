package text

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxVisible is how much of a caller's name or number is shown.
const maxVisible = 80 // runes

// visible is a name or number from outside as it may stand in a line of text:
// without control characters, line breaks, and what turns the direction of the
// text around it (Unicode TR9 2.1 to 2.4), and of bounded length.
func visible(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == utf8.RuneError, r == '\ufeff':
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(unlinked(s)), " ")
	if runes := []rune(s); len(runes) > maxVisible {
		s = strings.TrimSpace(string(runes[:maxVisible-1])) + "…"
	}
	return s
}

// unlinked parts a caller's text where a chat or mail program would make it
// something to tap: an address, a mention, a command to the bot, or the encoded
// word of a mail's header (RFC 2047), which would say what nobody has seen here.
func unlinked(s string) string {
	var out strings.Builder
	last := ' '
	for _, r := range s {
		switch word := unicode.IsLetter(r) || unicode.IsDigit(r); {
		case word && strings.ContainsRune(".．。｡․﹒:：@＠#", last),
			word && last == '/' && startsWord(out.String()),
			r == '/' && last == ':',
			r == '?' && last == '=':
			out.WriteByte(' ')
		}
		out.WriteRune(r)
		last = r
	}
	return out.String()
}

// startsWord says that the last sign of a text stands at the start of a word.
func startsWord(s string) bool {
	before := strings.TrimRight(s[:len(s)-1], "/")
	return before == "" || strings.HasSuffix(before, " ")
}

// isolated keeps a name that runs from right to left from turning the number
// after it around (Unicode TR9 2.4): FSI and PDI.
func isolated(name string) string {
	rightToLeft := func(r rune) bool {
		return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Adlam)
	}
	if strings.ContainsFunc(name, rightToLeft) {
		return "\u2068" + name + "\u2069"
	}
	return name
}

func upperFirst(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[size:]
}

// Units is the length of a text in UTF-16 code units, in which chat services and
// SMS count.
func Units(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// Clip is as much of a text as limit UTF-16 code units hold, with "…" where some
// is left out.
func Clip(s string, limit int) string {
	if Units(s) <= limit {
		return s
	}
	if limit <= 0 {
		return ""
	}
	left := limit - 1
	for i, r := range s {
		if left -= utf16.RuneLen(r); left < 0 {
			return strings.TrimSpace(s[:i]) + "…"
		}
	}
	return s
}
