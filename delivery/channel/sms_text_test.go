package channel

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

const smsLink = "https://notes.example/note/01jcrq4a8vq6x0c3m5y7k9t2wz?expires=1773000000&signature=Qh3nq0b8yV0cWmYk4l1x7A"

func TestSegments(t *testing.T) {
	for said, want := range map[string]int{
		"": 1, strings.Repeat("a", 160): 1, strings.Repeat("a", 161): 2, strings.Repeat("a", 306): 2, strings.Repeat("a", 307): 3,
		strings.Repeat("€", 80): 1, strings.Repeat("€", 80) + "a": 2, // two septets each
		strings.Repeat("ж", 70): 1, strings.Repeat("ж", 71): 2, strings.Repeat("ж", 134): 2, strings.Repeat("ж", 135): 3,
		strings.Repeat("🙂", 35): 1, strings.Repeat("🙂", 35) + "a": 2, // two UTF-16 units each
		strings.Repeat("é", 160): 1, strings.Repeat("ê", 71): 2, // the alphabet has one of them
	} {
		if got := segments(said); got != want {
			t.Errorf("%d letters like %.4q: %d segments, want %d", utf8.RuneCountInString(said), said, got, want)
		}
	}
}

// However a caller is called: two segments, the number and the whole link.
func TestSMSText(t *testing.T) {
	for name, tc := range map[string]struct {
		caller delivery.Caller
		want   string // of the first line
	}{
		"plain":                                {delivery.Caller{Name: "Maria K.", Number: "+33612345678"}, "Voice message from Maria K. (+33 6 12 34 56 78)"},
		"GSM letters":                          {delivery.Caller{Name: "Jürgen Müßig", Number: "+33612345678"}, "Voice message from Jürgen Müßig (+33 6 12 34 56 78)"},
		"accents":                              {delivery.Caller{Name: "Jiří Łoś", Number: "+33612345678"}, "Voice message from Jiri Los (+33 6 12 34 56 78)"},
		"long":                                 {delivery.Caller{Name: strings.Repeat("Maria Kowalczyk ", 30), Number: "+33612345678"}, "Voice message from Maria Kowalczyk Maria Kowalczyk Maria Ko. (+33 6 12 34 56 78)"},
		"another script, which leaves no room": {delivery.Caller{Name: "Зоя", Number: "+33612345678"}, "Voice message from +33 6 12 34 56 78"},
		"private":                              {delivery.Caller{Private: true, Name: "x"}, "Voice message from a private number"},
	} {
		n := sampleNote()
		n.Caller, n.Partial = tc.caller, false
		got := smsText(n, false, smsLink, 2)
		if first, _, _ := strings.Cut(got, "\n"); first != tc.want || segments(got) > 2 || !strings.HasSuffix(got, "\nListen: "+smsLink) {
			t.Errorf("%s: %d segments: %q", name, segments(got), got)
		}
	}
	n := sampleNote()
	n.Kind, n.Caller.Name = delivery.Missed, "Зоя"
	if got, want := smsText(n, false, "", 2), "Missed call from Зоя (+33 6 12 34 56 78)\nSunday 1 March, 11:00, the line was busy"; got != want {
		t.Errorf("missed: %q", got)
	}
	n.Kind, n.Caller.Name = delivery.Voice, "Maria"
	if got := smsText(n, true, smsLink, 2); !strings.Contains(got, "second copy") || segments(got) > 2 {
		t.Errorf("a repeat: %q", got)
	}
	if got := smsText(n, false, smsLink, 1); got != "Voice message from +33 6 12 34 56 78\nListen: "+smsLink {
		t.Errorf("too little room: %q", got)
	}
}

// In every language the number and the whole link fit into two segments, what
// needs UCS-2 among them.
func TestSMSTextInEveryLanguage(t *testing.T) {
	for language := range text.Table() {
		for _, name := range []string{"Maria K.", "Jiří Łoś", "Зоя", "", strings.Repeat("Kowalczyk ", 20)} {
			for _, kind := range []delivery.Kind{delivery.Voice, delivery.Missed} {
				n := sampleNote()
				n.Recipient.Language, n.Caller.Name, n.Kind = language, name, kind
				link := smsLink
				if kind == delivery.Missed {
					link = ""
				}
				got := smsText(n, false, link, 2)
				if segments(got) > 2 || !strings.Contains(got, "+33 6 12 34 56 78") || !strings.HasSuffix(got, link) {
					t.Errorf("%s: %d segments: %q", language, segments(got), got)
				}
				if name == "Maria K." && !strings.Contains(got, name) {
					t.Errorf("%s lacks the name: %q", language, got)
				}
			}
		}
	}
}

// In every language a repeat says that it is one, however little room there is.
func TestSMSRepeatInEveryLanguage(t *testing.T) {
	for language := range text.Table() {
		for most := 1; most <= 3; most++ {
			n := sampleNote()
			n.Recipient.Language = language
			got, mark := smsText(n, true, smsLink, most), text.For(language).Repeat
			if !strings.Contains(got, mark) && !strings.Contains(got, fold(mark)) {
				t.Errorf("%s, at most %d segments: %q does not say %q", language, most, got, mark)
			}
		}
	}
}

func FuzzSMSText(f *testing.F) {
	f.Add("Maria", "+33612345678", 2)
	f.Add("Зоя 🙂\u202e", "", 1)
	f.Add("Jiří\r\n", "private", 3)
	f.Fuzz(func(t *testing.T, name, number string, most int) {
		n := sampleNote()
		n.Caller = delivery.Caller{Name: name, Number: number}
		got := smsText(n, false, smsLink, 1+(most&7))
		if !strings.HasSuffix(got, smsLink) {
			t.Errorf("the link is not whole: %q", got)
		}
	})
}
