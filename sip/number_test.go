package sip

import (
	"regexp"
	"testing"
)

func TestNormalize(t *testing.T) {
	tests := []struct{ user, country, want string }{
		{"+4930123456", "DE", "+4930123456"},
		{"+4930123456", "", "+4930123456"},
		{"+49 (0)30 / 12-34.56", "DE", "+4930123456"},
		{"004930123456", "DE", "+4930123456"},
		{"004930123456", "", "+4930123456"},
		{"004930123456", "US", "+4930123456"},
		{"01149301234567", "US", "+49301234567"},
		{"030123456", "DE", "+4930123456"},
		{"030123456", "de", "+4930123456"},
		{"4930123456", "DE", "+4930123456"}, // trunks that leave the "+" out
		{"030123456", "", ""},
		{"2125551234", "US", "+12125551234"},
		{"12125551234", "US", "+12125551234"},
		{"0612345678", "IT", "+390612345678"},
		{"612345678", "ES", "+34612345678"},
		{"030123456;phone-context=+49", "", "+4930123456"},
		{"30123456;phone-context=+49", "FR", "+4930123456"},
		{"30123456;phone-context=%2B49", "FR", "+4930123456"},
		{"030123456;phone-context=pbx.example", "DE", "+4930123456"},
		{"+4930123456;phone-context=+33", "DE", "+4930123456"},
		{"+4930123456;npdi;rn=+4911;verstat=x", "DE", "+4930123456"},

		{"101", "DE", ""}, // extensions
		{"1001", "DE", ""},
		{"20115", "DE", ""},
		{"030123", "DE", ""},
		{"110", "DE", ""},
		{"101", "ES", ""},
		{"101;phone-context=+49", "DE", ""},
		{"5551234", "US", ""}, // local, the area is unknown
		{"1234567", "DE", ""}, // in no numbering plan
		{"+999123456", "DE", ""},
		{"+49101", "DE", ""},
		{"alice", "DE", ""},
		{"1800FLOWERS", "US", ""},
		{"*97", "DE", ""},
		{"+", "DE", ""},
		{"", "DE", ""},
		{"-", "DE", ""},
		{";phone-context=+4930123456", "DE", ""},
		{"49+30123456", "DE", ""},
		{"0301234567890123456789012345", "DE", ""},
		{"0301234567", "XX", ""},
	}
	for _, tt := range tests {
		if got := Normalize(tt.user, tt.country); got != tt.want {
			t.Errorf("Normalize(%q, %q) = %q, want %q", tt.user, tt.country, got, tt.want)
		}
	}
}

// FuzzNormalize holds that a number is E.164 or nothing.
func FuzzNormalize(f *testing.F) {
	f.Add("030123456;phone-context=+49", "DE")
	f.Add("+1 (212) 555-1234", "")
	f.Add("00", "US")
	f.Add("+4903012345678", "IT")
	e164 := regexp.MustCompile(`^\+[1-9][0-9]{3,16}$`)
	f.Fuzz(func(t *testing.T, user, country string) {
		number := Normalize(user, country)
		if number == "" {
			return
		}
		if !e164.MatchString(number) {
			t.Fatalf("Normalize(%q, %q) = %q", user, country, number)
		}
	})
}

func BenchmarkNormalize(b *testing.B) {
	for _, user := range []string{"+4930123456", "030123456", "4930123456", "101", "alice"} {
		b.Run(user, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Normalize(user, "DE")
			}
		})
	}
}
