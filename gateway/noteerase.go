package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func noteEraseCommand(path *string) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "erase MAILBOX", Short: "Erase every note of a mailbox, and print the proof", Args: arguments,
		Long: "Erase every note of a mailbox: its recordings, files, deliveries, and the link\n" +
			"to its inbox page. Nothing brings them back; `note export` writes them out\n" +
			"before. Copies that were delivered stay where they are. Where many machines\n" +
			"share the work (store.redis), the running gateway erases on all of them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sure(cmd, args[0], yes); err != nil {
				return err
			}
			return operateEverywhere(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
				erased, err := op.Erase(ctx, args[0])
				if err != nil {
					return err
				}
				return printErasure(cmd.OutOrStdout(), erased)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// sure has the mailbox typed in again.
func sure(cmd *cobra.Command, mailbox string, yes bool) error {
	if yes {
		return nil
	}
	if in, ok := cmd.InOrStdin().(*os.File); !ok || !isatty.IsTerminal(in.Fd()) {
		return errors.New("nobody is here to be asked: confirm with --yes")
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Every note of mailbox %s will be gone. Type its number to go on: ", mailbox)
	line, err := readLine(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr()) // the question's line is open
		return fmt.Errorf("nothing was erased: %w", err)
	}
	if line != mailbox {
		return errors.New("that is another number: nothing was erased")
	}
	return nil
}

// readLine reads a line of what a person types, until ctx ends: what waits for
// the line then ends with the program.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		typed <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case a := <-typed:
		return a.line, a.err
	case <-ctx.Done():
		return "", errors.New("interrupted")
	}
}

func printErasure(out io.Writer, e delivery.Erasure) error {
	if e.Notes+e.Elsewhere+e.InProgress == 0 {
		_, _ = fmt.Fprintln(out, "there were no notes of this mailbox; the link to its inbox page, if it had one, is erased. `afterbeep note list` shows whose notes are there")
	} else {
		_, _ = fmt.Fprintf(out, "erased %s, %s, %s at %s\n", count(e.Notes, "note", "notes"), count(e.Files, "file", "files"), size(e.Bytes), e.At.UTC().Format(time.RFC3339))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, n := range e.Proof {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", n.ID, n.SHA256)
	}
	if e.Elsewhere+e.Machines+e.Behind > 0 {
		_, _ = fmt.Fprintf(w, "also erased: %s of other machines, confirmed by %s\n",
			count(e.Elsewhere, "note", "notes"), count(e.Machines, "machine", "machines"))
	}
	if e.Behind > 0 {
		_, _ = fmt.Fprintf(w, "not confirmed by %s yet: the notes are gone from Redis, and go from their disks when they are back\n",
			count(e.Behind, "machine", "machines"))
	}
	if e.Machines+e.Behind > 0 {
		_, _ = fmt.Fprintln(w, "calls under way on other machines are not erased, nor counted here; erase again when they have ended")
	}
	if e.InProgress > 0 {
		_, _ = fmt.Fprintf(w, "not erased: %s under way on this machine; erase again when none is\n", count(e.InProgress, "call", "calls"))
	}
	return w.Flush()
}
