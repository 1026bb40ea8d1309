package channel

import (
	"html"
	"strings"
	"unicode/utf16"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// Limits of Telegram's texts in UTF-16 units, after its markup is read.
const (
	telegramCaption = 1024
	telegramMessage = 4096
	telegramTopic   = 128 // a topic's name
)

// telegramHTML is what is said with a parcel's note, the first line bold. The
// number to call stands there as people write it: clients make it a link, which
// they do not with tel: in HTML.
func telegramHTML(p delivery.Parcel, limit int) string {
	title, rest, more := strings.Cut(captionOf(p).Short(limit), "\n")
	said := "<b>" + html.EscapeString(title) + "</b>"
	if more {
		said += "\n" + html.EscapeString(rest)
	}
	return said
}

func captionOf(p delivery.Parcel) text.Caption {
	return text.For(p.Note.Recipient.Language).Caption(p.Note, p.Repeat)
}

// topicName is what a caller's topic is called.
func topicName(n delivery.Note) string {
	return clip16(text.For(n.Recipient.Language).Who(n.Caller), telegramTopic)
}

func units(s string) (n int) {
	for _, c := range s {
		n += max(1, utf16.RuneLen(c))
	}
	return n
}

// clip16 is as much of a text as limit UTF-16 units hold, with "…" where some
// is left out.
func clip16(s string, limit int) string {
	if units(s) <= limit {
		return s
	}
	n := 0
	for i, c := range s {
		if n += max(1, utf16.RuneLen(c)); n > limit-1 {
			return s[:i] + "…"
		}
	}
	return s
}
