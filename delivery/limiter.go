package delivery

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter hands out the sends of channels that have a rate. It may be called
// by many goroutines.
type Limiter interface {
	// Take grants up to n sends of a channel that may begin now. When it grants
	// none, wait is how long until the next one.
	Take(ctx context.Context, channel string, r Rate, n int) (granted int, wait time.Duration, err error)
}

// LocalLimiter keeps the rates within this process. The zero value is ready.
type LocalLimiter struct {
	mu      sync.Mutex
	buckets map[bucket]*rate.Limiter
}

type bucket struct {
	channel string
	rate    Rate
}

// Take implements Limiter; it never fails.
func (l *LocalLimiter) Take(_ context.Context, channel string, r Rate, n int) (granted int, wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, now := l.bucket(channel, r), time.Now()
	tokens := b.TokensAt(now)
	if granted = min(n, int(tokens)); granted > 0 && b.AllowN(now, granted) {
		return granted, 0, nil
	}
	return 0, time.Duration(math.Ceil((1 - tokens) * float64(r.Every()))), nil
}

func (l *LocalLimiter) bucket(channel string, r Rate) *rate.Limiter {
	key := bucket{channel, r}
	if l.buckets[key] == nil {
		if l.buckets == nil {
			l.buckets = map[bucket]*rate.Limiter{}
		}
		l.buckets[key] = rate.NewLimiter(rate.Limit(r.perSecond()), r.Burst())
	}
	return l.buckets[key]
}
