package channel

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

func operatorFor(server string) Options {
	o := &OperatorOptions{URL: strings.Replace(server, "://", "://crm:pa55word@", 1) + "/notes?key=t0ken", Secret: testSecret}
	o.AllowPrivate = true
	return o
}

// operatorSubject is the operator's channel in the suite.
func operatorSubject() subject {
	return subject{
		name: "operator", options: operatorFor, secrets: webhookSecrets,
		verify: verifyNotice, key: webhookKey, statuses: hookMeanings(),
	}
}

// verifyNotice checks that the operator gets what is documented, and nothing
// more: neither audio nor caller.
func verifyNotice(t *testing.T, r *http.Request, body []byte, n delivery.Note) {
	t.Helper()
	verifySigned(t, r, body)
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Error(err)
	}
	want := map[string]any{
		"type": "note.dead", "timestamp": delivery.MintedAt(webhookKey(r, body)).UTC().Format("2006-01-02T15:04:05.999Z07:00"),
		"data": map[string]any{
			"id": n.ID, "kind": string(n.Kind), "mailbox": n.Recipient.Number, "channel": "crm", "called_at": "2026-03-01T11:00:00.123Z",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the operator got %v\nwant             %v", got, want)
	}
}

func TestOperatorSettings(t *testing.T) {
	for name, o := range map[string]*OperatorOptions{
		"url":    {URL: "ops.example", Secret: testSecret},
		"secret": {URL: "https://ops.example", Secret: "whsec_short"},
	} {
		var s *settingError
		if err := o.Validate(); !errors.As(err, &s) || s.key != name {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := o.Open(Env{}); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
}

func TestRateOfASetting(t *testing.T) {
	o := operatorFor("http://127.0.0.1").(*OperatorOptions)
	if err := o.Rate.UnmarshalText([]byte("20/m")); err != nil {
		t.Fatal(err)
	}
	limited, ok := open(t, o).(delivery.Limited)
	if !ok || limited.Rate().String() != "20/m" {
		t.Errorf("the channel's rate is %v", limited)
	}
}

func TestOperatorChoosesEvents(t *testing.T) {
	for name, tt := range map[string]struct {
		events Events
		all    int // 0 for a mistake
	}{
		"none named": {nil, 4}, "some": {Events{"note.dead", "note.played"}, 2}, "a mistake": {Events{"note.dead", "dead"}, 0},
	} {
		o := &OperatorOptions{URL: "https://ops.example", Secret: testSecret, Events: tt.events}
		err := o.Validate()
		if tt.all > 0 && (err != nil || len(tt.events.All()) != tt.all) {
			t.Errorf("%s: %v, %v", name, tt.events.All(), err)
		}
		var s *settingError
		if tt.all == 0 && (!errors.As(err, &s) || s.key != "events" || !strings.Contains(s.expected, "note.dead, note.delivered, note.read, note.played")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
