package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// SMSOptions are the settings of short messages by an operator's HTTP gateway:
// a line about the call, and a link to a page that plays the note.
type SMSOptions struct {
	URL      string            `yaml:"url" required:"true" secret:"true" help:"where the gateway takes messages" example:"https://sms.example/send"`
	Method   string            `yaml:"method" enum:"POST|GET|PUT" help:"of the request"`
	Format   string            `yaml:"format" enum:"json|form|query" help:"how the fields travel: in the body as JSON or as a form, or in the URL"`
	Fields   map[string]string `yaml:"fields" secret:"true" help:"the fields of a message; {to} is the number, {text} the text, {from} the sender, {id} the same on every attempt" example:"{to: \"{to}\", text: \"{text}\"}"`
	Headers  map[string]string `yaml:"headers" secret:"true" help:"headers of the request" example:"{Authorization: \"${SMS_TOKEN}\"}"`
	User     string            `yaml:"user" help:"HTTP basic authentication; empty for none"`
	Password string            `yaml:"password" secret:"true" help:"of user"`
	From     string            `yaml:"from" help:"the sender, where the gateway wants one" example:"Voicemail"`
	Expect   string            `yaml:"expect" help:"a regular expression that the answer to an accepted message matches, where the gateway says 200 to all; empty takes every 2xx" example:"^OK"`
	Segments int               `yaml:"segments" help:"how many segments a text is made to fit in, by shortening all but the link"`
	HTTP     `hidden:"api_url|ack"`
}

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *SMSOptions) Validate() error {
	wrong := append(o.validate(), o.onlyAccepted("the gateway says nothing more about a message"))
	bad := func(key, expected string) { wrong = append(wrong, &settingError{key, expected}) }
	if _, err := webURL(o.URL); err != nil {
		bad("url", err.Error())
	}
	if o.Format != "query" && o.Method == http.MethodGet {
		bad("format", "with method: GET expected query: there is no body")
	}
	if o.Segments < 1 || o.Segments > 10 {
		bad("segments", "expected 1 to 10")
	}
	if o.User == "" && o.Password != "" {
		bad("user", "expected a user for the password")
	}
	if all := strings.Join(mapValues(o.Fields), " "); len(o.Fields) > 0 && (!strings.Contains(all, "{to}") || !strings.Contains(all, "{text}")) {
		bad("fields", "expected {to} and {text} among the values")
	}
	if _, err := regexp.Compile(o.Expect); err != nil {
		bad("expect", "expected a regular expression, like ^OK")
	}
	for name, value := range o.Headers {
		if !headerName.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			bad("headers", "expected names and values of HTTP headers, each on one line")
		}
	}
	return errors.Join(wrong...)
}

// headerName is a token of RFC 9110 §5.6.2.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func mapValues(m map[string]string) (values []string) {
	for _, v := range m {
		values = append(values, v)
	}
	return values
}

// e164 is a number that every network understands (ITU-T E.164 §6).
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{4,14}$`)

// CheckAddress says what is wrong with a recipient; "" is the mailbox's own
// number.
func (o *SMSOptions) CheckAddress(address string) error {
	if address != "" && !e164.MatchString(address) {
		return errors.New("expected a number like +4930123456, or none for the mailbox's own")
	}
	return nil
}

// NeedsPublicURL says that the recipient gets a link to the note.
func (o *SMSOptions) NeedsPublicURL() bool { return true }

// Open makes the channel.
func (o *SMSOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	to, err := o.address(o.URL)
	if err != nil {
		return nil, err
	}
	s := &sms{o: *o, address: to, expect: regexp.MustCompile(o.Expect), statuses: smsStatuses}
	if len(s.o.Fields) == 0 {
		s.o.Fields = map[string]string{"to": "{to}", "text": "{text}"}
	}
	if !strings.Contains(strings.Join(mapValues(s.o.Fields), " "), "{id}") { // nothing tells a repeat
		s.statuses = slices.Concat(doubts, smsStatuses)
	}
	secrets := []string{o.User, o.Password, encoded(o.User + ":" + o.Password)}
	for _, value := range append(mapValues(o.Headers), mapValues(o.Fields)...) {
		if !strings.Contains(value, "{") {
			secrets = append(secrets, value, strings.TrimPrefix(value, "Bearer "))
		}
	}
	s.client = newClient(o.HTTP, env, newRedactor(to, secrets...))
	if o.Method == http.MethodGet {
		once := Transport(o.AllowPrivate)
		once.DisableKeepAlives = true // where a kept connection breaks off, net/http sends a GET again by itself
		s.http.Transport = once
	}
	return s, nil
}

// sms hands short messages to a gateway.
type sms struct {
	*client
	o        SMSOptions
	address  *url.URL
	expect   *regexp.Regexp
	statuses []rule
}

// smsStatuses says what a gateway's answer means. Whether one that gets {id}
// tells a repeat by it is its own business.
var smsStatuses = []rule{
	{200, 299, delivery.Done, false, ""},
	{300, 399, delivery.Dead, false, "redirects are not followed; set url to the address it leads to"},
	{401, 401, delivery.Retry, true, "the gateway refuses the login; see headers, user and password"},
	{402, 402, delivery.Retry, true, "the gateway's account has no credit left"},
	{403, 403, delivery.Retry, true, "the gateway refuses the login; see headers, user and password"},
	{408, 408, delivery.Retry, false, ""},
	{425, 425, delivery.Retry, false, ""},
	{429, 429, delivery.Retry, false, ""},
	{400, 499, delivery.Dead, false, "the gateway does not want this message; see url, method, fields and format, and whether it sends to this number"},
	{500, 599, delivery.Retry, false, ""},
}

// Within is how long a chain waits for the gateway.
func (s *sms) Within() time.Duration { return s.o.Within }

// Rate is how many messages the gateway takes.
func (s *sms) Rate() delivery.Rate { return s.o.Rate }

// Send hands the message over.
func (s *sms) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	to := p.Address
	if to == "" {
		to = p.Note.Recipient.Number
	}
	if !e164.MatchString(to) {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: errors.New("the mailbox is no number that takes messages; name one in its target, like sms:+4930123456")}
	}
	link := ""
	if p.Note.Kind != delivery.Missed {
		if link = pageOf(p); link == "" {
			return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: errors.New("there is no address that a link to the note could lead to; set http.public_url")}
		}
	}
	text := smsText(p.Note, p.Repeat, link, s.o.Segments)
	req, err := s.request(ctx, strings.NewReplacer("{to}", to, "{text}", text, "{from}", s.o.From, "{id}", p.Key))
	if err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: errURL}
	}
	a, err := s.do(req)
	if err != nil {
		return delivery.Receipt{}, err
	}
	var private []string
	for _, sent := range []string{text, link, to, strings.TrimPrefix(to, "+")} {
		private = append(private, sent, url.QueryEscape(sent))
	}
	meant := s.expect.Match(a.body)
	a.body = []byte(s.redact.hide(string(a.body), private...))
	said, err := s.verdict(s.statuses, a, p.Note)
	if err != nil || meant {
		return said, err
	}
	said.Detail = s.redact.excerpt(a.body, p.Note)
	failed := &delivery.SendError{Outcome: delivery.Dead, Status: a.status, Err: errors.New("the gateway's answer is not what expect says: it did not take the message")}
	if a.cut {
		failed.Outcome, failed.Err = delivery.Unknown, errors.New("the gateway's answer broke off before what expect looks for: it may have taken the message")
	}
	return said, failed
}

// request is the message as the gateway wants it.
func (s *sms) request(ctx context.Context, fill *strings.Replacer) (*http.Request, error) {
	fields, values := map[string]string{}, url.Values{}
	for name, value := range s.o.Fields {
		fields[name] = fill.Replace(value)
		values.Set(name, fields[name])
	}
	to, contentType := *s.address, ""
	var body io.Reader = http.NoBody
	switch s.o.Format {
	case "json":
		var out bytes.Buffer
		if err := encodeJSON(&out, fields); err != nil {
			return nil, err
		}
		body, contentType = &out, "application/json"
	case "form":
		body, contentType = strings.NewReader(values.Encode()), "application/x-www-form-urlencoded"
	default:
		for name, all := range s.address.Query() { // the URL's own stay
			values[name] = append(all, values[name]...)
		}
		to.RawQuery = values.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, s.o.Method, to.String(), body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	s.login(req)
	return req, nil
}

// login proves to the gateway who asks.
func (s *sms) login(req *http.Request) {
	for name, value := range s.o.Headers {
		req.Header.Set(name, value)
	}
	if s.o.User != "" {
		req.SetBasicAuth(s.o.User, s.o.Password)
	}
}

// Check asks the gateway for its headers, without a message. Whether the login
// is right it may say only to a message; what it says here counts.
func (s *sms) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.address.String(), http.NoBody)
	if err != nil {
		return errURL
	}
	s.login(req)
	a, err := s.do(req)
	if err != nil {
		return err
	}
	if r := find(smsStatuses, a.status); a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
		return errors.New(r.hint)
	}
	return nil
}
