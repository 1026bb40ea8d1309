package web

import (
	"golang.org/x/text/language"

	"github.com/afterbeep/afterbeep/delivery/text"
)

// speak finds the texts of a page, and the language as a browser wants it named
// (BCP 47): the mailbox's, else the one of its reader's browser that comes first
// in Accept-Language (RFC 9110 section 12.5.4), else English.
func speak(mailbox, accepted string) (string, *text.Texts) {
	wanted := []language.Tag{language.Make(mailbox)}
	if mailbox == "" {
		wanted, _, _ = language.ParseAcceptLanguage(accepted) // what cannot be read asks for nothing
	}
	for _, tag := range wanted {
		base, _, _ := tag.Raw()
		if row, ok := text.Table()[base.String()]; ok {
			return tag.String(), row()
		}
	}
	texts := text.For("")
	return texts.Language, texts
}
