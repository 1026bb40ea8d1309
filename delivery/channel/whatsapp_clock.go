package channel

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	dateFor    = time.Minute     // how long the service is not asked again what time it is there
	dateWithin = 5 * time.Second // how long a callback waits for that
)

// waClock is the service's clock, as far as it was asked. The zero value is
// ready.
type waClock struct {
	mu    sync.Mutex
	asked time.Time // when, zero for never
	said  time.Time // what time it was there, zero without an answer
}

// ours is a time of the service's by our clock, and never later than now. One
// that seems to be long ago is held against what time it is there: callbacks come
// late, but it may be our clock that is wrong.
func (w *whatsapp) ours(ctx context.Context, at time.Time) time.Time {
	now := time.Now()
	if at.After(now) {
		return now
	}
	if at.IsZero() || now.Sub(at) < closedLife {
		return at
	}
	there := w.there(ctx)
	if there.IsZero() {
		return at
	}
	return now.Add(min(0, at.Sub(there)))
}

// there is what time it is at the service; zero when it does not say.
func (w *whatsapp) there(ctx context.Context) time.Time {
	c := &w.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked.IsZero() || time.Since(c.asked) > dateFor {
		c.said = w.date(ctx)
		c.asked = time.Now()
	}
	if c.said.IsZero() {
		return time.Time{}
	}
	return c.said.Add(time.Since(c.asked)) // which a clock that is set does not change
}

// date asks the service for anything at all: each answer has its date.
func (w *whatsapp) date(ctx context.Context) time.Time {
	ctx, cancel := context.WithTimeout(ctx, dateWithin)
	defer cancel()
	address := w.url(w.o.PhoneNumberID)
	address.RawQuery = "fields=id"
	req, err := w.request(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return time.Time{}
	}
	a, err := w.do(req)
	if err != nil {
		return time.Time{}
	}
	return a.date
}
