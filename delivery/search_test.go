package delivery

import "testing"

func TestSearch(t *testing.T) {
	for _, c := range []struct {
		query, name, number string
		want                bool
	}{
		{"", "", "101", true},
		{"  ", "Anna", "101", true},
		{"ANNA", "Hanna K.", "101", true},
		{"anna k", "Hanna K.", "101", true},
		{"annak", "Hanna K.", "101", false},
		{"+49 30", "", "+4930123456", true},
		{"Lobby", "", "lobby", true},
		{"102", "Anna", "101", false},
	} {
		if got := NewSearch(c.query).Finds(c.name, c.number); got != c.want {
			t.Errorf("%q finds %q, %q: %v", c.query, c.name, c.number, got)
		}
	}
}
