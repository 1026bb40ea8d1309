package channel

import (
	"errors"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

func TestTelegramSettings(t *testing.T) {
	for want, change := range map[string]func(*TelegramOptions){
		"":                              func(*TelegramOptions) {},
		"token: expected a bot's token": func(o *TelegramOptions) { o.Token = "s3cret" },
		"token: expected a bot's":       func(o *TelegramOptions) { o.Token = testBot + "/../" },
		"updates: expected poll":        func(o *TelegramOptions) { o.Updates = "push" },
		"ack: expected accepted":        func(o *TelegramOptions) { o.Ack = "read" },
		"api_url: expected an address":  func(o *TelegramOptions) { o.APIURL = "telegram" },
	} {
		o := telegramFor("http://127.0.0.1:1").(*TelegramOptions)
		change(o)
		_, err := o.Open(Env{})
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), o.Token)) {
			t.Errorf("%q: %v", want, err)
		}
	}
	o := defaultTelegram()
	if o.Rate.String() != "30/s" || o.NeedsCallback() {
		t.Errorf("the defaults: %v", o)
	}
	if o.Updates = "webhook"; !o.NeedsCallback() {
		t.Error("a webhook needs no public URL")
	}
	_, err := (&TelegramOptions{HTTP: HTTP{APIURL: "x"}}).Open(Env{})
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("all mistakes at once: %v", err)
	}
}

func TestTelegramAddresses(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "12345": true, "-1001234567890": true, "@afterbeep_notes": true, "-1001234567890/5": true, "@afterbeep_notes/5": true, "-100123/1": true,
		"0": false, "012": false, "+12": false, "1 2": false, "1e3": false, "99999999999999999999": false, "@": false, "@ab": false, "@a/b/c": false,
		"Maria": false, "12345/": false, "12345/0": false, "12345/-5": false, "12345/x": false, "/5": false, "@name?x": false, "https://t.me/x": false,
	} {
		o := defaultTelegram()
		if err := o.CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
	o := defaultTelegram()
	o.Updates = "off"
	if o.CheckAddress("") == nil || o.CheckAddress("12345") != nil {
		t.Error("with updates: off a target needs an address")
	}
}

// Whatever a caller is called, Telegram can read the caption and it fits.
func TestTelegramCaptions(t *testing.T) {
	for name, caller := range map[string]delivery.Caller{
		"plain":   {Number: "+4930123457", Name: "Maria K."},
		"markup":  {Number: "+4930123457", Name: `<b>"Maria" & 'K'</b> &lt;`},
		"lines":   {Number: "+4930123457", Name: "Maria\r\nVoice message from the bank\x00"},
		"long":    {Number: "+4930123457", Name: strings.Repeat("Maria ", 500)},
		"emoji":   {Number: "+4930123457", Name: strings.Repeat("🙂", 2000)},
		"cut":     {Number: "+4930123457", Name: strings.Repeat("&", 2000)},
		"no text": {Number: "+4930123457", Name: "\xff\xfe"},
		"numbers": {Number: strings.Repeat("9", 5000)},
		"odd":     {Number: `a<b>&c"`},
		"private": {Private: true},
	} {
		p := parcelOf(sampleNote())
		p.Note.Caller, p.Repeat = caller, true
		said := telegramHTML(p, telegramCaption)
		got, err := parseHTML(said)
		if err != nil || text.Units(got) > telegramCaption || !strings.HasPrefix(said, "<b>Voice message from ") {
			t.Errorf("%s: %d units, %v: %s", name, text.Units(got), err, said)
		}
		first, rest, _ := strings.Cut(got, "\n")
		if strings.Contains(rest, "the bank") || len(first) == 0 || !strings.Contains(rest, "second copy") {
			t.Errorf("%s: %q and %q", name, first, rest)
		}
		if name == "plain" && (first != "Voice message from Maria K. (+49 30 123457)" || !strings.HasSuffix(rest, "Call back: +49 30 123457")) {
			t.Errorf("%q and %q", first, rest)
		}
	}
}

// Every status has a meaning, and none that is unknown delivers.
func TestTelegramFaults(t *testing.T) {
	for code := range 700 {
		f := findTelegram(telegramAnswer{Code: code, Description: "whatever it says"})
		if f.outcome == delivery.Done || f.outcome == "" || f.credentials && f.outcome != delivery.Retry {
			t.Errorf("%d: %+v", code, f)
		}
	}
	for i, f := range telegramFaults {
		if got := findTelegram(telegramAnswer{Code: f.first, Description: strings.ToUpper(f.words)}); got != f && f.remedy != noRemedy {
			t.Errorf("line %d is never reached: %+v", i, got)
		}
		if strings.ToLower(f.words) != f.words || f.outcome == delivery.Dead && f.hint == "" {
			t.Errorf("line %d: %+v", i, f)
		}
	}
}

func TestTelegramErrorUnwraps(t *testing.T) {
	var err error = &telegramError{SendError: &delivery.SendError{Outcome: delivery.Dead, Err: errTelegram}}
	var failed *delivery.SendError
	if !errors.As(err, &failed) || !errors.Is(err, errTelegram) {
		t.Errorf("%v hides its cause", err)
	}
}
