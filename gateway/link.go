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
	cmd := &cobra.Command{Use: "link MAILBOX", Short: "Print the secret link to a mailbox's inbox page", Args: arguments}
	path := configFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.LoadWithoutSecrets(*path)
		if err != nil {
			return err
		}
		if _, ok := config.NewDirectory(cfg.Mailboxes).Lookup(args[0], ""); !ok {
			return fmt.Errorf("there is no mailbox %s in %s", args[0], *path)
		}
		return operateOn(cmd.Context(), cfg.Store, func(ctx context.Context, op control.Operator) error {
			token, err := op.LinkFor(ctx, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), inboxURL(cfg, token)) // cmd.Println would write to stderr
			return err
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
