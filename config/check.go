package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/afterbeep/afterbeep/delivery"
)

// check finds what no part of the file can know by itself.
func (d *decoder) check(c *Config) {
	if c.Store.Path == "" {
		d.problem("store.path", "expected a folder, like ./data")
	}
	d.checkRetention("retention", c.Retention)
	d.checkHTTP(c.HTTP)
	d.checkSockets(c)
	d.checkChannels(c)
	d.checkDirectory(c.Directory)
	newIndex(c.Mailboxes, func(later, earlier int) {
		key := fmt.Sprintf("mailboxes[%d].number", later)
		switch p, _ := parsePattern(c.Mailboxes[later].Number); {
		case p.first != "":
			d.problem(key, "this range and that of mailboxes[%d], %s, overlap; each number needs a mailbox of its own", earlier, c.Mailboxes[earlier].Number)
		case c.Mailboxes[later].Number != "":
			d.problem(key, "this number is taken by mailboxes[%d]; each mailbox needs its own", earlier)
		}
	})
	for i := range c.Mailboxes {
		m := &c.Mailboxes[i]
		key := fmt.Sprintf("mailboxes[%d]", i)
		d.checkMailbox(key, m)
		d.checkTargets(c, key, m)
		if m.Keep != c.Retention {
			d.checkRetention(key+".retention", m.Keep)
		}
	}
}

// leastToken is how long a token must be that nobody is to guess.
const leastToken = 16 // characters

func (d *decoder) checkHTTP(h HTTP) {
	if h.PublicURL != "" {
		u, err := url.Parse(h.PublicURL)
		switch {
		case err != nil:
			d.problem("http.public_url", "expected an address like https://notes.example, not %q", h.PublicURL)
		case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
			d.problem("http.public_url", "expected http:// or https:// and a host, like https://notes.example, not %q", u.Redacted())
		case u.RawQuery != "", u.ForceQuery, u.Fragment != "", u.User != nil:
			d.problem("http.public_url", "expected a host and a path at most, like https://notes.example/voice, not %q", u.Redacted())
		}
	}
	if h.AdminToken != "" && len(h.AdminToken) < leastToken {
		d.problem("http.admin_token", "expected %d characters or more, like the output of: openssl rand -hex 16", leastToken)
	}
}

// checkSockets finds addresses that two parts would bind.
func (d *decoder) checkSockets(c *Config) {
	type socket struct {
		key, network string
		addr         netip.AddrPort
	}
	var sockets []socket
	for i, l := range c.SIP.Listen {
		sockets = append(sockets, socket{fmt.Sprintf("sip.listen[%d]", i), l.Socket(), l.Addr})
	}
	sockets = append(sockets, socket{"http.listen", "tcp", c.HTTP.Listen})
	for i, s := range sockets {
		if s.addr.Port() == 0 { // not valid, or any free one
			continue
		}
		for _, other := range sockets[:i] {
			if s.network == other.network && s.addr.Port() == other.addr.Port() && overlap(s.addr.Addr(), other.addr.Addr()) {
				d.problem(s.key, "expected an address and a port of its own, but %s holds %s already", other.key, other.addr)
			}
		}
		ports := c.Media.Ports
		if s.network == "udp" && ports.First <= s.addr.Port() && s.addr.Port() <= ports.Last && overlap(s.addr.Addr(), c.Media.Address) {
			d.problem("media.ports", "expected ports that nothing else uses, but %s holds the port of %s, %d", ports, s.key, s.addr.Port())
		}
	}
}

// overlap says whether a socket on a keeps one on b from being bound: the
// unspecified IPv6 address takes IPv4 too.
func overlap(a, b netip.Addr) bool {
	covers := func(a, b netip.Addr) bool { return a.IsUnspecified() && (a.Is6() || b.Is4()) }
	return a == b || covers(a, b) || covers(b, a)
}

// linker is a channel that may give its receiver a link to a note's file.
type linker interface{ NeedsPublicURL() bool }

// callee is a channel whose service may call back.
type callee interface{ NeedsCallback() bool }

// addressed is a channel whose targets have addresses.
type addressed interface{ CheckAddress(address string) error }

func (d *decoder) checkChannels(c *Config) {
	for name, ch := range c.Channels {
		key := "channels." + name
		if o, ok := ch.Options.(callee); ok && o.NeedsCallback() && c.HTTP.PublicURL == "" && !d.wrong["http.public_url"] {
			d.problem(key, "the service calls back at http.public_url: set it")
		}
		switch l, ok := ch.Options.(linker); {
		case name == Inbox:
			d.problem(key, "this name belongs to the inbox that is always there; choose another")
		case name == delivery.Operator:
			d.problem(key, "this name belongs to the webhook that tells the operator, see the top-level key operator; choose another")
		case strings.Contains(name, ":"):
			d.problem(key, "expected a name without a colon: mailboxes deliver to NAME or NAME:ADDRESS")
		case strings.Contains(name, "/"), strings.HasPrefix(name, "."), strings.ContainsFunc(name, unicode.IsControl):
			d.problem(key, "expected a name without a slash or a leading dot: a folder and an address are called by it")
		case ok && l.NeedsPublicURL() && c.HTTP.PublicURL == "" && !d.wrong["http.public_url"]:
			d.withoutLinks(key, ch)
		}
	}
}

// withoutLinks is a channel whose links would lead nowhere.
func (d *decoder) withoutLinks(key string, ch Channel) {
	if _, ok := fieldsOf(reflect.ValueOf(ch.Options).Elem()).find("attach"); ok {
		d.problem(key+".attach", "without attach: true the receiver gets a link, which needs http.public_url: set one of the two")
		return
	}
	d.problem(key, "its messages hold a link to the note, which needs http.public_url: set that")
}

// language is a tag of BCP 47 as far as texts are chosen by it, or a locale
// like pt_BR.
var language = regexp.MustCompile(`^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$`)

func (d *decoder) checkMailbox(key string, m *Mailbox) {
	d.checkNumber(join(key, "number"), m.Number)
	d.checkBlocked(join(key, "blocked"), m.Blocked)
	if m.Language != "" && !language.MatchString(m.Language) {
		d.problem(join(key, "language"), "expected a language like de or pt-BR, not %q", m.Language)
	}
	if !d.isTimezone(m.Timezone) {
		d.problem(join(key, "timezone"), "expected a time zone like Europe/Berlin, not %q", m.Timezone)
	}
	if len(m.Deliver) == 0 {
		d.problem(join(key, "deliver"), "expected one target or more; without the key notes go to the inbox")
	}
}

// rounded is what a spreadsheet makes of a number that is not text.
var rounded = regexp.MustCompile(`^[0-9][.,][0-9]+E\+[0-9]+$`)

// international is a number in E.164, a range of them or a wildcard.
var international = regexp.MustCompile(`^\+[0-9]*(\*|[0-9]|-\+[0-9]+)$`)

func (d *decoder) checkNumber(key, number string) {
	bare := strings.Join(strings.FieldsFunc(number, unicode.IsSpace), "")
	_, err := parsePattern(number)
	switch {
	case bare == "":
		d.problem(key, `expected a number, an extension or a SIP user part, like "+4930123456" or "101"`)
	case bare != number:
		d.problem(key, "write it without blanks: %q, not %q", bare, number)
	case strings.ContainsAny(number, "@<>") || strings.HasPrefix(number, "sip:") || strings.HasPrefix(number, "tel:"):
		d.problem(key, `expected the number alone, like "+4930123456" or "101", not %q`, number)
	case rounded.MatchString(number):
		d.problem(key, "a spreadsheet has rounded this number: make its column text, and enter it again, not %q", number)
	case err != nil:
		d.problem(key, "%v", err)
	case number[0] == '+' && !international.MatchString(number): // a call to it could never be told
		d.problem(key, `expected digits alone behind the +, like "+4930123456", and at most one * after them, not %q`, number)
	case garbled(number):
		d.problem(key, "expected a number in digits alone, a range like 200-299 or a wildcard like 2*, not %q", number)
	}
}

// isTimezone remembers what was found out: a zone is read from a file each time.
func (d *decoder) isTimezone(name string) bool {
	known, asked := d.zones[name]
	if !asked {
		_, err := time.LoadLocation(name)
		known = err == nil
		if d.zones == nil {
			d.zones = map[string]bool{}
		}
		d.zones[name] = known
	}
	return known
}

func (d *decoder) checkTargets(c *Config, key string, m *Mailbox) {
	for i, t := range m.Deliver {
		d.checkTarget(c, join(key, fmt.Sprintf("deliver[%d]", i)), t)
	}
	for i, chain := range m.Also {
		for j, t := range chain {
			d.checkTarget(c, join(key, fmt.Sprintf("also[%d][%d]", i, j)), t)
		}
	}
}

func (d *decoder) checkTarget(c *Config, key string, t delivery.Target) {
	if t.Channel == delivery.Operator {
		d.problem(key, "notes are not delivered to the operator, who is told of those that could not be")
		return
	}
	if ch, ok := c.Channels[t.Channel]; ok || t.Channel == "" || t.Channel == Inbox {
		d.checkAddress(key, ch, t)
		return
	}
	names := []string{Inbox}
	for name := range c.Channels {
		names = append(names, name)
	}
	d.problem(key, "there is no channel %q%s", t.Channel, oneOf(t.Channel, names))
}

func (d *decoder) checkAddress(key string, ch Channel, t delivery.Target) {
	if a, ok := ch.Options.(addressed); ok {
		if err := a.CheckAddress(t.Address); err != nil {
			d.problem(key, "the address of a target of %s: %v", t.Channel, err)
		}
		return
	}
	if t.Address != "" && (ch.Options != nil || t.Channel == Inbox) { // else its type is not known
		d.problem(key, "the targets of %s have no address: write %s alone", t.Channel, t.Channel)
	}
}
