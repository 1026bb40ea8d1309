package config

import (
	"encoding/json"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// entry is a mailbox as it is written outside the configuration file: a line of
// a CSV file, an answer of a directory service. What its fields mean, Mailbox
// says.
type entry struct {
	Number    string         `json:"number"`
	Name      string         `json:"name,omitempty"`
	Language  string         `json:"language,omitempty"`
	Timezone  string         `json:"timezone,omitempty"`
	Deliver   targets        `json:"deliver,omitempty"`
	Also      []targets      `json:"also,omitempty"`
	Retention entryRetention `json:"retention,omitzero"`
}

// entryRetention is a retention of its own, as times like 7d; "" is as for all.
type entryRetention struct {
	Audio    string `json:"audio,omitempty"`
	Metadata string `json:"metadata,omitempty"`
}

// targets is a chain as it is written.
type targets []string

// UnmarshalJSON reads a list, or one target for a list of one.
func (t *targets) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*t = make(targets, 1)
		return json.Unmarshal(b, &(*t)[0])
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// mailbox reads an entry, and finds what is wrong with it.
func (d *decoder) mailbox(c *Config, e entry) Mailbox {
	m := Mailbox{
		Number: e.Number, Name: e.Name, Language: e.Language, Timezone: e.Timezone,
		Retention: MailboxRetention{Audio: d.span("retention.audio", e.Retention.Audio), Metadata: d.span("retention.metadata", e.Retention.Metadata)},
	}
	if len(e.Deliver) > 0 {
		m.Deliver = d.chain("deliver", e.Deliver)
	}
	for _, chain := range e.Also {
		if len(chain) > 0 {
			m.Also = append(m.Also, d.chain("also", chain))
		}
	}
	m.fill(c)
	d.checkMailbox("", &m)
	d.checkTargets(c, "", &m)
	if m.Keep != c.Retention {
		d.checkRetention("retention", m.Keep)
	}
	return m
}

// chain reads targets.
func (d *decoder) chain(key string, written targets) delivery.Chain {
	chain := make(delivery.Chain, len(written))
	for i, text := range written {
		if err := chain[i].UnmarshalText([]byte(text)); err != nil {
			d.problem(key, "%v, not %q", err, text)
		}
	}
	return chain
}

// span reads a time; nil for none.
func (d *decoder) span(key, text string) *time.Duration {
	if text == "" {
		return nil
	}
	span, err := parseSpan(text)
	if err != nil || span < 0 {
		d.problem(key, "expected a time with its unit, like 12h or 30d, not %q", text)
		return nil
	}
	return &span
}
