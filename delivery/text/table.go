package text

import "strings"

// For returns the texts of a language by its BCP 47 tag, "de-AT" being "de";
// English where there is no such language.
func For(language string) *Texts {
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	for _, t := range table() {
		if t.Language == base {
			return t
		}
	}
	return english()
}

func table() []*Texts { return []*Texts{english()} }

func english() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "en",
		VoiceFrom: "Voice message from %s", VideoFrom: "Video message from %s", MissedFrom: "Missed call from %s",
		Private:  "Private number",
		CallBack: "Call back:",
		Reasons: map[string]string{
			"busy": "the line was busy", "unreachable": "the phone was unreachable", "forwarded": "the call was forwarded", "declined": "the call was declined",
		},
		Partial: "The call was cut off: the end may be missing.",
		Repeat:  "This may be a second copy of a message you already have.",
		Days:    [7]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"},
		Months: [12]string{
			"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
		},
		Date:     "{day} {d} {month}, {time}",
		Play:     "Play",
		Listen:   "Listen:",
		Expired:  "This message is no longer available.",
		Linked:   "Voice messages for %s will arrive in this chat from now on.",
		Unlinked: "No more voice messages will arrive in this chat.",
		BadCode:  "This code is not valid, or no longer. Get a new one on your inbox page.",
		Help:     "Unanswered calls leave voice messages here. To link this chat, open your inbox page and choose it there.",
		StopWord: "Send /stop to end this.",
	}
}
