package web

import (
	"strings"
	"testing"

	"golang.org/x/text/language"

	"github.com/afterbeep/afterbeep/delivery/text"
)

func TestPageSpeaks(t *testing.T) {
	for _, c := range []struct{ mailbox, accepted, tag, texts string }{
		{"de", "fr", "de", "de"},
		{"de-AT", "", "de-AT", "de"},
		{"pt_BR", "de", "pt-BR", "pt"},
		{"ja", "de", "en", "en"}, // what its mailbox is set to: notes come in English, too
		{"de-toolongtobeone", "", "de", "de"},
		{"deu", "fr", "de", "de"},
		{"", "", "en", "en"},
		{"", "ja", "en", "en"},
		{"", "ja, fr-CH;q=0.8, de;q=0.9", "de", "de"},
		{"", "fr-CH, de;q=0.9", "fr-CH", "fr"},
		{"", "tr;q=x,,;", "en", "en"},
	} {
		tag, texts := speak(c.mailbox, c.accepted)
		if tag != c.tag || texts.Language != c.texts {
			t.Errorf("mailbox %q, browser %q: %s and the texts of %s", c.mailbox, c.accepted, tag, texts.Language)
		}
	}
}

// A mailbox's page speaks as its notes do.
func FuzzPageSpeaks(f *testing.F) {
	f.Add("de_AT", "")
	f.Add("", "und-DE")
	f.Add("", "fr-CH, fr;q=0.9, *;q=0.5")
	f.Fuzz(func(t *testing.T, mailbox, accepted string) {
		tag, texts := speak(mailbox, accepted)
		if _, err := language.Parse(tag); err != nil {
			t.Errorf("%q: no browser knows it: %v", tag, err)
		}
		if base, _, _ := strings.Cut(tag, "-"); base != texts.Language {
			t.Errorf("the page is %s, its texts %s", tag, texts.Language)
		}
		if notes := text.For(mailbox); mailbox != "" && notes.Language != texts.Language {
			t.Errorf("the page of a mailbox in %q is %s, its notes %s", mailbox, texts.Language, notes.Language)
		}
	})
}
