package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// Config is the whole configuration file.
type Config struct {
	SIP       sip.Options              `yaml:"sip" help:"signalling: where calls come in, and from whom"`
	Media     media.Options            `yaml:"media" help:"the caller's audio"`
	Store     store.Options            `yaml:"store" help:"where recordings, notes and the queue are kept"`
	Retention delivery.Retention       `yaml:"retention" help:"how long notes are kept, unread ones too"`
	HTTP      HTTP                     `yaml:"http" help:"the inbox page, media links, health and metrics"`
	Log       Log                      `yaml:"log" help:"what is written about calls; never a number or a name, but in call records when asked for"`
	Channels  map[string]Channel       `yaml:"channels" help:"chat services by a name of your choice; \"inbox\" is always there"`
	Operator  *channel.OperatorOptions `yaml:"operator" help:"a webhook of yours that is told of each note that could not be delivered, was delivered, read or played, never of its audio or caller; takes allow_private and rate too" example:"{url: https://ops.example/afterbeep, secret: \"${OPERATOR_SECRET}\"}"`
	Contacts  string                   `yaml:"contacts" path:"true" help:"a vCard file (.vcf), as phones and CardDAV servers export it, by which callers get their names; read again when it changes" example:"contacts.vcf"`
	Mailboxes []Mailbox                `yaml:"mailboxes" help:"whose calls are taken, and where their notes go"`
	Directory DirectoryOptions         `yaml:"directory" help:"more mailboxes, see deploy/directory.md: those of a CSV file, or of a service that is asked; the ones above go before"`
}

// HTTP is the `http` part of the file.
type HTTP struct {
	Listen     netip.AddrPort `yaml:"listen" help:"address and port of the inbox page, media links, /healthz, /readyz and /metrics; 127.0.0.1 answers this machine only"`
	PublicURL  string         `yaml:"public_url" help:"how recipients and chat services reach this page from outside, like https://notes.example"`
	AdminToken string         `yaml:"admin_token" secret:"true" help:"opens every mailbox's inbox at /admin/, 16 characters or more; without it only their secret links do"`
}

// Log is the `log` part of the file.
type Log struct {
	Level         string `yaml:"level" enum:"debug|info|warn|error" help:"how much the log says"`
	Format        string `yaml:"format" enum:"text|json" help:"text for a terminal, json for a log store"`
	CallRecords   string `yaml:"call_records" path:"true" help:"a file that gets one JSON line for each call (CDR); empty for none, - for standard output"`
	RecordNumbers string `yaml:"record_numbers" enum:"hash|plain" help:"numbers in call records: a keyed hash, or as they are"`
}

// Mailbox is one number whose unanswered calls are taken.
type Mailbox struct {
	Number   string           `yaml:"number" required:"true" help:"E.164 with +, an extension, or any SIP user part, in quotes; 200-299 or +49301234* is a mailbox for each such number"`
	Name     string           `yaml:"name" help:"shown to the recipient"`
	Language string           `yaml:"language" help:"of the texts, like en or de (default en)"`
	Timezone string           `yaml:"timezone" help:"of the times shown, like Europe/Berlin (default UTC)"`
	Deliver  delivery.Chain   `yaml:"deliver" help:"a chain: the next one only when the one before failed or was not acknowledged in time"`
	Also     []delivery.Chain `yaml:"also" help:"copies: each entry is a chain of its own, one target or a list of them"`
	Contacts string           `yaml:"contacts" path:"true" help:"a vCard file of its own, which goes before the contacts for all" example:"reception.vcf"`

	Disabled bool     `yaml:"disabled" example:"true" help:"its calls are refused as if there were no such mailbox; its notes stay"`
	Blocked  []string `yaml:"blocked" help:"callers who are refused as if there were no such mailbox: numbers in quotes, or private for those who hide theirs" example:"[\"+493055501234\", private]"`

	Retention MailboxRetention   `yaml:"retention" help:"how long this mailbox's notes are kept, in place of the retention for all"`
	Keep      delivery.Retention `yaml:"-"` // what that comes to
}

// Chains are the mailbox's chain and its copies.
func (m *Mailbox) Chains() []delivery.Chain {
	return append([]delivery.Chain{m.Deliver}, m.Also...)
}

// Recipient is the mailbox as a note names it.
func (m *Mailbox) Recipient() delivery.Recipient {
	return delivery.Recipient{Number: m.Number, Name: m.Name, Language: m.Language, Timezone: m.Timezone}
}

// Inbox is the channel that is always there.
const Inbox = "inbox"

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		SIP:       sip.DefaultOptions(),
		Media:     media.DefaultOptions(),
		Store:     store.DefaultOptions(),
		Retention: delivery.Retention{Audio: 30 * day, Metadata: 90 * day},
		HTTP:      HTTP{Listen: netip.MustParseAddrPort("127.0.0.1:8080")},
		Log:       Log{Level: "info", Format: "text", RecordNumbers: "hash"},
		Directory: DirectoryOptions{Fresh: 5 * time.Minute},
	}
}

// Load reads the file at path. All its mistakes come back at once, as
// [FileErrors].
func Load(path string) (*Config, error) { return load(path, os.LookupEnv) }

// LoadWithoutSecrets reads the file as Load does, but leaves every secret
// empty: for an operator's command, which has neither the service's
// environment nor a need for its secrets.
func LoadWithoutSecrets(path string) (*Config, error) { return load(path, nil) }

func load(path string, getenv func(string) (string, bool)) (*Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: write one with `afterbeep example-config > %s` and edit it", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("the configuration file cannot be read: %w", err)
	}
	return Parse(path, text, getenv)
}

// Parse reads a file's text. path is named in the mistakes, and relative paths
// in the file count from its folder; getenv resolves ${ENV}. A nil getenv
// leaves secrets empty and unchecked.
func Parse(path string, text []byte, getenv func(string) (string, bool)) (*Config, error) {
	c := Default()
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("the folder of %s: %w", path, err)
	}
	d := newDecoder(path)
	d.dir, d.getenv = dir, getenv
	if d.document(text, &c) {
		c.fill(dir)
		d.shareCallees(&c)
		d.openToAccounts(&c)
		c.Store.Fleet = d.given("store.redis")
		d.check(&c)
	}
	if err := d.problems(); err != nil {
		return nil, err
	}
	return &c, nil
}

// fill sets what follows from the rest of the file.
func (c *Config) fill(dir string) {
	c.Store.Path = absolute(dir, c.Store.Path)
	for i := range c.Mailboxes {
		c.Mailboxes[i].fill(c)
	}
}

// shareCallees gives trunks that do not name a limit of callees the one for all;
// 0 is a limit that is named.
func (d *decoder) shareCallees(c *Config) {
	for i := range c.SIP.Trunks {
		if !d.given(fmt.Sprintf("sip.trunks[%d].limits.callees", i)) {
			c.SIP.Trunks[i].Limits.Callees = c.SIP.Limits.Callees
		}
	}
}

// given says whether the file has a value for a key.
func (d *decoder) given(key string) bool { return d.at[key] != position{} && !d.empty[key] }

// openToAccounts lets an account be all that a file must name: where the file
// does not say where to listen, calls and their audio may come from outside.
func (d *decoder) openToAccounts(c *Config) {
	if len(c.SIP.Accounts) == 0 || len(c.SIP.Listen) == 0 {
		return
	}
	if !d.given("sip.listen") && !d.given("sip.trunks") {
		c.SIP.Listen = c.SIP.ListenForAccounts()
	}
	if !d.given("media.address") && !d.given("media.advertise") {
		c.Media.Address = c.SIP.Listen[0].Addr.Addr()
	}
}

// fill sets what follows from the rest of the file.
func (m *Mailbox) fill(c *Config) {
	if m.Deliver == nil {
		m.Deliver = delivery.Chain{{Channel: Inbox}}
	}
	m.Keep = m.Retention.over(c.Retention)
}

func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
