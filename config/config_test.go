package config

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

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
		{"a secret's file", c.HTTP.AdminToken == "open sesame"},
		{"a channel", c.Channels["crm"].Type == "webhook"},
		{"a chain", slices.Equal(c.Mailboxes[0].Deliver, delivery.Chain{{Channel: "crm"}, {Channel: "inbox"}})},
		{"the inbox is the default chain", slices.Equal(c.Mailboxes[1].Deliver, delivery.Chain{{Channel: "inbox"}})},
		{"a number without quotes", c.Mailboxes[1].Number == "101"},
		{"a copy", len(c.Mailboxes[1].Chains()) == 2},
	} {
		if !check.ok {
			t.Errorf("%s: not as the file says: %+v", check.name, c)
		}
	}
}

// Every mistake is found at once, with its place and what was expected.
func TestParseTellsEveryMistake(t *testing.T) {
	text := strings.TrimLeft(`
sip:
  lisen: [udp://127.0.0.1:5060]
  listen: [http://127.0.0.1:5060]
  trunks:
    - name: pbx
      from: [10.0.0.0/8, my-pbx]
      mailbox: newest
    - from: 10.0.0.1
media:
  ports: 20000
  max_duration: 3
  beep: yes
http:
  admin_token: ${NOBODY_SET_THIS}
channels:
  crm: {type: webhok}
  bot: {url: https://bot.example}
  inbox: {type: inbox}
mailboxes:
  - number: "+4930123456"
    deliver: [crn, inbox]
  - number: "+4930123456"
    timezone: Berlin
  - name: nobody
`, "\n")
	_, err := Parse("afterbeep.yaml", []byte(text), env)
	problems := FileErrors{}
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want FileErrors", err)
	}
	got := problems.Error()
	for _, want := range []string{
		`afterbeep.yaml:2:3: sip.lisen: unknown key; did you mean "listen"?`,
		`afterbeep.yaml:3:12: sip.listen[0]: expected udp://`,
		`afterbeep.yaml:6:26: sip.trunks[0].from[1]: expected a network`,
		`afterbeep.yaml:7:16: sip.trunks[0].mailbox: expected last, first, not "newest"`,
		`afterbeep.yaml:8:7: sip.trunks[1].name: name is missing`,
		`afterbeep.yaml:8:13: sip.trunks[1].from: expected a list`,
		`afterbeep.yaml:10:10: media.ports: `,
		`afterbeep.yaml:11:17: media.max_duration: expected a time with its unit`,
		`afterbeep.yaml:12:9: media.beep: expected true or false, not "yes"`,
		`afterbeep.yaml:14:16: http.admin_token: the environment has no NOBODY_SET_THIS`,
		`afterbeep.yaml:16:15: channels.crm.type: there is no channel type "webhok"; did you mean "webhook"?`,
		`channels.bot: type is missing`,
		`channels.inbox: this name belongs to the inbox`,
		`afterbeep.yaml:21:15: mailboxes[0].deliver[0]: there is no channel "crn"; did you mean "crm"?`,
		`afterbeep.yaml:22:13: mailboxes[1].number: this number is taken by mailboxes[0]`,
		`afterbeep.yaml:23:15: mailboxes[1].timezone: expected a time zone`,
		`mailboxes[2].number: number is missing`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("got:\n%s", got)
	}
	if strings.Contains(got, "whsec") {
		t.Error("a mistake prints a secret")
	}
}

func TestParseOfWhatIsNotYAML(t *testing.T) {
	for _, text := range []string{"sip: [", "\tsip: 1", "a: b: c", "- 1\n- 2", "sip:\n  trunks: 7", "*nothing", "sip: &a {trunks: *a}"} {
		if _, err := Parse("afterbeep.yaml", []byte(text), env); err == nil {
			t.Errorf("%q was taken", text)
		} else if !strings.HasPrefix(err.Error(), "afterbeep.yaml:") {
			t.Errorf("%q: the mistake has no place: %v", text, err)
		}
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

func TestDirectoryLooksUpAsItCameFirst(t *testing.T) {
	d := NewDirectory([]Mailbox{{Number: "101", Name: "extension"}, {Number: "+49101", Name: "number"}})
	for _, c := range []struct{ user, number, want string }{
		{"101", "+49101", "extension"},
		{"0101", "+49101", "number"},
		{"102", "", ""},
	} {
		m, ok := d.Lookup(c.user, c.number)
		if ok != (c.want != "") || (ok && m.Name != c.want) {
			t.Errorf("Lookup(%q, %q) = %v, want %q", c.user, c.number, m, c.want)
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
