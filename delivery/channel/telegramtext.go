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
	telegramFirst   = 512 // what of it the first line may take
	telegramTopic   = 128 // a topic's name
)

// telegramHTML is what is said with a parcel's note, the first line bold and
// one line whatever the caller is called. The
// number to call stands there as people write it: clients make it a link, which
// they do not with tel: in HTML.
func telegramHTML(p delivery.Parcel, limit int) string {
	c := telegramCaptionOf(p)
	title := clip16(oneLine(c.Title), telegramFirst)
	rest := clip16(strings.TrimPrefix(c.Plain(), c.Title), limit-units(title))
	return "<b>" + html.EscapeString(title) + "</b>" + html.EscapeString(rest)
}

// telegramTitle is what an audio file is called.
func telegramTitle(p delivery.Parcel) string {
	return clip16(oneLine(telegramCaptionOf(p).Title), telegramFirst)
}

func telegramCaptionOf(p delivery.Parcel) text.Caption {
	return text.For(p.Note.Recipient.Language).Caption(p.Note, p.Repeat)
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
