package text

//nolint:misspell // Dutch
func dutchPage() map[string]string {
	return map[string]string{
		"inbox":         "Inbox",
		"all_mailboxes": "Alle inboxen",
		"callers":       "Bellers",
		"loading":       "Uw berichten worden geladen",
		"failed":        "Uw berichten konden niet worden geladen.",
		"retry":         "Opnieuw proberen",
		"offline":       "Verbinding verbroken. Nieuwe poging…",
		"empty":         "Nog geen berichten",
		"empty_hint":    "Wordt een oproep niet beantwoord, dan verschijnt het spraakbericht hier.",
		"choose":        "Kies een beller om te luisteren",
		"unknown":       "Onbekende beller",

		"missed_call": "Gemiste oproep",
		"voice":       "Spraakbericht",
		"video":       "Videobericht",

		"back":          "Terug naar de bellers",
		"call_back":     "Terugbellen",
		"call_back_who": "{0} terugbellen",

		"play_anyway":    "Toch afspelen",
		"pause":          "Pauzeren",
		"position":       "Positie",
		"position_value": "{0} van {1}",
		"speed":          "Snelheid {0}",
		"play_on":        "Doorspelen",
		"play_on_hint":   "Na een bericht het volgende nieuwe bericht afspelen",
		"cut_off":        "afgebroken",
		"unplayed":       "nog niet beluisterd",
		"unread":         "{0} nieuw",

		"older":      "Oudere berichten tonen",
		"newer":      "Nieuw bericht",
		"new_note":   "Nieuw: {0}",
		"unplayable": "Dit bericht kon niet worden afgespeeld.",
		"gone":       "opname niet meer beschikbaar",
		"read_at":    "Gezien: {0}",
		"played_at":  "Beluisterd: {0}",

		"over":      "Hier is niets meer",
		"over_hint": "Dit adres is niet meer geldig. Vraag om een nieuw adres.",

		"chat_get":         "Deze berichten in een chat ontvangen",
		"chat_arrive":      "Komen ook binnen in {0}",
		"chat_intro":       "Koppel een chat: nieuwe berichten komen daar binnen zodra de beller ophangt.",
		"chat_link":        "Koppelen",
		"chat_linked":      "Gekoppeld",
		"chat_unlink":      "Ontkoppelen",
		"chat_unlink_sure": "Echt ontkoppelen?",
		"chat_with":        "{0} koppelen",
		"chat_open":        "{0} openen",
		"chat_scan":        "Scan deze code met uw telefoon en verstuur het bericht dat daar klaarstaat.",
		"chat_tap":         "Open de chat en verstuur het bericht dat daar klaarstaat.",
		"chat_qr":          "QR-code die de chat opent",
		"chat_or":          "of verstuur deze tekst zelf",
		"chat_copy":        "Kopiëren",
		"chat_copied":      "Gekopieerd",
		"chat_left":        "Nog {0} geldig",
		"chat_over":        "Deze code is niet meer geldig.",
		"chat_again":       "Nieuwe code",
		"chat_done":        "{0} is gekoppeld",
		"chat_done_hint":   "Nieuwe berichten komen vanaf nu daar binnen.",
		"chat_failed":      "Dat lukte zojuist niet. Probeer het over een minuut opnieuw.",

		"done":    "Klaar",
		"close":   "Sluiten",
		"go_back": "Terug",

		"reason_missed":      "Niet beantwoord",
		"reason_busy":        "Lijn bezet",
		"reason_unreachable": "Niet bereikbaar",
		"reason_forwarded":   "Doorgeschakeld",
		"reason_declined":    "Geweigerd",

		"needs_script": "Deze pagina heeft JavaScript nodig.",
	}
}
