package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func noteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "note", Short: "List, show and send again notes; export or erase a mailbox's"}
	path := configFlag(cmd.PersistentFlags())
	cmd.AddCommand(noteListCommand(path), noteShowCommand(path), noteRedriveCommand(path), noteExportCommand(path), noteEraseCommand(path))
	return cmd
}

func noteListCommand(path *string) *cobra.Command {
	var f delivery.Filter
	cmd := &cobra.Command{
		Use: "list", Short: "List the newest notes and how their deliveries stand", Args: arguments,
		Long: "List the newest notes and how their deliveries stand. Where many machines share\n" +
			"the work (store.redis), each lists the calls that came in there.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 1 {
				return errors.New("--limit: expected 1 or more")
			}
			if err := checkFilter(f); err != nil {
				return err
			}
			return operate(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
				f := f
				f.Limit++ // one more tells that there are more
				notes, err := op.List(ctx, f)
				if err != nil {
					return err
				}
				more := len(notes) == f.Limit
				if more {
					notes = notes[:f.Limit-1]
				}
				if err := printNotes(cmd.OutOrStdout(), notes); err != nil {
					return err
				}
				if slices.ContainsFunc(notes, func(s delivery.Summary) bool { return s.Unreadable }) {
					_, _ = fmt.Fprintln(cmd.ErrOrStderr(), delivery.ErrUnreadable)
				}
				if !more {
					return nil
				}
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --before %s goes on\n", notes[len(notes)-1].Note.ID)
				return err
			})
		},
	}
	filterFlags(cmd.Flags(), &f)
	cmd.Flags().StringVar(&f.State, "state", "", "only notes or deliveries in this state: "+strings.Join(states(), ", "))
	cmd.Flags().IntVar(&f.Limit, "limit", 50, "how many at most")
	cmd.Flags().StringVar(&f.Before, "before", "", "only notes older than this id, to page on")
	return cmd
}

func noteShowCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a note's whole life, each attempt with its answer", Args: arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return operate(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
				life, err := op.Life(ctx, args[0])
				if err != nil {
					return noteError(args[0], err)
				}
				return printLife(cmd.OutOrStdout(), life)
			})
		},
	}
}

func noteError(id string, err error) error {
	if errors.Is(err, delivery.ErrNotFound) {
		return fmt.Errorf("there is no note %s; `afterbeep note list` shows the newest", id)
	}
	return err
}

// operate runs a command on the store that the file names. The operator need
// not have the secrets of the service.
func operate(ctx context.Context, path string, do func(context.Context, control.Operator) error) error {
	cfg, err := config.LoadWithoutSecrets(path)
	if err != nil {
		return err
	}
	return operateOn(ctx, cfg.Store, do)
}

// operateEverywhere is operate on the notes of all machines: where many share the
// work, the running gateway alone reaches what the others have.
func operateEverywhere(ctx context.Context, path string, do func(context.Context, control.Operator) error) error {
	cfg, err := config.LoadWithoutSecrets(path)
	if err != nil {
		return err
	}
	return operateOn(ctx, cfg.Store, func(ctx context.Context, op control.Operator) error {
		if _, running := op.(*control.Client); cfg.Store.Fleet && !running {
			return errors.New("start the gateway first: it alone reaches what Redis and the other machines have of the mailbox")
		}
		return do(ctx, op)
	})
}

// operateOn asks the gateway that holds the store, or opens the store itself
// when none runs.
func operateOn(ctx context.Context, o store.Options, do func(context.Context, control.Operator) error) error {
	client, err := control.Dial(ctx, o.Path)
	if err == nil {
		return errors.Join(do(ctx, client), client.Close())
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the store %s is another user's: run this as the gateway's user, with sudo -u: %w", o.Path, fs.ErrPermission)
	}
	if _, err := os.Stat(o.Path); err != nil { // a command that reads makes no store
		return fmt.Errorf("there is no store at %s: has the gateway run with this file? %w", o.Path, err)
	}
	o.AsIs = true // to seal it is the gateway's part
	s, err := store.Open(o, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, s), s.Close())
}

func printNotes(out io.Writer, notes []delivery.Summary) error {
	if len(notes) == 0 {
		_, err := fmt.Fprintln(out, "no notes")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tCALLED\tKIND\tLENGTH\tMAILBOX\tCALLER\tSTATE")
	for _, s := range notes {
		if s.Unreadable {
			_, _ = fmt.Fprintf(w, "%s\t%s\t-\t-\t-\t-\tcannot be read\n", s.Note.ID, delivery.MintedAt(s.Note.ID).Local().Format(time.DateTime))
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Note.ID, s.Note.CalledAt.Local().Format(time.DateTime),
			s.Note.Kind, length(s.Note.Duration), s.Note.Recipient.Number, who(s.Note.Caller), standing(s))
	}
	return w.Flush()
}

// standing is a note's state, or how its deliveries stand once it has any.
func standing(s delivery.Summary) string {
	if len(s.Jobs) == 0 {
		return string(s.Note.State)
	}
	var states []string
	for _, j := range s.Jobs {
		states = append(states, fmt.Sprintf("%s %s", j.Chain[j.Step].Channel, j.State))
	}
	return strings.Join(states, ", ")
}

func printLife(out io.Writer, life delivery.Life) error {
	n := life.Note
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("note", "%s", n.ID)
	row("state", "%s", n.State)
	row("mailbox", "%s", named(n.Recipient.Number, n.Recipient.Name))
	row("caller", "%s%s", named(who(n.Caller), n.Caller.Name), trustText(n.Caller))
	row("called", "%s, %s, by trunk %s", n.CalledAt.Local().Format(time.RFC3339), cmp.Or(n.Reason, "no reason given"), n.Trunk)
	row("kind", "%s%s", n.Kind, map[bool]string{true: ", cut off"}[n.Partial])
	if n.Media.Bytes > 0 {
		row("file", "%s, %d bytes, %s", length(n.Duration), n.Media.Bytes, n.Media.Type)
		row("sha256", "%s", n.Media.SHA256)
	}
	for _, j := range life.Jobs {
		if len(j.Chain) == 0 { // another machine's, which is over
			row("delivery", "%s %s", j.ID, j.State)
			continue
		}
		row("delivery", "%s %s by %s, step %d, attempt %d%s", j.ID, j.State, chainText(j.Chain), j.Step+1, j.Attempt, nextText(j))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, e := range life.Events {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05.000"), e.Name, e.Target, e.Detail)
	}
	return w.Flush()
}

func chainText(c delivery.Chain) string {
	var targets []string
	for _, t := range c {
		targets = append(targets, t.String())
	}
	return strings.Join(targets, " -> ")
}

func nextText(j delivery.Job) string {
	if j.State != delivery.JobQueued || j.NextAt.IsZero() {
		return ""
	}
	if j.Waits {
		return ", waits for a report until " + j.NextAt.Local().Format(time.RFC3339)
	}
	return ", next try " + j.NextAt.Local().Format(time.RFC3339)
}

func who(c delivery.Caller) string {
	if c.Private {
		return "private number"
	}
	return cmp.Or(c.Number, "unknown")
}

// named is a number with the name it goes by, if it has one.
func named(number, name string) string { return strings.TrimSpace(number + " " + name) }

// trustText is what the network says of a caller's number.
func trustText(c delivery.Caller) string {
	return map[string]string{"verified": ", number verified", "doubtful": ", the number may be spoofed"}[c.Trust]
}

// length writes seconds to the hundredth; a note's length is exact.
func length(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
