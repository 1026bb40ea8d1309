package channel

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// WhatsAppOptions are the settings of a business's number at the WhatsApp Cloud
// API (https://developers.facebook.com/docs/whatsapp/cloud-api).
type WhatsAppOptions struct {
	PhoneNumberID    string            `yaml:"phone_number_id" required:"true" help:"the id (not the number) of the business's phone number, from WhatsApp > API Setup of the app" example:"\"106540352242922\""`
	Token            string            `yaml:"token" required:"true" secret:"true" help:"a system user's permanent token with whatsapp_business_messaging" example:"${WHATSAPP_TOKEN}"`
	AppSecret        string            `yaml:"app_secret" required:"true" secret:"true" help:"the app's secret, from App settings > Basic: callbacks are signed with it" example:"${WHATSAPP_APP_SECRET}"`
	VerifyToken      string            `yaml:"verify_token" required:"true" secret:"true" help:"a word of your own; give the same one where the app's callback address is entered" example:"${WHATSAPP_VERIFY_TOKEN}"`
	Template         *WhatsAppTemplate `yaml:"template" help:"what invites a recipient who has not written or called for 24 hours; without it such notes go to the next target" example:"{name: voice_note, language: en}"`
	AssumeWindowOpen bool              `yaml:"assume_window_open" help:"send the note itself to recipients of whom nothing is known yet, and invite only when that is refused"`
	Version          string            `yaml:"version" help:"of the Graph API" example:"v23.0"`
	HTTP             `hidden:"api_url|allow_private"`
}

// WhatsAppTemplate names an approved utility template. Its body has {{1}}, who
// called, and {{2}}, when; its only button is a quick reply, like "Play".
type WhatsAppTemplate struct {
	Name     string `yaml:"name" required:"true" help:"the template's name"`
	Language string `yaml:"language" required:"true" help:"the language it was approved in, like en or pt_BR"`
}

func defaultWhatsApp() *WhatsAppOptions {
	o := &WhatsAppOptions{Version: "v23.0", HTTP: defaultHTTP()}
	o.Rate = delivery.Rate{Sends: 80, Per: time.Second} // what a number may send at first
	return o
}

var (
	graphID      = regexp.MustCompile(`^[0-9]{5,20}$`)
	graphVersion = regexp.MustCompile(`^v[0-9]{1,2}\.[0-9]$`)
)

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *WhatsAppOptions) Validate() error {
	wrong := o.validate()
	if !graphID.MatchString(o.PhoneNumberID) {
		wrong = append(wrong, &settingError{"phone_number_id", "expected the id of the phone number, digits alone, in quotes; not the number itself"})
	}
	if !graphVersion.MatchString(o.Version) {
		wrong = append(wrong, &settingError{"version", fmt.Sprintf("expected one like v23.0, not %q", o.Version)})
	}
	for _, secret := range []settingError{{"token", o.Token}, {"app_secret", o.AppSecret}, {"verify_token", o.VerifyToken}} {
		if value := secret.expected; value == "" || strings.ContainsAny(value, " \t\r\n") {
			wrong = append(wrong, &settingError{secret.key, "expected a word without spaces"})
		}
	}
	return errors.Join(wrong...)
}

// NeedsCallback says that without the service's callbacks nothing would come of
// an invitation, and no note would count as delivered or read.
func (o *WhatsAppOptions) NeedsCallback() bool {
	return o.Template != nil || o.Ack != string(delivery.WasAccepted)
}

// CheckAddress says what is wrong with a recipient's address; "" stands for the
// linked chat, or the mailbox's own number.
func (*WhatsAppOptions) CheckAddress(address string) error {
	if _, ok := waUser(address); !ok && address != "" {
		return errWhatsAppUser
	}
	return nil
}

// Open makes the channel.
func (o *WhatsAppOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	graph, err := o.address("https://graph.facebook.com")
	if err != nil {
		return nil, err
	}
	redact := newRedactor(graph, o.Token, o.AppSecret, o.VerifyToken, o.PhoneNumberID)
	return &whatsapp{client: newClient(o.HTTP, env, redact), o: o, env: env, graph: graph.JoinPath(o.Version)}, nil
}

// whatsapp is one business number. A note is a line of text, who called and
// when, and the voice message as the reply to it; outside the recipient's
// window it is an invitation first.
type whatsapp struct {
	*client
	o     *WhatsAppOptions
	env   Env
	graph *url.URL   // with the version
	mu    sync.Mutex // over what is read from memory, changed and put back
	clock waClock
}

// Within is how long a chain waits for the service.
func (w *whatsapp) Within() time.Duration { return w.o.Within }

// Rate is how many notes the service takes: each is two messages.
func (w *whatsapp) Rate() delivery.Rate {
	return delivery.Rate{Sends: w.o.Rate.Sends, Per: 2 * w.o.Rate.Per}
}

// Ack is what settles a chain.
func (w *whatsapp) Ack() delivery.What { return delivery.What(w.o.Ack) }

// Tells says that the service tells of every level, by its callbacks.
func (w *whatsapp) Tells(delivery.What) bool { return true }

var (
	waNumber = regexp.MustCompile(`^\+?[1-9][0-9]{6,14}$`) // E.164
	// waScoped is a user's id at one business, or at several of one owner, for
	// users who show no number ("Business-scoped user IDs", March 2026).
	waScoped        = regexp.MustCompile(`^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`)
	errWhatsAppUser = errors.New("expected the recipient's number with its country code, like 4930123456, or a business-scoped user id, like DE.13491208655302741918")
)

// waUser is a recipient as the service names him: the digits of his number, or
// his business-scoped user id.
func waUser(address string) (user string, ok bool) {
	switch {
	case waNumber.MatchString(address):
		return strings.TrimPrefix(address, "+"), true
	case waScoped.MatchString(address):
		return address, true
	default:
		return "", false
	}
}
