package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func noteExportCommand(path *string) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "export MAILBOX", Short: "Write a mailbox's notes and their audio into a zip", Args: arguments,
		Long: "Write a mailbox's notes and their audio into a zip. Where many machines share\n" +
			"the work (store.redis), the running gateway writes those of all machines.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				to = zipName(args[0])
			}
			return operateEverywhere(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
				return mailboxError(args[0], exportTo(ctx, op, args[0], to, cmd))
			})
		},
	}
	cmd.Flags().StringVarP(&to, "output", "o", "", "the file to write, - for standard output (default MAILBOX.zip in this folder)")
	return cmd
}

// exportTo writes the zip to a new file that only its owner reads, or to
// standard output for "-". What could not be finished is removed.
func exportTo(ctx context.Context, op control.Operator, mailbox, to string, cmd *cobra.Command) error {
	said := newSteps(cmd.ErrOrStderr())
	if to == "-" {
		return op.Export(ctx, mailbox, &progress{w: cmd.OutOrStdout(), steps: said})
	}
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: remove it, or name another file with --output", to)
	}
	if err != nil {
		return err
	}
	out := &progress{w: file, steps: said}
	err = op.Export(ctx, mailbox, out)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil && !errors.Is(err, delivery.ErrIncomplete) {
		return errors.Join(err, os.Remove(to))
	}
	said.say("exported", "%s, %s", to, size(out.bytes))
	return err
}

// zipName is a file name for a mailbox, which may be any text that SIP allows.
func zipName(mailbox string) string {
	safe := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-_.", r)) {
			return r
		}
		return '_'
	}, mailbox)
	return cmp.Or(strings.TrimLeft(safe, "-."), "mailbox") + ".zip"
}

func mailboxError(mailbox string, err error) error {
	if errors.Is(err, delivery.ErrNotFound) {
		return fmt.Errorf("mailbox %s has no notes; `afterbeep note list` shows whose are there", mailbox)
	}
	return err
}

// progress shows how much was written.
type progress struct {
	w     io.Writer
	steps *steps
	bytes int64
	shown time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.bytes += int64(n)
	if time.Since(p.shown) > 100*time.Millisecond {
		p.shown = time.Now()
		p.steps.progress("export", "%s", size(p.bytes))
	}
	return n, err
}

// size writes a number of bytes in kB or MB.
func size(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
