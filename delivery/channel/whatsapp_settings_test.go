package channel

import (
	"strings"
	"testing"
)

func TestWhatsAppSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*WhatsAppOptions)
		wrong  string // the key; "" for none
	}{
		"well":                {func(*WhatsAppOptions) {}, ""},
		"the number itself":   {func(o *WhatsAppOptions) { o.PhoneNumberID = "+15550783881" }, "phone_number_id"},
		"no version":          {func(o *WhatsAppOptions) { o.Version = "latest" }, "version"},
		"a token with a line": {func(o *WhatsAppOptions) { o.Token += "\n" }, "token"},
		"no app secret":       {func(o *WhatsAppOptions) { o.AppSecret = "" }, "app_secret"},
		"no verify token":     {func(o *WhatsAppOptions) { o.VerifyToken = "" }, "verify_token"},
		"no server":           {func(o *WhatsAppOptions) { o.APIURL = "graph" }, "api_url"},
	} {
		t.Run(name, func(t *testing.T) {
			o := whatsAppFor("http://127.0.0.1:1").(*WhatsAppOptions)
			tc.change(o)
			err := o.Validate()
			if (err == nil) != (tc.wrong == "") || (err != nil && !strings.HasPrefix(err.Error(), tc.wrong+":")) {
				t.Errorf("%v, want %q", err, tc.wrong)
			}
			if _, opened := o.Open(testEnv(t)); (opened == nil) != (tc.wrong == "") {
				t.Errorf("opened: %v", opened)
			}
		})
	}
}

func TestWhatsAppNeedsCallback(t *testing.T) {
	o := defaultWhatsApp()
	plain := o.NeedsCallback()
	withTemplate(o)
	invites := o.NeedsCallback()
	o.Template, o.Ack = nil, "read"
	if plain || !invites || !o.NeedsCallback() {
		t.Error("callbacks are needed for invitations and receipts, and for nothing else")
	}
}

func TestWhatsAppAddresses(t *testing.T) {
	for address, user := range map[string]string{
		"+4915112345678": "4915112345678", "4915112345678": "4915112345678",
		"DE.13491208655302741918": "DE.13491208655302741918", "US.ENT.11815799212886844830": "US.ENT.11815799212886844830",
		"101": "", "+49 151": "", "04915112345678": "", "DE.": "", "de.1349": "", "DE.13/49": "", "x": "",
		"49151123456789012345": "",
	} {
		got, ok := waUser(address)
		if got != user || ok != (user != "") {
			t.Errorf("%q: %q", address, got)
		}
		if err := new(WhatsAppOptions).CheckAddress(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := new(WhatsAppOptions).CheckAddress(""); err != nil {
		t.Error(err)
	}
}
