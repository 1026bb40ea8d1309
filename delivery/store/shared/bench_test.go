package shared

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// side is how many goroutines work side by side in a benchmark.
const side = 32

// sideBySide runs do for each number below n.
func sideBySide(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var (
		next    atomic.Int64
		workers sync.WaitGroup
	)
	for range side {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	workers.Wait()
}

// BenchmarkQueue compares a job's way through the shared queue with the least
// that Redis can do for one: ZADD, ZPOPMIN and DEL.
//
//	go test -run '^$' -bench Queue -benchtime 100000x ./delivery/store/shared
func BenchmarkQueue(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		setup := redistest.Single(b)
		c := redis.NewClient(&redis.Options{Addr: setup.Servers[0].Addr(), Protocol: 2, PoolSize: side})
		defer func() { check(b, c.Close()) }()
		b.ResetTimer()
		sideBySide(b, b.N, func(i int) error {
			return c.ZAdd(b.Context(), "due", redis.Z{Score: float64(i), Member: fmt.Sprint(i)}).Err()
		})
		sideBySide(b, b.N, func(int) error {
			first, err := c.ZPopMin(b.Context(), "due").Result()
			if err != nil {
				return err
			}
			return c.Del(b.Context(), fmt.Sprint(first[0].Member)).Err()
		})
		report(b)
	})
	b.Run("shared", func(b *testing.B) {
		a := join(b, redistest.Single(b).URL, "a")
		b.ResetTimer()
		sideBySide(b, b.N, func(i int) error {
			_, err := a.Publish(b.Context(), publication(fmt.Sprint("m", i), "1", 1), false, false)
			return err
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "published/s")
		for left := b.N; left > 0; {
			ls := a.claim(b, 64)
			sideBySide(b, len(ls), func(i int) error {
				_, _, err := a.Finish(b.Context(), ls[i].Job, Result{Outcome: "done"})
				return err
			})
			left -= len(ls)
		}
		report(b)
		a.depth(b, 0, 0, 0)
	})
}

func report(b *testing.B) {
	b.Helper()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkRecall is how long a machine with 100,000 pending notes takes to
// fill a Redis that has forgotten everything.
func BenchmarkRecall(b *testing.B) {
	setup := redistest.Single(b)
	ledger := &memoryLedger{}
	for i := range 100_000 {
		p := publication(fmt.Sprint("m", i), "1", 1)
		p.Audio = nil
		ledger.know(pending(p))
	}
	a := enter(b, Options{URL: setup.URL, Machine: "a"}, ledger)
	a.awaitOpen(b)
	for b.Loop() {
		before := ledger.told()
		setup.Flush()
		poke(a.kick)
		eventually(b, "all is told again", func() bool { return ledger.told() > before && a.Ready() })
	}
	a.depth(b, 100_000, 0, 0)
}
