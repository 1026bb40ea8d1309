package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func configFlag(flags *pflag.FlagSet) *string {
	return flags.StringP("config", "c", "afterbeep.yaml", "the configuration file")
}

func linkCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "link MAILBOX", Short: "Print the secret link to a mailbox's inbox page", Args: cobra.ExactArgs(1)}
	path := configFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		if _, ok := config.NewDirectory(cfg.Mailboxes).Lookup(args[0], ""); !ok {
			return fmt.Errorf("there is no mailbox %s in %s", args[0], *path)
		}
		return operate(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
			token, err := op.LinkFor(ctx, args[0])
			if err != nil {
				return err
			}
			cmd.Println(inboxURL(cfg, token))
			return nil
		})
	}
	return cmd
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
