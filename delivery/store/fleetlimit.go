package store

import (
	"context"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Take implements delivery.Limiter: the rate holds over all machines. While
// Redis cannot be asked, each machine keeps to its share.
func (f *Fleet) Take(ctx context.Context, channel string, r delivery.Rate, n int) (granted int, wait time.Duration, err error) {
	granted, wait, err = f.shared.Take(ctx, channel, float64(r.Sends)/r.Per.Seconds(), n)
	if err != nil {
		r.Per *= time.Duration(f.shared.Machines())
		return f.alone.Take(ctx, channel, r, n)
	}
	return granted, wait, nil
}
