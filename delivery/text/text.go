package text

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/afterbeep/afterbeep/delivery"
)

// Texts are all texts of one language. A text with %s names who is meant.
type Texts struct {
	Language string // BCP 47, like "en"

	VoiceFrom, VideoFrom, MissedFrom string // "Voice message from %s": titles
	Private                          string // in place of a caller's number
	FromPrivate                      string // Private as it stands in a title
	CallBack                         string // before the number to call

	Reasons map[string]string // what to say of a note's reason: busy, unreachable, forwarded, declined; missed needs no word
	Trust   map[string]string // what to say of a caller's number: verified, doubtful
	Partial string            // the end may be missing
	Repeat  string            // this may be a second copy

	Days   [7]string  // Sunday first
	Months [12]string // January first
	First  string     // how the first day of a month is written, like 1er
	// Date is the pattern of a day and a time: {day} {d} {month} {time}.
	Date string

	Play    string // on a button that asks for the note
	Listen  string // before a link to a page that plays it
	Expired string // the note's time is over

	Linked   string // to a chat: notes for %s come here from now on
	Unlinked string // no more notes come to this chat
	BadCode  string // the code is not good (any more): get a new one on the inbox page
	Help     string // to a stranger in the chat: what this is, and that a link comes from the inbox page
	StopWord string // how to end it, said with Linked; the word itself is /stop

	Page map[string]string // what the inbox page alone says, see Words
}

// Words are all that the inbox page says, by the names its script knows; {0} and
// {1} are gaps for it to fill.
func (t *Texts) Words() map[string]string {
	words := maps.Clone(t.Page)
	words["private"], words["play"], words["cut_off_hint"] = t.Private, t.Play, t.Partial
	for trust, word := range t.Trust {
		words["trust_"+trust] = word
	}
	return words
}

// Caption is what is said with a note.
type Caption struct {
	Title    string // "Voice message from Maria K. (+49 30 55501234)"
	Line     string // "Sunday 22 November, 14:03 · 0:12 · the line was busy"
	Hints    []string
	Number   string // to call back, as people write it; "" for private callers
	URI      string // tel:+493055501234 (RFC 3966), "" when Number has more than digits
	callBack string
}

// Caption is what to say with a note; repeat says that it may be a second copy.
func (t *Texts) Caption(n delivery.Note, repeat bool) Caption {
	c := Caption{Title: fmt.Sprintf(t.title(n.Kind), cmp.Or(named(n.Caller), t.FromPrivate)), callBack: t.CallBack}
	parts := []string{t.When(n)}
	if n.Kind != delivery.Missed {
		parts = append(parts, Length(n.Duration))
	}
	if reason := t.Reasons[n.Reason]; reason != "" {
		parts = append(parts, reason)
	}
	if trust := t.Trust[n.Caller.Trust]; trust != "" && !n.Caller.Private {
		parts = append(parts, trust)
	}
	c.Line = strings.Join(parts, " · ")
	if n.Partial {
		c.Hints = append(c.Hints, t.Partial)
	}
	if repeat {
		c.Hints = append(c.Hints, t.Repeat)
	}
	if number := visible(n.Caller.Number); !n.Caller.Private && number != "" {
		c.Number = Display(number)
		if digits := strings.TrimPrefix(number, "+"); digits != "" && strings.Trim(digits, "0123456789") == "" {
			c.URI = "tel:" + number
		}
	}
	return c
}

// Plain is the caption in lines, for services without markup.
func (c Caption) Plain() string {
	lines := append([]string{c.Title, c.Line}, c.Hints...)
	if c.Number != "" {
		lines = append(lines, c.callBack+" "+c.Number)
	}
	return strings.Join(lines, "\n")
}

// Short is as much of the caption as fits into limit UTF-16 code units: the
// title to the last.
func (c Caption) Short(limit int) string {
	bare := Caption{Title: c.Title, Line: c.Line}
	hinted := bare
	hinted.Hints = c.Hints
	for _, text := range []string{c.Plain(), hinted.Plain(), bare.Plain(), c.Title} {
		if Units(text) <= limit {
			return text
		}
	}
	return Clip(c.Title, limit)
}

func (t *Texts) title(k delivery.Kind) string {
	switch k {
	case delivery.Missed:
		return t.MissedFrom
	case delivery.Video:
		return t.VideoFrom
	case delivery.Voice:
	}
	return t.VoiceFrom
}

// Who is the caller: "Maria K. (+49 30 55501234)", or "Private number". What
// came from outside stays on its line and in its direction.
func (t *Texts) Who(c delivery.Caller) string { return cmp.Or(named(c), t.Private) }

// Name is a name from outside as it may stand alone in a line of text.
func Name(name string) string { return visible(name) }

// named is the caller by name and number; "" when neither is known.
func named(c delivery.Caller) string {
	name, number := visible(c.Name), Display(visible(c.Number))
	switch {
	case c.Private:
		return ""
	case name == "":
		return number
	case number == "":
		return isolated(name)
	default:
		return isolated(name) + " (" + number + ")"
	}
}

// When is when a note's call came in, at the recipient's local time.
func (t *Texts) When(n delivery.Note) string {
	zone, err := time.LoadLocation(n.Recipient.Timezone)
	if err != nil {
		zone = time.UTC
	}
	at := n.CalledAt.In(zone)
	day := fmt.Sprint(at.Day())
	if at.Day() == 1 {
		day = t.First
	}
	return upperFirst(strings.NewReplacer(
		"{day}", t.Days[at.Weekday()], "{d}", day, "{month}", t.Months[at.Month()-1], "{time}", at.Format("15:04"),
	).Replace(t.Date))
}

// Length writes a duration as a player does: "0:12", "1:02:03".
func Length(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Display writes a number as people do, "+49 30 55501234"; what is no E.164
// number stays as it is.
func Display(number string) string {
	parsed, err := phonenumbers.Parse(number, "") // without a region, only numbers with "+" parse
	if err != nil {
		return number
	}
	return phonenumbers.Format(parsed, phonenumbers.INTERNATIONAL)
}
