package text

// englishPage is Texts.Page in English: buttons and headings in their case, facts
// about a note, like cut_off, in lower case.
func englishPage() map[string]string {
	return map[string]string{
		"inbox":         "Inbox",
		"all_mailboxes": "All mailboxes",
		"callers":       "Callers",
		"loading":       "Loading your messages",
		"failed":        "Your messages could not be loaded.",
		"retry":         "Try again",
		"offline":       "Connection lost. Trying again …",
		"empty":         "No messages yet",
		"empty_hint":    "When a call goes unanswered, the caller’s voice message appears here.",
		"choose":        "Choose a caller to listen",
		"unknown":       "Unknown caller",

		"missed_call": "Missed call",
		"voice":       "Voice message",
		"video":       "Video message",

		"back":          "Back to the callers",
		"call_back":     "Call back",
		"call_back_who": "Call {0} back",

		"play_anyway":    "Play anyway",
		"pause":          "Pause",
		"position":       "Position",
		"position_value": "{0} of {1}",
		"speed":          "Speed {0}",
		"play_on":        "Play on",
		"play_on_hint":   "After a message, play the next new one",
		"cut_off":        "cut off",
		"unplayed":       "not played yet",
		"unread":         "{0} new",

		"older":      "Show older messages",
		"newer":      "New message",
		"new_note":   "New: {0}",
		"unplayable": "This message could not be played.",
		"gone":       "audio no longer kept",
		"read_at":    "Seen {0}",
		"played_at":  "Played {0}",

		"over":      "There is nothing here any more",
		"over_hint": "This address is no longer valid. Ask for a new one.",

		"chat_get":         "Get these messages in a chat",
		"chat_arrive":      "Also arriving in {0}",
		"chat_intro":       "Link a chat, and new messages arrive there as soon as the caller hangs up.",
		"chat_link":        "Link",
		"chat_linked":      "Linked",
		"chat_unlink":      "Unlink",
		"chat_unlink_sure": "Really unlink?",
		"chat_with":        "Link {0}",
		"chat_open":        "Open {0}",
		"chat_scan":        "Scan this with your phone, then send the message that is ready there.",
		"chat_scan_open":   "Scan this with your phone to open the chat.",
		"chat_tap":         "Open the chat, then send the message that is ready there.",
		"chat_tap_open":    "Open the chat.",
		"chat_qr":          "QR code that opens the chat",
		"chat_or":          "or send this by hand",
		"chat_then":        "then send this there",
		"chat_copy":        "Copy",
		"chat_copied":      "Copied",
		"chat_left":        "Good for {0}",
		"chat_over":        "This code is no longer good.",
		"chat_again":       "New code",
		"chat_done":        "{0} is linked",
		"chat_done_hint":   "New messages arrive there from now on.",
		"chat_failed":      "This did not work just now. Try again in a minute.",

		"done":    "Done",
		"close":   "Close",
		"go_back": "Back",

		"reason_missed":      "No answer",
		"reason_busy":        "Line was busy",
		"reason_unreachable": "Not reachable",
		"reason_forwarded":   "Forwarded",
		"reason_declined":    "Declined",

		"needs_script": "This page needs JavaScript.",
	}
}
