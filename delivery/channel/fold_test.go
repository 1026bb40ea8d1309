package channel

import "testing"

func TestFold(t *testing.T) {
	for s, want := range map[string]string{
		"Jiří Łoś": "Jiri Los", "İpek Çağlı": "Ipek Cagli", "Đorđe Œuvre": "Dorde OEuvre", "1º, l’appel…": "1o, l'appel...", "a\u00a0b": "a b",
		"Ａｎｎａ": "Anna", "Зоя 東京 🙂": "Зоя 東京 🙂", "": "",
	} {
		if got := fold(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
