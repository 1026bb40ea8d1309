package config

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
	"github.com/afterbeep/afterbeep/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

func env(name string) (string, bool) {
	if name == "CRM_SECRET" {
		return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true
	}
	return "", false
}

func TestParseReadsEveryPart(t *testing.T) {
	text, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("testdata/good.yaml", text, env)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := filepath.Abs("testdata")
	for _, check := range []struct {
		name string
		ok   bool
	}{
		{"a network", c.SIP.Trunks[0].From[0] == netip.MustParsePrefix("192.0.2.0/24")},
		{"one address is a network of one", c.SIP.Trunks[0].From[1] == netip.MustParsePrefix("198.51.100.7/32")},
		{"a duration", c.Media.MaxDuration == 90*time.Second},
		{"a default is overridden", !c.Media.Beep},
		{"a default stays", c.Media.NoRTP == 10*time.Second},
		{"a path counts from the file's folder", c.Store.Path == filepath.Join(dir, "data")},
		{"a secret's file", c.HTTP.AdminToken == "open sesame, if you please"},
		{"the operator's webhook", c.Operator != nil && c.Operator.Rate == delivery.Rate{Sends: 20, Per: time.Minute} && len(c.Operator.Events.All()) == 2},
		{"a channel", c.Channels["crm"].Type == "webhook"},
		{"a chain", slices.Equal(c.Mailboxes[0].Deliver, delivery.Chain{{Channel: "crm"}, {Channel: "inbox"}})},
		{"the inbox is the default chain", slices.Equal(c.Mailboxes[1].Deliver, delivery.Chain{{Channel: "inbox"}})},
		{"a number without quotes", c.Mailboxes[1].Number == "101"},
		{"a copy, one value for a list", reflect.DeepEqual(c.Mailboxes[1].Chains(), []delivery.Chain{{{Channel: "inbox"}}, {{Channel: "crm"}}})},
		{"copies are chains", reflect.DeepEqual(c.Mailboxes[2].Also, []delivery.Chain{{{Channel: "crm"}, {Channel: "inbox"}}, {{Channel: "inbox"}}})},
		{"days and hours", c.Retention == delivery.Retention{Audio: 36 * time.Hour, Metadata: 10 * day} && c.Mailboxes[0].Keep == c.Retention},
		{"a retention of its own", c.Mailboxes[1].Keep == delivery.Retention{}},
		{"half a retention of its own", c.Mailboxes[2].Keep == delivery.Retention{Audio: 36 * time.Hour, Metadata: 400 * day}},
		{"certificates count from there too", c.SIP.TLS == sip.TLS{Certificate: filepath.Join(dir, "tls/gw.pem"), Key: "/etc/gw.key", ClientCA: filepath.Join(dir, "tls/ca.pem")}},
		{"a trunk by its certificate", slices.Equal(c.SIP.Trunks[2].TLSName, []string{"sbc.carrier.example"}) && c.SIP.Trunks[2].From == nil},
		{"limits", c.SIP.Limits == sip.Limits{Calls: 40, Rate: sip.DefaultLimits().Rate, Callees: 30}},
		{"a trunk's own limits", c.SIP.Trunks[0].Limits == sip.Limits{Rate: 5, Callees: 20} && c.SIP.Trunks[1].Limits == sip.Limits{Callees: 30}},
		{"a trunk without a limit of callees", c.SIP.Trunks[2].Limits == sip.Limits{}},
		{"unknown numbers", c.SIP.Trunks[0].Unknown == "sip:{user}@pbx.example" && c.SIP.Trunks[1].Unknown == "480"},
		{"what is hidden", c.Mailboxes[1].Disabled && slices.Equal(c.Mailboxes[2].Blocked, []string{"private", "7042"})},
		{"one address for a list", slices.Equal(c.SIP.Trunks[1].From, []netip.Prefix{netip.MustParsePrefix("2001:db8::5/128")})},
	} {
		if !check.ok {
			t.Errorf("%s: not as the file says: %+v", check.name, c)
		}
	}
}

// Every mistake is found at once, with its place and what was expected, each
// once, whatever follows from it.
func TestParseTellsEveryMistake(t *testing.T) {
	texts, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(texts) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range texts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("afterbeep.yaml", text, env)
			if problems := (FileErrors{}); !errors.As(err, &problems) {
				t.Fatalf("got %v, want FileErrors", err)
			}
			dir, _ := filepath.Abs(".")
			got := []byte(strings.ReplaceAll(err.Error(), dir, "DIR") + "\n")
			isGolden(t, strings.TrimSuffix(path, ".yaml")+".txt", got)
			if bytes.Contains(got, []byte("hush")) {
				t.Error("a mistake prints a secret")
			}
		})
	}
}

// Texts of which nothing can be read; each says in plain words where to mend it.
func TestParseOfWhatIsNotYAML(t *testing.T) {
	const pair = `expected "key: value", with a space after the colon`
	for text, want := range map[string]string{
		"sip: [":                              "1:6: this [ has no ]",
		"sip:\n  listen: [a, b\n  trunks: []": "3:3: the list above this has no ], or a comma is missing",
		"http: {listen: a":                    "1:7: this { has no }",
		"\tsip: 1":                            "1:4: a tab: indent with spaces",
		"sip:\n\tlisten: x":                   "2:1: a tab: indent with spaces",
		"sip:\n  listen: []\n\ttrunks: []":    "3:1: a tab: indent with spaces",
		"sip:\n  listen:x\n  trunks: []":      "2:3: " + pair,
		"sip:\n  listen: x\nhttp\nlog:":       "3:1: " + pair,
		"store: {}\n- a":                      "2:1: " + pair,
		"sip:\n  listen: x\n trunks: []":      "3:2: this line's indent fits no line above",
		"mailboxes:\n - number: 1\n   name: x\n  - number: 2": "4:3: this line's indent fits no line above",
		"name: Foo: Bar":          "1:7: the value seems to hold another key: put it in quotes, or mend the indent of the line below",
		"store: {path: 'x}":       "1:15: this quote has no end",
		"http:\n  public_url: @x": "2:15: put this value in quotes: YAML keeps its first character for itself",
		"- 1\n- 2":                "1:1: expected keys and values (sip, media, store, retention, http, log, channels, operator, contacts, mailboxes, directory), not a list",
		"sip":                     `1:1: expected keys and values (sip, media, store, retention, http, log, channels, operator, contacts, mailboxes, directory), not "sip"`,
		"sip:\n  trunks:\n    - {name: a, from: [127.0.0.1/32], mwi: sip:pbx}":        "3:44: sip.trunks[0].mwi: expected the address of a mailbox, like sip:{mailbox}@192.0.2.10:5060 or sip:{mailbox}@pbx.example.com;transport=tcp, not \"sip:pbx\"",
		"sip:\n  trunks:\n    - {name: a, from: [127.0.0.1/32], headers: [to, from]}": "3:53: sip.trunks[0].headers[1]: expected target or history-info or diversion or p-called-party-id or request-uri or to, not \"from\"",
		"sip:\n  trunks:\n    - {name: a, from: [127.0.0.1/32], anonymous: refused}":  "3:50: sip.trunks[0].anonymous: expected accept or refuse, not \"refused\"",
		"sip:\n  trunks: 7":              `2:11: sip.trunks: expected a list, each entry beginning with "- ", not "7"`,
		"*nothing":                       "1:1: expected keys and values (sip, media, store, retention, http, log, channels, operator, contacts, mailboxes, directory), not an alias that stands for nothing",
		"sip: &a {trunks: *a}":           `1:9: sip.trunks: expected a list, each entry beginning with "- ", not keys and values`,
		"# Büro\nstore: {path: B\xfcro}": "2:16: this is not UTF-8: save the file as UTF-8, without another character set",
		"\xff\xfes\x00i\x00p\x00":        "1:1: this is not UTF-8: save the file as UTF-8, without another character set",
	} {
		_, err := Parse("afterbeep.yaml", []byte(text), env)
		if err == nil || err.Error() != "afterbeep.yaml:"+want {
			t.Errorf("%q:\n got %v\nwant afterbeep.yaml:%s", text, err, want)
		}
	}
}

func TestParseTakesAByteOrderMark(t *testing.T) {
	c, err := Parse("afterbeep.yaml", []byte("\ufeffstore: {path: /srv}\n"), env)
	if err != nil || c.Store.Path != "/srv" {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = Parse("afterbeep.yaml", []byte("\ufeffhttp: {listen: x}\n"), env)
	if err == nil || !strings.HasPrefix(err.Error(), "afterbeep.yaml:1:16: http.listen") {
		t.Errorf("got %v", err)
	}
}

// An operator's command needs no secrets, but the rest of the file is strict.
func TestParseWithoutSecrets(t *testing.T) {
	text := `
http: {listen: "127.0.0.1:8081", admin_token_file: nowhere}
channels:
  crm: {type: webhook, url_file: nowhere, secret: "${NOBODY_SET_THIS}", attach: true}
mailboxes: [{number: 101}]
`
	c, err := Parse("afterbeep.yaml", []byte(text), nil)
	if err != nil || len(c.Mailboxes) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = Parse("afterbeep.yaml", []byte(strings.NewReplacer("101", `""`, "url_file: nowhere, ", "").Replace(text)), nil)
	want := "afterbeep.yaml:4:8: channels.crm.url: url is missing: where notes are posted to\n" +
		`afterbeep.yaml:5:22: mailboxes[0].number: expected a number, an extension or a SIP user part, like "+4930123456" or "101"`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestAnEmptyFileIsTheDefault(t *testing.T) {
	if _, err := Parse("afterbeep.yaml", nil, env); err != nil {
		t.Fatal(err)
	}
}

func TestTheExampleServesAndIsWhatTheTypesSay(t *testing.T) {
	const golden = "testdata/example.yaml"
	text := Example()
	c, err := Parse(golden, text, env)
	if err != nil {
		t.Fatalf("the example does not parse:\n%v\n%s", err, text)
	}
	if len(c.SIP.Trunks) != 1 || len(c.Mailboxes) != 1 {
		t.Errorf("the example has %d trunks and %d mailboxes", len(c.SIP.Trunks), len(c.Mailboxes))
	}
	if *update {
		if err := os.WriteFile(golden, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(text) {
		t.Errorf("%s is not what the types say; run: go test ./config -update", golden)
	}
}

// Every channel of the example serves once its comments are taken away and its
// secrets are there.
func TestTheExamplesChannelsOpen(t *testing.T) {
	_, channels, _ := strings.Cut(string(Example()), "\nchannels:\n")
	channels, _, _ = strings.Cut(channels, "\n\n")
	text := "http: {public_url: https://notes.example}\nchannels:\n" + strings.ReplaceAll("\n"+channels, "\n  # ", "\n  ")
	c, err := Parse("afterbeep.yaml", []byte(text), func(name string) (string, bool) {
		if secret, ok := env(name); ok {
			return secret, true
		}
		return map[string]string{"TELEGRAM_TOKEN": "123:abc"}[name] + "hush", true
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(c.Channels) != len(channel.Table())-1 { // the inbox is always there
		t.Errorf("the example has %d channels", len(c.Channels))
	}
	for name, configured := range c.Channels {
		memory := &delivery.Scratch{}
		opened, err := configured.Options.Open(channel.Env{
			Log: slog.New(slog.DiscardHandler), Name: name, PublicURL: c.HTTP.PublicURL, Memory: memory, Chats: delivery.NewChats(memory),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if closer, ok := opened.(io.Closer); ok {
			_ = closer.Close()
		}
	}
}

// What has no effect on a channel is taken, but not recommended.
func TestTheExampleHidesWhatHasNoEffect(t *testing.T) {
	_, webhook, _ := strings.Cut(string(Example()), "# my-webhook:")
	webhook, _, _ = strings.Cut(webhook, "# my-")
	for _, key := range []string{"api_url:", "ack:"} {
		if !strings.Contains(webhook, "url:") || strings.Contains(webhook, key) {
			t.Errorf("the example of a webhook has %s", key)
		}
	}
	text := `channels: {crm: {type: webhook, url: https://crm.example, secret: "${CRM_SECRET}", attach: true, api_url: "http://127.0.0.1:1", ack: accepted}}`
	if _, err := Parse("afterbeep.yaml", []byte(text), env); err != nil {
		t.Error(err)
	}
}

// The values of a map of secrets are given as every secret is, and no mistake
// shows one.
func TestMapsOfSecrets(t *testing.T) {
	text := `http: {public_url: "https://notes.example"}
channels: {texts: {type: sms, url: "https://sms.example", headers: {Authorization: "${CRM_SECRET}", X-Key_file: admin.token, X-Plain: 7}}}`
	c, err := Parse("testdata/sms.yaml", []byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	headers := c.Channels["texts"].Options.(*channel.SMSOptions).Headers
	secret, _ := env("CRM_SECRET")
	if want := map[string]string{"Authorization": secret, "X-Key": "open sesame, if you please", "X-Plain": "7"}; !maps.Equal(headers, want) {
		t.Errorf("got %v", headers)
	}
	if _, err := Parse("testdata/sms.yaml", []byte(strings.Replace(text, "X-Plain: 7", "X-Plain: 7}, fields: {to: '{to}', text: '{text}', key: '${NOBODY}'", 1)), nil); err != nil {
		t.Errorf("without secrets: %v", err)
	}
	wrong := strings.NewReplacer("CRM_SECRET", "NOBODY", "X-Plain: 7", "X-Plain: [hush]", `public_url: "https://notes.example"`, "").Replace(text)
	_, err = Parse("testdata/sms.yaml", []byte(wrong), env)
	for _, want := range []string{
		"channels.texts.headers.Authorization: the environment has no NOBODY; set it, or name a file with Authorization_file",
		"channels.texts.headers.X-Plain: expected one value",
		"channels.texts: its messages hold a link to the note, which needs http.public_url: set that",
	} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	good, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(Example())
	f.Add([]byte("sip: {trunks: [{from: [1]}]}"))
	f.Add([]byte("a: &a [*a, *a]"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = Parse("fuzz.yaml", text, env)
	})
}

// isGolden fails unless got is what a file holds, which -update writes.
func isGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
