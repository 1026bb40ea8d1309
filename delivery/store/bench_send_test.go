package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// backlog is how many notes are pending where a benchmark asks what they cost.
const backlog = 100_000

// atOnce is a service that answers at once.
type atOnce struct {
	all, fresh atomic.Int64 // sends, and those of new notes among them
	reached    chan struct{}
	last       int64 // the new note that reached is closed with
}

// ofNew is the trunk of the notes that come in while the benchmark runs.
const ofNew = "new"

func (c *atOnce) Send(_ context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	c.all.Add(1)
	if p.Note.Trunk == ofNew && c.fresh.Add(1) == c.last {
		close(c.reached)
	}
	return delivery.Receipt{ID: p.Key, Detail: "200 OK"}, nil
}

// BenchmarkSend is how many sends a second the worker makes while notes come
// in as fast as 32 calls bring them: with an empty queue, beside 100,000 notes
// that wait for their time, and beside 100,000 that are due. They take turns, so
// that whatever else the machine does concerns all of them. The goal is within
// 10 % of the empty queue: 0.9 of it or more.
//
//	go test -run '^$' -bench Send -benchtime 20000x -timeout 30m ./delivery/store
func BenchmarkSend(b *testing.B) { benchCompositions(b, benchSend) }

func benchSend(b *testing.B, c composition) {
	queues := []struct {
		name    string
		pending int
		wait    time.Duration
	}{{"empty", 0, 0}, {"waiting", backlog, time.Hour}, {"due", backlog, 0}}
	stores := make([]keeper, len(queues))
	for i, q := range queues {
		if c.fleet {
			stores[i] = joinFleet(b, Options{Path: b.TempDir(), Redis: redistest.Single(b).URL})
		} else {
			stores[i] = c.open(b)
		}
		fill(b, embedded(stores[i]), q.pending)
		_, err := write(b.Context(), embedded(stores[i]), func(tx *txn) (int64, error) {
			return tx.exec("UPDATE job SET next_at = next_at + ?", q.wait.Microseconds())
		})
		check(b, err)
		settleLog(b, embedded(stores[i]))
		if m, ok := stores[i].(*machine); ok {
			m.awaitTold(b)
		}
	}
	b.Run("turns", func(b *testing.B) {
		const rounds = 50
		sends, took := make([]int64, len(queues)), make([]time.Duration, len(queues))
		for range rounds {
			for i, s := range stores {
				n, t := sendNew(b, s, max(1, b.N/rounds))
				sends[i] += n
				took[i] += t
			}
		}
		b.ReportMetric(0, "ns/op") // of all three together
		empty := float64(sends[0]) / took[0].Seconds()
		for i, q := range queues {
			rate := float64(sends[i]) / took[i].Seconds()
			b.ReportMetric(rate, q.name+"/s")
			if i > 0 {
				b.ReportMetric(rate/empty, q.name+"-of-empty")
			}
		}
	})
}

// settleLog brings what was filled in from sqlite's log into the database: the
// first to commit would be charged with it.
func settleLog(b *testing.B, s *Store) {
	b.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.path, databaseName))
	check(b, err)
	_, err = db.ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
	check(b, err)
	check(b, db.Close())
}

// sendNew has a worker send until n new notes are sent, and says how many sends
// it made in how long.
func sendNew(b *testing.B, s keeper, n int) (sends int64, took time.Duration) {
	b.Helper()
	service := &atOnce{reached: make(chan struct{}), last: int64(n)}
	w := delivery.NewWorker(s, s, map[string]delivery.Channel{"crm": service}, delivery.WorkerOptions{Now: embedded(s).Now}, quiet())
	ctx, stop := context.WithCancel(b.Context())
	var working, calls sync.WaitGroup
	working.Go(func() { w.Run(ctx) })
	begun := time.Now()
	var next atomic.Int64
	for range 32 {
		calls.Go(func() {
			for next.Add(1) <= int64(n) {
				w.Deliver(enqueue(b, s, ofNew)...)
			}
		})
	}
	calls.Wait()
	select {
	case <-service.reached:
	case <-time.After(2 * time.Minute):
		b.Errorf("%d of %d new notes were sent", service.fresh.Load(), n)
	}
	sends, took = service.all.Load(), time.Since(begun)
	stop()
	working.Wait()
	return sends, took
}

// enqueue keeps a missed note of a new caller and returns its first lease: the
// least that a note costs.
func enqueue(b *testing.B, s keeper, trunk string) []delivery.Lease {
	b.Helper()
	n := newNote("101", delivery.NewID())
	n.Kind, n.Trunk = delivery.Missed, trunk
	d, err := s.Begin(b.Context(), n, 0)
	if err == nil {
		err = d.Recorded(b.Context(), false)
	}
	if err != nil {
		b.Error(err)
		return nil
	}
	leases, err := d.Rendered(b.Context(), d.Note(), nil, []delivery.Chain{chainTo("crm")})
	if err != nil {
		b.Error(err)
	}
	return leases
}
