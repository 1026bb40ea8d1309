package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func configFlag(flags *pflag.FlagSet) *string {
	return flags.StringP("config", "c", "afterbeep.yaml", "the configuration file")
}

func linkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "link MAILBOX", Short: "Print the secret link to a mailbox's page, or link its chat", Args: arguments,
		Long: "Print the secret link to a mailbox's inbox page.\n\n" +
			"With --channel: print a link and a code by which the chat that opens it, or that\n" +
			"the code is sent from, becomes the mailbox's at that channel; with --revoke\n" +
			"end that.",
	}
	path := configFlag(cmd.Flags())
	name := cmd.Flags().String("channel", "", "link a chat at this channel")
	revoke := cmd.Flags().Bool("revoke", false, "end the link at the channel")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.LoadWithoutSecrets(*path)
		if err != nil {
			return err
		}
		mailbox, err := findMailbox(cmd.Context(), cfg, *path, args[0])
		number := mailbox.Recipient.Number
		switch {
		case err != nil:
			return err
		case *name == "" && *revoke:
			return fmt.Errorf("say which link is to end: --revoke --channel NAME")
		case *name == "":
			return printInbox(cmd.Context(), cmd.OutOrStdout(), cfg, number)
		case cfg.Channels[*name].Options == nil:
			return fmt.Errorf("there is no channel %s in %s", *name, *path)
		case *revoke:
			return revokeChat(cmd.Context(), cmd.OutOrStdout(), *path, *name, number)
		case !slices.Contains(mailbox.Links, *name):
			return fmt.Errorf("mailbox %s does not deliver to the chat that it links at %s: put %s without an address into its deliver or also", number, *name, *name)
		}
		return printCode(cmd.Context(), cmd.OutOrStdout(), *path, *name, number)
	}
	return cmd
}

// printInbox prints the link to a mailbox's page.
func printInbox(ctx context.Context, out io.Writer, cfg *config.Config, mailbox string) error {
	return operateOn(ctx, cfg.Store, func(ctx context.Context, op control.Operator) error {
		token, err := op.LinkFor(ctx, mailbox)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, inboxURL(cfg, token)) // cmd.Println would write to stderr
		return err
	})
}

// printCode prints what links a chat to a mailbox.
func printCode(ctx context.Context, out io.Writer, path, name, mailbox string) error {
	return linkOn(ctx, path, func(ctx context.Context, chats control.Chats) error {
		c, err := chats.LinkChat(ctx, name, mailbox)
		if err != nil {
			return err
		}
		if c.Link != "" {
			_, _ = fmt.Fprintf(out, "open:   %s\n", c.Link)
		}
		_, err = fmt.Fprintf(out, "or say: %s\ncode:   %s\ngood until %s, once\n", c.Say, c.Code, c.Expires.Local().Format(time.DateTime))
		return err
	})
}

func revokeChat(ctx context.Context, out io.Writer, path, name, mailbox string) error {
	return linkOn(ctx, path, func(ctx context.Context, chats control.Chats) error {
		if err := chats.UnlinkChat(ctx, name, mailbox); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "mailbox %s has no chat at %s any more\n", mailbox, name)
		return err
	})
}

// linkOn links chats by the gateway that holds the store, or by the store
// itself when none runs.
func linkOn(ctx context.Context, path string, do func(context.Context, control.Chats) error) error {
	return operate(ctx, path, func(ctx context.Context, op control.Operator) error {
		switch on := op.(type) {
		case *control.Client:
			return do(ctx, on)
		case *store.Store:
			return do(ctx, storedChats{path, on})
		}
		return fmt.Errorf("chats are not linked by a %T", op)
	})
}

// storedChats links chats while no gateway runs: one that starts while a code is
// good takes it.
type storedChats struct {
	path  string // of the file
	store *store.Store
}

// LinkChat implements control.Chats. The channel needs its secrets for that.
func (s storedChats) LinkChat(ctx context.Context, name, mailbox string) (l control.ChatCode, err error) {
	cfg, err := config.Load(s.path)
	if err != nil {
		return l, err
	}
	c, err := cfg.Channels[name].Options.Open(trialEnv(cfg, name))
	if err != nil {
		return l, fmt.Errorf("channels.%s: %w", name, err)
	}
	if closer, ok := c.(io.Closer); ok {
		defer func() { _ = closer.Close() }() // idle connections alone
	}
	return linkChat(ctx, c, s.chats(name), mailbox)
}

// UnlinkChat implements control.Chats.
func (s storedChats) UnlinkChat(ctx context.Context, name, mailbox string) error {
	return s.chats(name).Revoke(ctx, mailbox)
}

func (s storedChats) chats(name string) delivery.Chats {
	return delivery.NewChats(s.store.Memory(name))
}

// inboxURL is where a mailbox's page is: below the public URL, else where the
// gateway listens.
func inboxURL(cfg *config.Config, token string) string {
	base := strings.TrimSuffix(cfg.HTTP.PublicURL, "/")
	if base == "" {
		base = "http://" + cfg.HTTP.Listen.String()
	}
	return base + "/inbox/" + token
}
