package channel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// TelegramOptions are the settings of a Telegram bot (Bot API 10.1).
type TelegramOptions struct {
	Token   string `yaml:"token" required:"true" secret:"true" help:"the bot's token, as @BotFather shows it" example:"${TELEGRAM_TOKEN}"`
	Updates string `yaml:"updates" enum:"poll|webhook|off" help:"how people link their chats: the gateway asks for what they wrote, Telegram brings it to http.public_url, or they cannot"`
	HTTP    `hidden:"ack"`
}

func defaultTelegram() *TelegramOptions {
	o := &TelegramOptions{Updates: "poll", HTTP: defaultHTTP()}
	o.Rate = delivery.Rate{Sends: 30, Per: time.Second} // what Telegram allows a bot in all
	return o
}

// telegramToken is the bot's number and its secret. It stands in the path of
// every request.
var telegramToken = regexp.MustCompile(`^[0-9]{1,20}:[A-Za-z0-9_-]{1,128}$`)

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *TelegramOptions) Validate() error {
	wrong := o.validate()
	if !telegramToken.MatchString(o.Token) {
		wrong = append(wrong, &settingError{"token", "expected a bot's token as @BotFather shows it: digits, a colon, letters and digits"})
	}
	switch o.Updates {
	case "poll", "webhook", "off":
	default:
		wrong = append(wrong, &settingError{"updates", fmt.Sprintf("expected poll, webhook or off, not %q", o.Updates)})
	}
	if o.Ack != "accepted" {
		wrong = append(wrong, &settingError{"ack", fmt.Sprintf("expected accepted, not %q: Telegram tells a bot nothing more about a message", o.Ack)})
	}
	return errors.Join(wrong...)
}

// NeedsCallback says that the service calls back at the public URL.
func (o *TelegramOptions) NeedsCallback() bool { return o.Updates == "webhook" }

// CheckAddress returns what is wrong with a target's address, or nil.
func (o *TelegramOptions) CheckAddress(address string) error {
	if address == "" && o.Updates == "off" {
		return errors.New("expected the address of a chat, like 12345: with updates: off no mailbox can link one")
	}
	_, err := parseTelegram(address)
	return err
}

// Open makes the channel: one that listens, unless updates are off.
func (o *TelegramOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	base, err := o.address("https://api.telegram.org/bot" + o.Token)
	if err != nil {
		return nil, err
	}
	if env.Memory == nil {
		env.Memory = &delivery.Scratch{}
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	_, secret, _ := strings.Cut(o.Token, ":")
	t := &telegram{
		client: newClient(o.HTTP, env, newRedactor(base, o.Token, secret)),
		base:   base, token: o.Token, env: env, rate: o.Rate, within: o.Within,
	}
	switch o.Updates {
	case "poll":
		t.most = maxPoll
		return &telegramPoll{telegram: t, self: delivery.NewID()}, nil
	case "webhook":
		return &telegramHook{t}, nil
	default:
		return t, nil
	}
}

// telegram sends notes as a bot.
type telegram struct {
	*client
	base   *url.URL // with the token: never to be printed
	token  string
	env    Env
	rate   delivery.Rate
	within time.Duration
	pace   telegramPace

	mu   sync.Mutex
	name string // the bot's, once it is known
}

// Rate is how many messages the bot may send in all.
func (t *telegram) Rate() delivery.Rate { return t.rate }

// Within is how long a chain waits for the bot.
func (t *telegram) Within() time.Duration { return t.within }
