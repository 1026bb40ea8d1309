// Command afterbeep replaces carrier voicemail: an unanswered call, forwarded
// over SIP, becomes a playable voice note in the recipient's chat.
//
// Each command stands in the file of its name: serve and demo run the gateway;
// check, call and bench try it; note, link and keys tend what it keeps. What
// runs is wired in gateway.go: store, channels, directory, accounts and lamps
// open the rooms for it, reload and retention change and tend them while it
// runs, ready and metrics tell how it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // a container has no zone files

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	mistakes := config.FileErrors{}
	switch {
	case err == nil:
		return
	case errors.Is(err, errSaid):
	case errors.As(err, &mistakes): // a line each, as editors and compilers have it
		fmt.Fprintln(os.Stderr, mistakes)
	default:
		fmt.Fprintln(os.Stderr, "afterbeep:", err)
	}
	os.Exit(1)
}

// errSaid ends a command whose output has told what is wrong already.
var errSaid = errors.New("the command has failed")

// commands stand in one table; each is one file.
func commands() []*cobra.Command {
	return []*cobra.Command{
		demoCommand(), serveCommand(), checkCommand(), callCommand(), benchCommand(),
		noteCommand(), linkCommand(), channelCommand(), keysCommand(), exampleCommand(), versionCommand(),
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "afterbeep",
		Short: "Unanswered calls become voice notes in the chat",
		Long: "Afterbeep replaces carrier voicemail: a phone call that nobody answers is\n" +
			"forwarded to it over SIP, and the recipient finds it seconds later as a\n" +
			"playable voice note.\n\n" +
			"See it work:   afterbeep demo\n" +
			"Run it:        afterbeep example-config > afterbeep.yaml\n" +
			"               afterbeep check --config afterbeep.yaml\n" +
			"               afterbeep serve --config afterbeep.yaml",
		Version:      versionLine(),
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80")) // a terminal's width
	cmd.AddCommand(commands()...)
	return cmd
}
