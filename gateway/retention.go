package main

import (
	"context"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// retireEvery is how often the store is asked to take what retention is over for.
const retireEvery = 10 * time.Minute

// retain runs the mailboxes' retention until ctx ends.
func (g *gateway) retain(ctx context.Context) {
	tick := time.NewTicker(retireEvery)
	defer tick.Stop()
	for {
		g.retire(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (g *gateway) retire(ctx context.Context) {
	took, err := g.store.Retire(ctx, func(mailbox string) delivery.Retention { return g.directory.Retention(ctx, mailbox) })
	g.metrics.Retired(took)
	if took != (delivery.Retired{}) {
		g.log.Info("retention is over", "audio", took.Audio, "notes", took.Notes, "orphans", took.Orphans)
	}
	if err != nil && ctx.Err() == nil {
		g.metrics.StoreError("retire")
		g.log.Error("retention could not be kept; trying again", "again_in_s", int64(retireEvery.Seconds()), "error", err)
	}
}
