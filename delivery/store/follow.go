package store

import (
	"context"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// followEvery is how often other machines' changes are looked for.
const followEvery = time.Second

// follow takes over what other machines erased and what their channels remember,
// and shows them this one's links, notes and memories, until ctx ends.
func (f *Fleet) follow(ctx context.Context) {
	var (
		done    followed
		failing bool
	)
	for ctx.Err() == nil {
		done.unseen.add(f.unseen.take())
		if f.shared.Up() {
			err := f.catchUp(ctx, &done)
			if err == nil { // after the erasures: what is erased is not told again
				err = f.recollect(ctx, &done.memory)
			}
			if err != nil && !failing && ctx.Err() == nil {
				f.log.Warn("the other machines and this one do not see the same yet; trying again", "error", err)
			}
			failing = err != nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(followEvery):
		}
	}
}

// followed is how far a machine has followed the others.
type followed struct {
	erasures [shared.Count]string // their version, by shard
	shown    [shared.Count]string // the era in which this machine's links and notes were shown, by shard
	memory   recollected
	unseen   unseen
}

func (f *Fleet) catchUp(ctx context.Context, done *followed) error {
	var eras [shared.Count]string
	for shard := range eras {
		version := f.shared.ErasureVersion(shard)
		eras[shard] = f.shared.Era(shard)
		if version == done.erasures[shard] {
			continue
		}
		if err := f.applyErasures(ctx, shard, version); err != nil {
			return err
		}
		done.erasures[shard] = version
	}
	from := "" // Redis, or this process, is new
	if eras == done.shown {
		if done.unseen.oldest == "" {
			return nil
		}
		from = delivery.FirstID(delivery.MintedAt(done.unseen.oldest).Add(-time.Millisecond)) // the note too
	}
	err := f.sealedHere(ctx)
	if err == nil {
		err = f.shareLinks(ctx) // after the erasures: a link that is erased is not told again
	}
	if err == nil {
		err = f.showNotes(ctx, from)
	}
	if err == nil && eras != done.shown {
		err = f.shared.Shown(ctx, eras)
	}
	if err == nil {
		done.shown = eras
		done.unseen.take()
	}
	return err
}
