package store

import (
	"context"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// fleetLimiter keeps the channels' rates over all machines.
type fleetLimiter struct {
	fleet *Fleet
	own   delivery.LocalLimiter
}

// Limiter keeps the channels' rates over all machines. While Redis is away,
// each takes its share, by how many there were when it was last seen.
func (f *Fleet) Limiter() delivery.Limiter { return &fleetLimiter{fleet: f} }

// Take implements delivery.Limiter. It never fails.
func (l *fleetLimiter) Take(ctx context.Context, channel string, r delivery.Rate, n int) (granted int, wait time.Duration, err error) {
	granted, wait, err = l.fleet.shared.Take(ctx, channel, r.PerSecond(), n)
	if err == nil {
		return granted, wait, nil
	}
	return l.own.Take(ctx, channel, share(r, l.fleet.shared.Machines()), n)
}

// share is the part of a rate that one of so many machines may take.
func share(r delivery.Rate, machines int) delivery.Rate {
	r.Per *= time.Duration(max(1, machines))
	return r
}
