package text

func english() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "en",
		VoiceFrom: "Voice message from %s", VideoFrom: "Video message from %s", MissedFrom: "Missed call from %s",
		Private: "Private number", FromPrivate: "a private number",
		CallBack: "Call back:",
		Reasons: map[string]string{
			"busy": "the line was busy", "unreachable": "the phone was unreachable", "forwarded": "the call was forwarded", "declined": "the call was declined",
		},
		Trust:   map[string]string{"verified": "number verified", "doubtful": "the number may be spoofed"},
		Partial: "The call was cut off: the end may be missing.",
		Repeat:  "This may be a second copy of a message you already have.",
		Days:    [7]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"},
		Months: [12]string{
			"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
		},
		First:    "1",
		Date:     "{day} {d} {month}, {time}",
		Play:     "Play",
		Listen:   "Listen:",
		Expired:  "This message is no longer available.",
		Linked:   "Voice messages for %s will arrive in this chat from now on.",
		Unlinked: "No more voice messages will arrive in this chat.",
		BadCode:  "This code is not valid, or no longer. Get a new one on your inbox page.",
		Help:     "Unanswered calls leave voice messages here. To link this chat, open your inbox page and choose it there.",
		StopWord: "Send /stop to end this.",
		Page:     englishPage(),
	}
}

func german() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "de",
		VoiceFrom: "Sprachnachricht von %s", VideoFrom: "Videonachricht von %s", MissedFrom: "Verpasster Anruf von %s",
		Private: "Unterdrückte Nummer", FromPrivate: "unterdrückter Nummer",
		CallBack: "Zurückrufen:",
		Reasons: map[string]string{
			"busy": "der Anschluss war besetzt", "unreachable": "das Telefon war nicht erreichbar", "forwarded": "der Anruf wurde weitergeleitet", "declined": "der Anruf wurde abgelehnt",
		},
		Trust:   map[string]string{"verified": "Nummer bestätigt", "doubtful": "die Nummer ist möglicherweise gefälscht"},
		Partial: "Der Anruf wurde unterbrochen: Das Ende fehlt möglicherweise.",
		Repeat:  "Möglicherweise haben Sie diese Nachricht schon erhalten.",
		Days:    [7]string{"Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"},
		Months: [12]string{
			"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember",
		},
		First:    "1",
		Date:     "{day}, {d}. {month}, {time} Uhr",
		Play:     "Abspielen",
		Listen:   "Anhören:",
		Expired:  "Diese Nachricht ist nicht mehr verfügbar.",
		Linked:   "Sprachnachrichten für %s kommen ab jetzt in diesen Chat.",
		Unlinked: "In diesen Chat kommen keine Sprachnachrichten mehr.",
		BadCode:  "Dieser Code ist ungültig oder abgelaufen. Auf Ihrer Posteingangsseite erhalten Sie einen neuen.",
		Help:     "Wer Sie nicht erreicht, hinterlässt hier eine Sprachnachricht. Um diesen Chat zu verknüpfen, öffnen Sie Ihre Posteingangsseite und wählen ihn dort aus.",
		StopWord: "Mit /stop beenden Sie das.",
		Page:     germanPage(),
	}
}

func spanish() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "es",
		VoiceFrom: "Mensaje de voz de %s", VideoFrom: "Mensaje de vídeo de %s", MissedFrom: "Llamada perdida de %s",
		Private: "Número privado", FromPrivate: "un número privado",
		CallBack: "Devolver la llamada:",
		Reasons: map[string]string{
			"busy": "la línea estaba ocupada", "unreachable": "el teléfono no estaba disponible", "forwarded": "la llamada fue desviada", "declined": "la llamada fue rechazada",
		},
		Trust:   map[string]string{"verified": "número verificado", "doubtful": "es posible que el número sea falso"},
		Partial: "La llamada se cortó: es posible que falte el final.",
		Repeat:  "Es posible que ya haya recibido este mensaje.",
		Days:    [7]string{"domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"},
		Months: [12]string{
			"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre",
		},
		First:    "1",
		Date:     "{day}, {d} de {month}, {time}",
		Play:     "Reproducir",
		Listen:   "Escuchar:",
		Expired:  "Este mensaje ya no está disponible.",
		Linked:   "A partir de ahora, los mensajes de voz para %s llegarán a este chat.",
		Unlinked: "Ya no llegarán más mensajes de voz a este chat.",
		BadCode:  "Este código no es válido o ha caducado. Puede obtener uno nuevo en la página de su buzón.",
		Help:     "Aquí llegan los mensajes de voz de las llamadas que no pudo atender. Para vincular este chat, abra la página de su buzón y elíjalo allí.",
		StopWord: "Para dejar de recibirlos, envíe /stop.",
		Page:     spanishPage(),
	}
}

func french() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language: "fr",
		// With a colon: "de" would have to elide before a vowel.
		VoiceFrom: "Message vocal : %s", VideoFrom: "Message vidéo : %s", MissedFrom: "Appel manqué : %s",
		Private: "Numéro masqué", FromPrivate: "numéro masqué",
		CallBack: "Rappeler :",
		Reasons: map[string]string{
			"busy": "la ligne était occupée", "unreachable": "le téléphone était injoignable", "forwarded": "l’appel a été renvoyé", "declined": "l’appel a été refusé",
		},
		Trust:   map[string]string{"verified": "numéro vérifié", "doubtful": "le numéro est peut-être falsifié"},
		Partial: "L’appel a été coupé : il manque peut-être la fin.",
		Repeat:  "Vous avez peut-être déjà reçu ce message.",
		Days:    [7]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"},
		Months: [12]string{
			"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre",
		},
		First:    "1er",
		Date:     "{day} {d} {month} à {time}",
		Play:     "Écouter",
		Listen:   "Écouter :",
		Expired:  "Ce message n’est plus disponible.",
		Linked:   "Les messages vocaux pour %s arriveront désormais dans cette conversation.",
		Unlinked: "Vous ne recevrez plus de messages vocaux dans cette conversation.",
		BadCode:  "Ce code n’est pas valable ou a expiré. Vous en trouverez un nouveau sur la page de votre messagerie.",
		Help:     "Les appels restés sans réponse laissent ici un message vocal. Pour associer cette conversation, ouvrez la page de votre messagerie et choisissez-la.",
		StopWord: "Pour ne plus en recevoir, envoyez /stop.",
		Page:     frenchPage(),
	}
}

func italian() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "it",
		VoiceFrom: "Messaggio vocale da %s", VideoFrom: "Videomessaggio da %s", MissedFrom: "Chiamata persa da %s",
		Private: "Numero privato", FromPrivate: "un numero privato",
		CallBack: "Richiamare:",
		Reasons: map[string]string{
			"busy": "la linea era occupata", "unreachable": "il telefono non era raggiungibile", "forwarded": "la chiamata è stata inoltrata", "declined": "la chiamata è stata rifiutata",
		},
		Trust:   map[string]string{"verified": "numero verificato", "doubtful": "il numero potrebbe essere falsificato"}, //nolint:misspell // Italian
		Partial: "La chiamata si è interrotta: potrebbe mancare la fine.",
		Repeat:  "È possibile che abbia già ricevuto questo messaggio.", //nolint:misspell // Italian
		Days:    [7]string{"domenica", "lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato"},
		Months: [12]string{
			"gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre",
		},
		First:    "1º",
		Date:     "{day} {d} {month}, ore {time}",
		Play:     "Riproduci",
		Listen:   "Ascolta:",
		Expired:  "Questo messaggio non è più disponibile.",
		Linked:   "D’ora in poi i messaggi vocali per %s arriveranno in questa chat.",
		Unlinked: "In questa chat non arriveranno più messaggi vocali.",
		BadCode:  "Questo codice non è valido o è scaduto. Può ottenerne uno nuovo nella pagina della Sua casella.",
		Help:     "Qui arrivano i messaggi vocali delle chiamate senza risposta. Per collegare questa chat, apra la pagina della Sua casella e la scelga lì.",
		StopWord: "Per non riceverne più, invii /stop.",
		Page:     italianPage(),
	}
}

func dutch() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "nl",
		VoiceFrom: "Spraakbericht van %s", VideoFrom: "Videobericht van %s", MissedFrom: "Gemiste oproep van %s",
		Private: "Anoniem nummer", FromPrivate: "een anoniem nummer",
		CallBack: "Terugbellen:",
		Reasons: map[string]string{
			"busy": "de lijn was bezet", "unreachable": "de telefoon was niet bereikbaar", "forwarded": "de oproep werd doorgeschakeld", "declined": "de oproep werd geweigerd",
		},
		Trust:   map[string]string{"verified": "nummer geverifieerd", "doubtful": "het nummer is mogelijk vervalst"},
		Partial: "De oproep werd afgebroken: mogelijk ontbreekt het einde.",
		Repeat:  "Mogelijk hebt u dit bericht al ontvangen.",
		Days:    [7]string{"zondag", "maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag"},
		Months: [12]string{
			"januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober", "november", "december",
		},
		First:    "1",
		Date:     "{day} {d} {month}, {time} uur",
		Play:     "Afspelen",
		Listen:   "Beluisteren:",
		Expired:  "Dit bericht is niet meer beschikbaar.",
		Linked:   "Spraakberichten voor %s komen vanaf nu in deze chat binnen.",
		Unlinked: "In deze chat komen geen spraakberichten meer binnen.",
		BadCode:  "Deze code is ongeldig of verlopen. Op uw inboxpagina vindt u een nieuwe.",
		Help:     "Wie u niet bereikt, laat hier een spraakbericht achter. Open uw inboxpagina en kies deze chat om hem te koppelen.",
		StopWord: "Stuur /stop om dit te beëindigen.",
		Page:     dutchPage(),
	}
}

func polish() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language: "pl",
		// With a colon: "od" would want the name in the genitive, and "dla" too.
		VoiceFrom: "Wiadomość głosowa od: %s", VideoFrom: "Wiadomość wideo od: %s", MissedFrom: "Nieodebrane połączenie od: %s",
		Private: "Numer zastrzeżony", FromPrivate: "numer zastrzeżony",
		CallBack: "Numer do oddzwonienia:",
		Reasons: map[string]string{
			"busy": "linia była zajęta", "unreachable": "telefon był niedostępny", "forwarded": "połączenie zostało przekierowane", "declined": "połączenie zostało odrzucone",
		},
		Trust:   map[string]string{"verified": "numer zweryfikowany", "doubtful": "numer może być podrobiony"},
		Partial: "Połączenie zostało przerwane: może brakować zakończenia.",
		Repeat:  "Ta wiadomość mogła już do Państwa dotrzeć.",
		Days:    [7]string{"niedziela", "poniedziałek", "wtorek", "środa", "czwartek", "piątek", "sobota"},
		Months: [12]string{
			"stycznia", "lutego", "marca", "kwietnia", "maja", "czerwca", "lipca", "sierpnia", "września", "października", "listopada", "grudnia",
		},
		First:    "1",
		Date:     "{day}, {d} {month}, godz. {time}",
		Play:     "Odtwórz",
		Listen:   "Odsłuchaj:",
		Expired:  "Ta wiadomość nie jest już dostępna.",
		Linked:   "Od teraz na ten czat będą przychodzić wiadomości głosowe dla: %s.",
		Unlinked: "Na ten czat nie będą już przychodzić wiadomości głosowe.",
		BadCode:  "Ten kod jest nieprawidłowy lub wygasł. Nowy kod znajdą Państwo na stronie swojej skrzynki.",
		Help:     "Tutaj trafiają wiadomości głosowe z nieodebranych połączeń. Aby połączyć ten czat, proszę otworzyć stronę swojej skrzynki i wybrać go tam.",
		StopWord: "Aby to zakończyć, proszę wysłać /stop.",
		Page:     polishPage(),
	}
}

// portuguese reads well on both sides of the Atlantic.
func portuguese() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language:  "pt",
		VoiceFrom: "Mensagem de voz de %s", VideoFrom: "Mensagem de vídeo de %s", MissedFrom: "Chamada perdida de %s",
		Private: "Número privado", FromPrivate: "um número privado",
		CallBack: "Ligar de volta:",
		Reasons: map[string]string{
			"busy": "a linha estava ocupada", "unreachable": "o telefone estava indisponível", "forwarded": "a chamada foi encaminhada", "declined": "a chamada foi recusada",
		},
		Trust:   map[string]string{"verified": "número verificado", "doubtful": "o número pode ser falso"},
		Partial: "A chamada foi interrompida: pode faltar o final.",
		Repeat:  "É possível que já tenha recebido esta mensagem.",
		Days:    [7]string{"domingo", "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado"},
		Months: [12]string{
			"janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
		},
		First:    "1",
		Date:     "{day}, {d} de {month}, {time}",
		Play:     "Ouvir",
		Listen:   "Ouvir:",
		Expired:  "Esta mensagem já não está disponível.",
		Linked:   "A partir de agora, as mensagens de voz para %s chegarão a esta conversa.",
		Unlinked: "Não chegarão mais mensagens de voz a esta conversa.",
		BadCode:  "Este código não é válido ou já expirou. Obtenha um novo na página da sua caixa de entrada.",
		Help:     "Aqui chegam as mensagens de voz das chamadas não atendidas. Para associar esta conversa, abra a página da sua caixa de entrada e escolha-a lá.",
		StopWord: "Para deixar de receber, envie /stop.",
		Page:     portuguesePage(),
	}
}

func turkish() *Texts {
	return &Texts{ //nolint:gosec // words, no credentials
		Language: "tr",
		// With a colon: a suffix would have to follow the name's vowels.
		VoiceFrom: "Sesli mesaj: %s", VideoFrom: "Görüntülü mesaj: %s", MissedFrom: "Cevapsız arama: %s",
		Private: "Gizli numara", FromPrivate: "gizli numara",
		CallBack: "Geri arayın:",
		Reasons: map[string]string{
			"busy": "hat meşguldü", "unreachable": "telefona ulaşılamadı", "forwarded": "arama yönlendirildi", "declined": "arama reddedildi",
		},
		Trust:   map[string]string{"verified": "numara doğrulandı", "doubtful": "numara sahte olabilir"},
		Partial: "Arama kesildi: mesajın sonu eksik olabilir.",
		Repeat:  "Bu mesajı daha önce almış olabilirsiniz.",
		Days:    [7]string{"Pazar", "Pazartesi", "Salı", "Çarşamba", "Perşembe", "Cuma", "Cumartesi"},
		Months: [12]string{
			"Ocak", "Şubat", "Mart", "Nisan", "Mayıs", "Haziran", "Temmuz", "Ağustos", "Eylül", "Ekim", "Kasım", "Aralık",
		},
		First:    "1",
		Date:     "{d} {month} {day}, saat {time}",
		Play:     "Oynat",
		Listen:   "Dinleyin:",
		Expired:  "Bu mesaja artık ulaşılamıyor.",
		Linked:   "%s için bırakılan sesli mesajlar bundan sonra bu sohbete gelecek.",
		Unlinked: "Bu sohbete artık sesli mesaj gelmeyecek.",
		BadCode:  "Bu kod geçersiz ya da süresi dolmuş. Gelen kutusu sayfanızdan yeni bir kod alabilirsiniz.",
		Help:     "Cevapsız aramalar buraya sesli mesaj bırakır. Bu sohbeti bağlamak için gelen kutusu sayfanızı açın ve orada bu sohbeti seçin.",
		StopWord: "Sonlandırmak için /stop yazın.",
		Page:     turkishPage(),
	}
}
