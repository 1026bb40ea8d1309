package text

//nolint:misspell // Polish
func polishPage() map[string]string {
	return map[string]string{
		"inbox":         "Skrzynka",
		"all_mailboxes": "Wszystkie skrzynki",
		"callers":       "Rozmówcy",
		"loading":       "Trwa wczytywanie wiadomości",
		"failed":        "Nie udało się wczytać wiadomości.",
		"retry":         "Spróbuj ponownie",
		"offline":       "Utracono połączenie. Ponowna próba…",
		"empty":         "Nie ma jeszcze żadnych wiadomości",
		"empty_hint":    "Gdy połączenie pozostanie nieodebrane, wiadomość głosowa pojawi się tutaj.",
		"choose":        "Proszę wybrać rozmówcę, aby odsłuchać wiadomości",
		"unknown":       "Nieznany rozmówca",

		"missed_call": "Nieodebrane połączenie",
		"voice":       "Wiadomość głosowa",
		"video":       "Wiadomość wideo",

		"back":          "Wróć do listy rozmówców",
		"call_back":     "Oddzwoń",
		"call_back_who": "Oddzwoń: {0}",

		"play_anyway":    "Odtwórz mimo to",
		"pause":          "Wstrzymaj",
		"position":       "Pozycja",
		"position_value": "{0} z {1}",
		"speed":          "Prędkość {0}",
		"play_on":        "Odtwarzaj kolejne",
		"play_on_hint":   "Po każdej wiadomości odtwórz następną nową",
		"cut_off":        "przerwane",
		"unplayed":       "jeszcze nieodsłuchana",
		"unread":         "Nowe: {0}",

		"older":      "Pokaż starsze wiadomości",
		"newer":      "Nowa wiadomość",
		"new_note":   "Nowa wiadomość: {0}",
		"unplayable": "Nie udało się odtworzyć tej wiadomości.",
		"gone":       "nagranie już niedostępne",
		"read_at":    "Wyświetlono: {0}",
		"played_at":  "Odsłuchano: {0}",

		"over":      "Tutaj nie ma już nic",
		"over_hint": "Ten adres jest już nieważny. Proszę poprosić o nowy.",

		"chat_get":         "Otrzymuj te wiadomości na czacie",
		"chat_arrive":      "Przychodzą też przez {0}",
		"chat_intro":       "Proszę połączyć czat, a nowe wiadomości będą tam przychodzić zaraz po zakończeniu połączenia.",
		"chat_link":        "Połącz",
		"chat_linked":      "Połączono",
		"chat_unlink":      "Odłącz",
		"chat_unlink_sure": "Na pewno odłączyć?",
		"chat_with":        "Połącz {0}",
		"chat_open":        "Otwórz {0}",
		"chat_scan":        "Proszę zeskanować ten kod telefonem i wysłać przygotowaną tam wiadomość.",
		"chat_tap":         "Proszę otworzyć czat i wysłać przygotowaną tam wiadomość.",
		"chat_qr":          "Kod QR, który otwiera czat",
		"chat_or":          "lub proszę wysłać ten tekst samodzielnie",
		"chat_copy":        "Kopiuj",
		"chat_copied":      "Skopiowano",
		"chat_left":        "Ważny jeszcze przez {0}",
		"chat_over":        "Ten kod jest już nieważny.",
		"chat_again":       "Nowy kod",
		"chat_done":        "Połączono: {0}",
		"chat_done_hint":   "Od teraz nowe wiadomości będą tam przychodzić.",
		"chat_failed":      "Tym razem się nie udało. Proszę spróbować ponownie za minutę.",

		"done":    "Gotowe",
		"close":   "Zamknij",
		"go_back": "Wstecz",

		"reason_missed":      "Bez odpowiedzi",
		"reason_busy":        "Linia zajęta",
		"reason_unreachable": "Telefon niedostępny",
		"reason_forwarded":   "Przekierowane",
		"reason_declined":    "Odrzucone",

		"needs_script": "Ta strona wymaga JavaScriptu.",
	}
}
