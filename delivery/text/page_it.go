package text

//nolint:misspell // Italian
func italianPage() map[string]string {
	return map[string]string{
		"inbox":         "Casella",
		"all_mailboxes": "Tutte le caselle",
		"callers":       "Chiamanti",
		"loading":       "Caricamento dei Suoi messaggi",
		"failed":        "Non è stato possibile caricare i Suoi messaggi.",
		"retry":         "Riprova",
		"offline":       "Connessione interrotta. Nuovo tentativo…",
		"empty":         "Ancora nessun messaggio",
		"empty_hint":    "Quando una chiamata resta senza risposta, il messaggio vocale compare qui.",
		"choose":        "Scelga chi desidera ascoltare",
		"unknown":       "Chiamante sconosciuto",

		"missed_call": "Chiamata persa",
		"voice":       "Messaggio vocale",
		"video":       "Videomessaggio",

		"back":          "Torna ai chiamanti",
		"call_back":     "Richiama",
		"call_back_who": "Richiama {0}",

		"play_anyway":    "Riproduci comunque",
		"pause":          "Metti in pausa",
		"position":       "Posizione",
		"position_value": "{0} di {1}",
		"speed":          "Velocità {0}",
		"play_on":        "Riproduzione continua",
		"play_on_hint":   "Dopo un messaggio, riproduci il nuovo messaggio successivo",
		"cut_off":        "interrotto",
		"unplayed":       "non ancora ascoltato",
		"unread":         "Nuovi: {0}",

		"older":      "Mostra i messaggi precedenti",
		"newer":      "Nuovo messaggio",
		"new_note":   "Nuovo: {0}",
		"unplayable": "Non è stato possibile riprodurre questo messaggio.",
		"gone":       "audio non più disponibile",
		"read_at":    "Visto: {0}",
		"played_at":  "Ascoltato: {0}",

		"over":      "Qui non c’è più nulla",
		"over_hint": "Questo indirizzo non è più valido. Ne richieda uno nuovo.",

		"chat_get":         "Ricevere questi messaggi in una chat",
		"chat_arrive":      "Arrivano anche su {0}",
		"chat_intro":       "Colleghi una chat: i nuovi messaggi vi arriveranno appena il chiamante riaggancia.",
		"chat_link":        "Collega",
		"chat_linked":      "Collegato",
		"chat_unlink":      "Scollega",
		"chat_unlink_sure": "Scollegare davvero?",
		"chat_with":        "Collega {0}",
		"chat_open":        "Apri {0}",
		"chat_scan":        "Inquadri questo codice con il telefono, poi invii il messaggio già pronto.",
		"chat_tap":         "Apra la chat, poi invii il messaggio già pronto.",
		"chat_qr":          "Codice QR che apre la chat",
		"chat_or":          "oppure invii questo testo a mano",
		"chat_copy":        "Copia",
		"chat_copied":      "Copiato",
		"chat_left":        "Valido ancora per {0}",
		"chat_over":        "Questo codice non è più valido.",
		"chat_again":       "Nuovo codice",
		"chat_done":        "{0} è collegato",
		"chat_done_hint":   "D’ora in poi i nuovi messaggi arriveranno lì.",
		"chat_failed":      "Non ha funzionato. Riprovi tra un minuto.",

		"done":    "Fine",
		"close":   "Chiudi",
		"go_back": "Indietro",

		"reason_missed":      "Nessuna risposta",
		"reason_busy":        "Linea occupata",
		"reason_unreachable": "Non raggiungibile",
		"reason_forwarded":   "Inoltrata",
		"reason_declined":    "Rifiutata",

		"needs_script": "Questa pagina richiede JavaScript.",
	}
}
