package delivery

import "strings"

// Search is what somebody types to find a mailbox.
type Search struct{ text, number string }

// NewSearch reads what was typed. Case does not count, nor blanks in a number;
// "" finds all.
func NewSearch(query string) Search {
	text := strings.ToLower(strings.TrimSpace(query))
	return Search{text: text, number: strings.Join(strings.Fields(text), "")}
}

// Number is what was typed as a number, without blanks.
func (s Search) Number() string { return s.number }

// Finds says whether the mailbox's name or number contains what was typed.
func (s Search) Finds(name, number string) bool {
	return strings.Contains(strings.ToLower(name), s.text) || strings.Contains(strings.ToLower(number), s.number)
}
