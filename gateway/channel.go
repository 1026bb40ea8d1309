package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
	"github.com/afterbeep/afterbeep/gateway/web"
)

func channelCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "channel", Short: "Try a chat channel, or print what its service's admin needs"}
	path := configFlag(cmd.PersistentFlags())
	cmd.AddCommand(channelTestCommand(path), channelRegistrationCommand(path))
	return cmd
}

// registered is a type of channel that the admin of its service registers.
type registered interface{ Registration() string }

func channelRegistrationCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "registration NAME", Short: "Print what a channel's server needs to know, secrets included", Args: arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(*path)
			if err != nil {
				return err
			}
			configured, err := channelNamed(cfg, *path, args[0])
			if err != nil {
				return err
			}
			file := ""
			if r, ok := configured.Options.(registered); ok {
				file = r.Registration()
			}
			if file == "" {
				return fmt.Errorf("channels.%s has nothing to register: only some channels have, with more settings; see example-config", args[0])
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), file)
			return err
		},
	}
}

func channelNamed(cfg *config.Config, path, name string) (config.Channel, error) {
	configured, ok := cfg.Channels[name]
	if !ok {
		known := cmp.Or(strings.Join(slices.Sorted(maps.Keys(cfg.Channels)), ", "), "none")
		return configured, fmt.Errorf("there is no channel %q in %s; it has %s", name, path, known)
	}
	return configured, nil
}

func channelTestCommand(path *string) *cobra.Command {
	var mailbox string
	cmd := &cobra.Command{
		Use: "test NAME:ADDRESS", Short: "Send a sample through a channel, and say what came of it", Args: arguments,
		Long: "Sends a sample voice note through a channel of the file to an address, as a\n" +
			"mailbox would name it, or with NAME alone to the chat that the mailbox is linked\n" +
			"to. The running gateway sends it if there is one. The note is kept nowhere: a\n" +
			"link in it leads to no note.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var to delivery.Target
			if err := to.UnmarshalText([]byte(args[0])); err != nil {
				return err
			}
			return testChannel(cmd.Context(), cmd.OutOrStdout(), *path, to, mailbox)
		},
	}
	cmd.Flags().StringVar(&mailbox, "mailbox", "", "whose note it pretends to be: language, time zone, linked chat (default the first that delivers there)")
	return cmd
}

// addressed is a type of channel whose targets have addresses.
type addressed interface{ CheckAddress(address string) error }

func testChannel(ctx context.Context, out io.Writer, path string, to delivery.Target, mailbox string) error {
	cfg, err := config.LoadWithoutSecrets(path)
	if err != nil {
		return err
	}
	if to.Channel == config.Inbox {
		return errors.New("the inbox needs no test: `afterbeep link MAILBOX` opens it, and `afterbeep call` leaves a note there")
	}
	configured, err := channelNamed(cfg, path, to.Channel)
	if err != nil {
		return err
	}
	if err := checkTarget(configured, to); err != nil {
		return err
	}
	recipient, err := recipientOf(ctx, cfg, path, to, mailbox)
	if err != nil {
		return err
	}
	show := newSteps(out)
	tried, err := tryChannel(ctx, show, cfg, path, control.Trial{Target: to, Recipient: recipient})
	if err != nil {
		return err
	}
	return showTried(show, tried)
}

// checkTarget says what is wrong with the address of a target.
func checkTarget(c config.Channel, to delivery.Target) error {
	a, ok := c.Options.(addressed)
	switch {
	case ok:
		if err := a.CheckAddress(to.Address); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
	case to.Address != "":
		return fmt.Errorf("%s: the targets of %s have no address: write %s alone", to, to.Channel, to.Channel)
	}
	return nil
}

// recipientOf is whose note the sample pretends to be.
func recipientOf(ctx context.Context, cfg *config.Config, path string, to delivery.Target, mailbox string) (delivery.Recipient, error) {
	if mailbox != "" {
		m, err := findMailbox(ctx, cfg, path, mailbox)
		return m.Recipient, err
	}
	d, err := config.OpenDirectory(cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return delivery.Recipient{}, err
	}
	for m := range d.All() { // the service's are asked for one by one
		for _, chain := range m.Chains() {
			if slices.Contains(chain, to) {
				return m.Recipient(), nil
			}
		}
	}
	return delivery.Recipient{}, nil
}

// tryChannel has the running gateway send the sample; without one it opens the
// store and the channels itself, as the gateway does.
func tryChannel(ctx context.Context, show *steps, cfg *config.Config, path string, t control.Trial) (control.Tried, error) {
	kind := cfg.Channels[t.Target.Channel].Type
	client, err := control.Dial(ctx, cfg.Store.Path)
	if err == nil {
		show.say("channel", "%s, by the running gateway", kind)
		show.progress("sending", "…")
		tried, err := client.Try(ctx, t)
		return tried, errors.Join(err, client.Close())
	}
	if errors.Is(err, fs.ErrPermission) {
		return control.Tried{}, fmt.Errorf("the store %s is another user's: run this as the gateway's user, with sudo -u: %w", cfg.Store.Path, fs.ErrPermission)
	}
	if cfg, err = config.Load(path); err != nil { // now the secrets are needed
		return control.Tried{}, err
	}
	show.say("channel", "%s", kind)
	return tryAlone(ctx, show, cfg, t)
}

// tryAlone opens the store and the channels as the gateway does. Where there is
// no store yet a temporary one serves: a real one is the gateway's to make.
func tryAlone(ctx context.Context, show *steps, cfg *config.Config, t control.Trial) (tried control.Tried, err error) {
	cfg.Store.AsIs = true // to seal it is the gateway's part
	if _, err := os.Stat(cfg.Store.Path); errors.Is(err, fs.ErrNotExist) {
		dir, err := os.MkdirTemp("", "afterbeep-test-")
		if err != nil {
			return tried, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		cfg.Store.Path, cfg.Store.KeyFile, cfg.Store.Redis = dir, "", ""
		show.say("store", "not there before the gateway has run: no chat is linked yet")
	}
	g := &gateway{cfg: cfg, log: slog.New(slog.DiscardHandler), metrics: web.NewMetrics(versionText())}
	if err := g.openStore(); err != nil {
		return tried, err
	}
	if err := g.openDelivery(); err != nil {
		return tried, errors.Join(err, g.close())
	}
	show.progress("sending", "…")
	tried = g.try(ctx, t)
	return tried, g.close()
}

// meanings say what a failure would mean for a note.
var meanings = map[delivery.Outcome]string{
	delivery.Retry:   "a note would be sent again until it arrives, or go to the next target when its time here is over",
	delivery.Unknown: "it may have arrived: look there; a note would be sent once more, marked as a possible copy",
	delivery.Dead:    "a note would go to the next target at once, or be given up",
}

func showTried(show *steps, t control.Tried) error {
	if t.Failed == nil {
		said := []string{t.Receipt.Detail}
		if t.Receipt.ID != "" {
			said = append(said, "message "+t.Receipt.ID)
		}
		show.say("sent", "in %s: %s", millis(t.Took), strings.Join(said, ", "))
		if t.Receipt.Invited {
			show.say("invited", "the service took an invitation; a note goes out when the recipient asks for it")
		}
		show.say("look", "does it play? The caller is Afterbeep, %s", demoCaller)
		return nil
	}
	show.say("failed", "after %s: %s", millis(t.Took), t.Failed.Text)
	if t.Receipt.Detail != "" {
		show.say("answer", "%s", t.Receipt.Detail)
	}
	if t.Failed.After > 0 {
		show.say("wait", "the service asks for %s", t.Failed.After.Round(time.Second))
	}
	if t.Failed.Credentials {
		show.say("meaning", "this channel takes no note at all until that is mended")
	} else {
		show.say("meaning", "%s", meanings[t.Failed.Outcome])
	}
	return errSaid
}
