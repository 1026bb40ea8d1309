package channel

import (
	"strings"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// The GSM 7 bit default alphabet and its extension table, whose characters take
// two septets (3GPP TS 23.038 §6.2.1).
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmTwo   = "\f^{}\\[~]|€"
)

// septets is how many septets a text takes; ok is false for one that needs
// UCS-2.
func septets(s string) (n int, ok bool) {
	for _, c := range s {
		switch {
		case strings.ContainsRune(gsmBasic, c):
			n++
		case strings.ContainsRune(gsmTwo, c):
			n += 2
		default:
			return 0, false
		}
	}
	return n, true
}

// segments is how many messages a text becomes: 160 septets or 70 UTF-16 units
// fit into one, 153 or 67 into each of several (3GPP TS 23.040 §9.2.3.24.1).
func segments(s string) int {
	n, ok := septets(s)
	one, each := 160, 153
	if !ok {
		n, one, each = text.Units(s), 70, 67
	}
	if n <= one {
		return 1
	}
	return (n + each - 1) / each
}

const (
	longestName = 40 // letters of a name that are tried
	leastName   = 4  // letters that still say who it is
)

// smsText says who called, when, and where the note plays, in as many segments.
// Where that is too long, accents go first, then the end of the name, all of
// it, the time; the number, the mark of a repeat and the link stay.
func smsText(n delivery.Note, repeat bool, link string, most int) string {
	fits := func(name string, when bool) (string, bool) {
		said := smsLines(n, name, repeat, when, link)
		if segments(said) <= most {
			return said, true
		}
		folded := fold(said)
		if _, ok := septets(folded); !ok { // another script: nothing is won
			return said, false
		}
		return folded, segments(folded) <= most
	}
	if name := []rune(oneLine(clip(n.Caller.Name))); !n.Caller.Private {
		for keep := min(len(name), longestName); keep >= min(len(name), leastName) && keep > 0; keep-- {
			if said, ok := fits(shortened(name, keep), true); ok {
				return said
			}
		}
	}
	if said, ok := fits("", true); ok {
		return said
	}
	said, _ := fits("", false)
	return said
}

// shortened is the start of a name.
func shortened(name []rune, keep int) string {
	if keep == len(name) {
		return string(name)
	}
	return strings.TrimRight(string(name[:keep]), " ") + "."
}

// smsLines is a text with so much in it.
func smsLines(n delivery.Note, name string, repeat, when bool, link string) string {
	texts := text.For(n.Recipient.Language)
	n.Caller.Name = name
	caption := texts.Caption(n, repeat)
	lines := []string{caption.Title}
	if when {
		lines = append(lines, strings.ReplaceAll(caption.Line, " · ", ", ")) // the point is no letter of GSM 7 bit
	}
	if repeat {
		lines = append(lines, texts.Repeat)
	}
	if link != "" {
		lines = append(lines, texts.Listen+" "+link)
	}
	return strings.Join(lines, "\n")
}
