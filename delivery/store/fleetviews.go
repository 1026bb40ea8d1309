package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// Thread implements delivery.Inbox: the notes of all machines, or this one's
// while Redis is away.
func (f *Fleet) Thread(ctx context.Context, mailbox, before string, limit int) ([]delivery.Note, error) {
	own, err := f.Store.Thread(ctx, mailbox, before, limit)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]int, len(own))
	for i, n := range own {
		byID[n.ID] = i
	}
	for read, more := 0, true; more && read < limit; {
		everywhere, err := f.shared.Thread(ctx, f.vault.alias(mailbox), before, limit)
		if err != nil {
			break
		}
		for _, from := range everywhere {
			before = from.ID
			if i, here := byID[from.ID]; here {
				own[i].ReadAt = earlier(own[i].ReadAt, from.Read)
				own[i].PlayedAt = earlier(own[i].PlayedAt, from.Played)
				read++
				continue
			}
			n, err := f.takeIn(from)
			if err != nil {
				f.cannotRead(from.ID, err)
				continue
			}
			own = append(own, n.Note)
			read++
		}
		more = len(everywhere) == limit
	}
	slices.SortFunc(own, func(a, b delivery.Note) int { return cmp.Compare(b.ID, a.ID) })
	return own[:min(limit, len(own))], nil //nolint:nilerr // the page shows what there is; that Redis is away was said once
}

// earlier is the first of two times, of which either may be zero: never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// Mark implements delivery.Inbox, for the notes of all machines.
func (f *Fleet) Mark(ctx context.Context, mailbox, id string, what delivery.Mark) error {
	own := f.Store.Mark(ctx, mailbox, id, what)
	if own != nil && !errors.Is(own, delivery.ErrNotFound) {
		return own
	}
	first, err := f.shared.Mark(ctx, f.vault.alias(mailbox), id, string(what))
	if first && own != nil {
		f.changed(mailbox)
	}
	switch {
	case own == nil: // the note's home knows: that is enough
		return nil
	case errors.Is(err, shared.ErrNotFound):
		return own
	}
	return err
}

// news hands what other machines publish and mark to those who watch a mailbox.
func (f *Fleet) news(n shared.News) { f.watches.publish(n.Mailbox, n.Note) }

// Open implements delivery.Notes, for the notes of all machines.
func (f *Fleet) Open(ctx context.Context, id string) (io.ReadSeekCloser, delivery.Note, error) {
	file, own, err := f.Store.Open(ctx, id)
	if own.ID != "" || !errors.Is(err, delivery.ErrNotFound) {
		return file, own, err
	}
	n, from, err := f.foreign(ctx, id)
	if errors.Is(err, delivery.ErrNotFound) {
		return nil, n.Note, f.missing(ctx, id)
	}
	if err != nil {
		return nil, n.Note, err
	}
	sealed, err := f.shared.Audio(ctx, from.Mailbox, id)
	if errors.Is(err, shared.ErrNotFound) {
		return nil, n.Note, f.missing(ctx, id)
	}
	if err != nil {
		return nil, n.Note, err
	}
	audio, err := n.box.open("file", sealed)
	if err == nil && hexSum(audio) != n.Media.SHA256 {
		err = fmt.Errorf("the file of note %s is damaged in Redis: its SHA-256 is not the one that was kept", id)
	}
	if err != nil {
		return nil, n.Note, err
	}
	return openFile{bytes.NewReader(audio)}, n.Note, nil
}

// missing is the error for a file that Redis does not have: delivery.ErrNotFound,
// but not for a note that this machine is just sending. That one Redis forgot
// after the lease, and its home publishes it again.
func (f *Fleet) missing(ctx context.Context, id string) error {
	var sending bool
	err := f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM attempt WHERE note = ? AND outcome = '')", id).Scan(&sending)
	switch {
	case err != nil:
		return fmt.Errorf("note %s: %w", id, err)
	case sending:
		return fmt.Errorf("note %s: Redis has forgotten its file", id)
	}
	return fmt.Errorf("note %s has no file: %w", id, delivery.ErrNotFound)
}

// foreign reads a note that this machine has no row of. delivery.ErrNotFound.
func (f *Fleet) foreign(ctx context.Context, id string) (kept, shared.Note, error) {
	if !delivery.ValidID(id) {
		return kept{}, shared.Note{}, delivery.ErrNotFound
	}
	from, err := f.shared.Note(ctx, id)
	if errors.Is(err, shared.ErrNotFound) {
		return kept{}, from, delivery.ErrNotFound
	}
	if err != nil {
		return kept{}, from, err
	}
	n, err := f.takeIn(from)
	if err != nil {
		err = fmt.Errorf("%w: %w", delivery.ErrUnreadable, err)
	}
	return n, from, err
}

// Life implements delivery.Notes. Of another machine's note it has what all
// machines share: the steps and attempts are known to that machine.
func (f *Fleet) Life(ctx context.Context, id string) (delivery.Life, error) {
	own, err := f.Store.Life(ctx, id)
	if !errors.Is(err, delivery.ErrNotFound) {
		return own, err
	}
	n, from, err := f.foreign(ctx, id)
	if err != nil {
		return delivery.Life{}, err
	}
	jobs, err := f.foreignJobs(ctx, n, from.Mailbox)
	return delivery.Life{Note: n.Note, Jobs: jobs, Events: []delivery.Event{{
		At: n.EndedAt, Name: "elsewhere", Detail: "the call came in on machine " + from.Home + ", whose `note show` tells each step",
	}}}, toldUnreadable(err)
}

// foreignJobs are the jobs of another machine's note, as they stand.
func (f *Fleet) foreignJobs(ctx context.Context, n kept, mailbox string) ([]delivery.Job, error) {
	known, err := f.shared.Jobs(ctx, mailbox, n.ID)
	if err != nil {
		return nil, err
	}
	var jobs []delivery.Job
	for _, k := range known {
		j := delivery.Job{ID: k.ID, State: delivery.JobState(k.State), Step: k.Step, Attempt: k.Attempt}
		if k.State == shared.Queued {
			j.NextAt, j.Waits = k.Next, k.Waiting()
		}
		if len(k.Chain) > 0 { // what is delivered is a tombstone
			if err := n.box.openJSON("chain", k.Chain, &j.Chain); err != nil {
				return nil, err
			}
			if j.Step >= len(j.Chain) {
				return nil, fmt.Errorf("job %s of another machine is at a step that its chain does not have", j.ID)
			}
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// redriveForeign queues the dead jobs of another machine's note again, those
// that died at the channel, or with "" all but the operator's.
func (f *Fleet) redriveForeign(ctx context.Context, id, channel string) (int, error) {
	n, from, err := f.foreign(ctx, id)
	if err != nil {
		return 0, err
	}
	jobs, err := f.foreignJobs(ctx, n, from.Mailbox)
	if err != nil {
		return 0, err
	}
	var dead []string
	for _, j := range jobs {
		if j.State == delivery.JobDead && j.At(channel) {
			dead = append(dead, j.ID)
		}
	}
	if len(dead) == 0 { // to Redis, none is all
		return 0, nil
	}
	again, err := f.shared.Redrive(ctx, from.Mailbox, id, dead...)
	return len(again), err
}
