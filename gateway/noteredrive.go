package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func noteRedriveCommand(path *string) *cobra.Command {
	var (
		f   delivery.Filter
		all bool
	)
	cmd := &cobra.Command{
		Use: "redrive [ID]", Short: "Send notes again where they could not be delivered", Args: arguments,
		Long: "Sends one note again where it could not be delivered, or every such note of a\n" +
			"channel, a mailbox or a time. It may be interrupted and given again.\n\n" +
			"What the operator could not be told goes again with --channel operator alone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := f != delivery.Filter{}
			switch {
			case len(args) == 1 && (all || f != delivery.Filter{Channel: f.Channel}):
				return errors.New("with an ID only --channel chooses further")
			case len(args) == 1:
				return operate(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
					return redriveOne(ctx, cmd.OutOrStdout(), op, args[0], f.Channel)
				})
			case !chosen && !all:
				return errors.New("say which notes: an ID, --channel, --mailbox, --since, --until, or --all")
			case chosen && all:
				return errors.New("--all is every note that could not be delivered: leave it away, or the filters")
			}
			if err := checkFilter(f); err != nil {
				return err
			}
			return operate(cmd.Context(), *path, func(ctx context.Context, op control.Operator) error {
				return redriveMany(ctx, cmd.OutOrStdout(), op, f)
			})
		},
	}
	filterFlags(cmd.Flags(), &f)
	cmd.Flags().BoolVar(&all, "all", false, "every note that could not be delivered")
	return cmd
}

func redriveOne(ctx context.Context, out io.Writer, op control.Operator, id, channel string) error {
	n, err := op.Redrive(ctx, id, channel)
	if err != nil {
		return noteError(id, err)
	}
	said := fmt.Sprintf("queued again: %d", n)
	if n == 0 {
		said = "nothing to send again: no delivery of this note is dead"
	}
	_, err = fmt.Fprintln(out, said)
	return err
}

const (
	redrivePage  = 256 // notes that are asked for at once
	redriveSends = 16  // mailboxes whose notes are queued at the same time
)

// redriveMany queues the dead notes that f chooses again, the oldest first.
func redriveMany(ctx context.Context, out io.Writer, op control.Operator, f delivery.Filter) error {
	f.State = string(delivery.JobDead)
	total, err := op.Count(ctx, f)
	if err != nil {
		return err
	}
	if total == 0 {
		_, err := fmt.Fprintln(out, "nothing to send again: no delivery that was asked for is dead")
		return err
	}
	r := &redrive{op: op, channel: f.Channel}
	stop := r.show(newSteps(out), total)
	err = r.run(ctx, f)
	stop()
	_, _ = fmt.Fprintf(out, "queued again: %s of %s\n",
		count(int(r.jobs.Load()), "delivery", "deliveries"), count(int(r.notes.Load()), "note", "notes"))
	if ctx.Err() != nil {
		_, _ = fmt.Fprintf(out, "interrupted at %d of %d; the same command goes on\n", r.notes.Load(), total)
		return errSaid
	}
	return err
}

// redrive queues many notes again.
type redrive struct {
	op          control.Operator
	channel     string
	notes, jobs atomic.Int64
}

// run pages through the notes. What was queued again is no longer dead, and
// what dies again meanwhile lies behind.
func (r *redrive) run(ctx context.Context, f delivery.Filter) error {
	f.Limit, f.After = redrivePage, delivery.FirstID(time.Time{})
	for {
		page, err := r.op.List(ctx, f)
		if err == nil {
			err = r.page(ctx, page)
		}
		if err != nil || len(page) < redrivePage {
			return err
		}
		f.After = page[len(page)-1].Note.ID
	}
}

// page queues notes again, those of one mailbox one after another: within a
// thread their order is kept.
func (r *redrive) page(ctx context.Context, notes []delivery.Summary) error {
	byMailbox := map[string][]string{}
	for _, s := range notes {
		mailbox := s.Note.Recipient.Number
		byMailbox[mailbox] = append(byMailbox[mailbox], s.Note.ID)
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(redriveSends)
	for _, ids := range byMailbox {
		work.Go(func() error {
			for _, id := range ids {
				n, err := r.op.Redrive(ctx, id, r.channel)
				if err != nil && !errors.Is(err, delivery.ErrNotFound) { // erased meanwhile
					return err
				}
				r.notes.Add(1)
				r.jobs.Add(int64(n))
			}
			return nil
		})
	}
	return work.Wait()
}

// show keeps a line of progress on a terminal until stop.
func (r *redrive) show(to *steps, total int) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n := r.notes.Load()
				to.progress("redrive", "%s %d of %d notes", bar(float64(n)/float64(max(total, 1))), n, total)
			case <-quit:
				to.clear()
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
