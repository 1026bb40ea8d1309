package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// publishFor is how long notes are published before the other steps have a
// turn.
const publishFor = 5 * time.Second

// publishAll publishes what is meant for all machines and not known to be
// there, oldest first.
func (f *Fleet) publishAll(ctx context.Context) error {
	for last, began := "", time.Now(); f.shared.Up() && time.Since(began) < publishFor; {
		notes, err := f.notesAfter(ctx, untoldNotes, last)
		if err != nil || len(notes) == 0 {
			return err
		}
		last = notes[len(notes)-1]
		notes = slices.DeleteFunc(notes, f.offering.has)
		err = f.publish(ctx, notes)
		if errors.Is(err, shared.ErrAway) || errors.Is(err, shared.ErrUncertain) {
			return err
		}
		if err != nil { // of a note alone
			f.log.Error("a note of this machine cannot be published; trying again", "error", err)
		}
	}
	return nil
}

// publish publishes notes of this machine anew, in the order given within each
// thread, and takes in how their jobs stand.
func (f *Fleet) publish(ctx context.Context, notes []string) error {
	defer f.offering.add(notes...)()
	var mu sync.Mutex
	var standing []shared.Job
	err := each(byThread(f.publications(ctx, notes)), func(thread []shared.Publication) (failed error) {
		for _, p := range thread {
			jobs, err := f.shared.Publish(ctx, p, true, false)
			if errors.Is(err, shared.ErrErased) { // once that is done here, the note is gone, or is published
				break
			}
			mu.Lock()
			standing = append(standing, jobs...)
			mu.Unlock()
			if err != nil {
				failed = err
			}
			if errors.Is(err, shared.ErrAway) || errors.Is(err, shared.ErrUncertain) {
				break // those behind it would go before it
			}
		}
		return failed
	})
	if len(standing) == 0 {
		return err
	}
	return errors.Join(err, f.mirror(ctx, standing))
}

// byThread has the notes that are sent one after the other in one group each.
func byThread(notes []shared.Publication) (groups [][]shared.Publication) {
	group := map[string]int{}
	for _, n := range notes {
		thread := n.Jobs[0].Thread
		i, ok := group[thread]
		if !ok {
			i = len(groups)
			group[thread], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], n)
	}
	return groups
}
