package text

//nolint:misspell // Turkish
func turkishPage() map[string]string {
	return map[string]string{
		"inbox":         "Gelen kutusu",
		"all_mailboxes": "Tüm gelen kutuları",
		"callers":       "Arayanlar",
		"loading":       "Mesajlarınız yükleniyor",
		"failed":        "Mesajlarınız yüklenemedi.",
		"retry":         "Yeniden dene",
		"offline":       "Bağlantı koptu. Yeniden deneniyor…",
		"empty":         "Henüz mesaj yok",
		"empty_hint":    "Bir arama cevapsız kaldığında sesli mesaj burada görünür.",
		"choose":        "Dinlemek için bir arayan seçin",
		"unknown":       "Bilinmeyen arayan",

		"missed_call": "Cevapsız arama",
		"voice":       "Sesli mesaj",
		"video":       "Görüntülü mesaj",

		"back":          "Arayanlar listesine dön",
		"call_back":     "Geri ara",
		"call_back_who": "Geri ara: {0}",

		"play_anyway":    "Yine de oynat",
		"pause":          "Duraklat",
		"position":       "Konum",
		"position_value": "{0} / {1}",
		"speed":          "Hız: {0}",
		"play_on":        "Sırayla oynat",
		"play_on_hint":   "Bir mesajdan sonra sıradaki yeni mesajı oynat",
		"cut_off":        "kesildi",
		"unplayed":       "henüz dinlenmedi",
		"unread":         "{0} yeni",

		"older":      "Eski mesajları göster",
		"newer":      "Yeni mesaj",
		"new_note":   "Yeni: {0}",
		"unplayable": "Bu mesaj oynatılamadı.",
		"gone":       "ses kaydı artık saklanmıyor",
		"read_at":    "Görüldü: {0}",
		"played_at":  "Dinlendi: {0}",

		"over":      "Burada artık bir şey yok",
		"over_hint": "Bu adres artık geçerli değil. Lütfen yeni bir adres isteyin.",

		"chat_get":         "Bu mesajları bir sohbette alın",
		"chat_arrive":      "{0} üzerinden de geliyor",
		"chat_intro":       "Bir sohbet bağlayın; arayan telefonu kapatır kapatmaz yeni mesajlar oraya gelsin.",
		"chat_link":        "Bağla",
		"chat_linked":      "Bağlandı",
		"chat_unlink":      "Bağlantıyı kes",
		"chat_unlink_sure": "Emin misiniz?",
		"chat_with":        "{0} bağlantısı kur",
		"chat_open":        "{0} uygulamasını aç",
		"chat_scan":        "Kodu telefonunuzla okutun, ardından orada hazır duran mesajı gönderin.",
		"chat_tap":         "Sohbeti açın, ardından orada hazır duran mesajı gönderin.",
		"chat_qr":          "Sohbeti açan QR kodu",
		"chat_or":          "ya da bu metni kendiniz gönderin",
		"chat_copy":        "Kopyala",
		"chat_copied":      "Kopyalandı",
		"chat_left":        "{0} daha geçerli",
		"chat_over":        "Bu kod artık geçerli değil.",
		"chat_again":       "Yeni kod",
		"chat_done":        "{0} bağlandı",
		"chat_done_hint":   "Yeni mesajlar bundan sonra oraya gelecek.",
		"chat_failed":      "Şu anda olmadı. Lütfen bir dakika sonra yeniden deneyin.",

		"done":    "Tamam",
		"close":   "Kapat",
		"go_back": "Geri",

		"reason_missed":      "Cevap yok",
		"reason_busy":        "Hat meşguldü",
		"reason_unreachable": "Ulaşılamadı",
		"reason_forwarded":   "Yönlendirildi",
		"reason_declined":    "Reddedildi",

		"needs_script": "Bu sayfa için JavaScript gerekir.",
	}
}
