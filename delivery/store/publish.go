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

// publish publishes notes of this machine anew, and takes in how their jobs
// stand.
func (f *Fleet) publish(ctx context.Context, notes []string) error {
	defer f.offering.add(notes...)()
	var mu sync.Mutex
	var standing []shared.Job
	err := each(f.publications(ctx, notes), func(p shared.Publication) error {
		jobs, err := f.shared.Publish(ctx, p, true, false)
		mu.Lock()
		defer mu.Unlock()
		standing = append(standing, jobs...)
		return err
	})
	if len(standing) == 0 {
		return err
	}
	return errors.Join(err, f.mirror(ctx, standing))
}
