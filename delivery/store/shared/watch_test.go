package shared

import (
	"context"
	"fmt"
	"time"
)

// testTake: two machines together stay within the rate.
func testTake(t duo) {
	a, b := t.a, t.b
	const rate = 20
	got, began, last, gap := 0, time.Now(), time.Now(), time.Duration(0)
	for time.Since(began) < time.Second {
		gap, last = max(gap, time.Since(last)), time.Now()
		for _, m := range []*machine{a, b} {
			n, wait, err := m.Take(t.Context(), "take", rate, 3)
			check(t, err)
			got += n
			if n == 0 && (wait <= 0 || wait > time.Second/rate+time.Millisecond) {
				t.Fatalf("nothing granted, wait %v", wait)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	// What became free while the machine stood still may be lost: a second's worth is kept.
	most := rate + int(time.Since(began).Seconds()*rate) + 1
	if least := rate + int(last.Sub(began).Seconds()*rate) - 4; got > most || (got < least && gap < time.Second/2) {
		t.Errorf("%d granted, want %d to %d", got, least, most)
	}
}

func testWatch(t duo) {
	a, b := t.a, t.b
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, done := make(chan News, 100), make(chan struct{})
	go func() {
		defer close(done)
		b.Watch(ctx, func(n News) { seen <- n })
	}()
	for i := 0; ; i++ {
		if i == 100 {
			t.Fatal("no news came")
		}
		id := fmt.Sprintf("%03d", i)
		a.finish(t, a.publish(t, "watch", id, true), "done")
		select {
		case n := <-seen:
			if n.Mailbox != "watch" {
				t.Errorf("news %+v", n)
			}
			cancel()
			<-done
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
