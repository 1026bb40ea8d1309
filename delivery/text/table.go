package text

import "golang.org/x/text/language"

// Table lists the languages by their BCP 47 tag; docs and tests range over it.
func Table() map[string]func() *Texts {
	return map[string]func() *Texts{
		"de": german,
		"en": english,
		"es": spanish,
		"fr": french,
		"it": italian,
		"nl": dutch,
		"pl": polish,
		"pt": portuguese,
		"tr": turkish,
	}
}

// For returns the texts of a language by its BCP 47 tag, "de-AT" and "de_AT"
// being "de"; English where there is no such language.
func For(tag string) *Texts {
	base, _, _ := language.Make(tag).Raw()
	if row, ok := Table()[base.String()]; ok {
		return row()
	}
	return english()
}
