package channel

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// whole are letters that are no base with a mark, and signs of typesetting.
var whole = strings.NewReplacer(
	"ł", "l", "Ł", "L", "đ", "d", "Đ", "D", "ı", "i", "œ", "oe", "Œ", "OE", "þ", "th", "Þ", "Th",
	"’", "'", "‘", "'", "“", `"`, "”", `"`, "„", `"`, "–", "-", "—", "-",
)

// fold writes Latin letters without their marks, "Jiří" as "Jiri", and signs as
// typewriters have them; others stay.
func fold(s string) string {
	return whole.Replace(strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Mn, c) {
			return -1
		}
		return c
	}, norm.NFKD.String(s)))
}
