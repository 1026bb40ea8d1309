package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// second is a record: a second of G.711 in RTP packets of 20 ms.
func second() []byte { return make([]byte, 50*(160+12+7)) }

func BenchmarkAppend(b *testing.B) { benchEverywhere(b, benchAppend) }

func benchAppend(b *testing.B, c composition) {
	s := c.openAt(b, b.TempDir())
	d := begin(b, s, newNote("101", "201"))
	record := second()
	check(b, d.Append(record))
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		check(b, d.Append(record))
	}
}

// benchCompositions adds the fleet over one Redis.
func benchCompositions(b *testing.B, bench func(*testing.B, composition)) {
	b.Helper()
	benchEverywhere(b, bench)
	b.Run("fleet", func(b *testing.B) {
		setup := redistest.Single(b)
		bench(b, composition{fleet: true, options: func(_ testing.TB, path string) Options { return Options{Path: path, Redis: setup.URL} }})
	})
}

// BenchmarkNote is a note's whole way with 20 records, by many calls at once.
func BenchmarkNote(b *testing.B) { benchCompositions(b, benchNote) }

func benchNote(b *testing.B, c composition) {
	s := c.open(b)
	record, file := second(), make([]byte, 60<<10)
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := newNote("101", delivery.NewID())
			d := begin(b, s, n)
			for range 20 {
				check(b, d.Append(record))
			}
			check(b, d.Recorded(b.Context(), false))
			leases, err := d.Rendered(b.Context(), d.Note(), file, []delivery.Chain{chainTo("crm")})
			check(b, err)
			finish(b, s, leases[0], delivery.Result{Outcome: delivery.Done})
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notes/s")
}

// BenchmarkQueue is a turn of the queue: claim, done. Beside it, the least that
// sqlite can do for one: two updates, each with a commit of its own. What bare
// Redis does is in package shared.
func BenchmarkQueue(b *testing.B) {
	b.Run("bare", benchBare)
	benchCompositions(b, benchQueue)
}

func benchQueue(b *testing.B, c composition) {
	s := c.open(b)
	fill(b, embedded(s), b.N)
	limit := 1
	if m, ok := s.(*machine); ok {
		m.awaitTold(b)
		limit = 16
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for left.Load() > 0 {
				for _, l := range claim(b, s, limit) {
					finish(b, s, l, delivery.Result{Outcome: delivery.Done})
					left.Add(-1)
				}
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// awaitTold waits until all jobs of a machine are shared.
func (m *machine) awaitTold(b *testing.B) {
	b.Helper()
	for own := 1; own > 0; time.Sleep(10 * time.Millisecond) {
		check(b, m.readers.QueryRowContext(b.Context(), "SELECT count(*) FROM job WHERE shared < 2").Scan(&own))
	}
}

func benchBare(b *testing.B) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL&_synchronous=FULL&_pragma=secure_delete(1)")
	check(b, err)
	defer func() { check(b, db.Close()) }()
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		_, err := db.ExecContext(b.Context(), query, args...)
		check(b, err)
	}
	exec("CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT, body BLOB)")
	exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO job SELECT i, 'queued', randomblob(500) FROM n", b.N)
	var next atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := next.Add(1)
			exec("UPDATE job SET state = 'sending' WHERE id = ?", id)
			exec("UPDATE job SET state = 'delivered' WHERE id = ?", id)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkOpen opens a store with 100,000 jobs waiting and claims the first:
// after a restart, and after a stop of two minutes, which the times of trying
// are moved by. The goal is below 2 s.
func BenchmarkOpen(b *testing.B) { benchEverywhere(b, benchOpen) }

func benchOpen(b *testing.B, c composition) {
	path := b.TempDir()
	s := c.openAt(b, path)
	fill(b, s, backlog)
	check(b, s.Close())
	o := c.options(b, path)
	ahead := time.Duration(0)
	o.Wall = func() time.Time { return time.Now().Add(ahead) }
	for name, stop := range map[string]time.Duration{"restart": 0, "two minutes": 2 * time.Minute} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ahead += stop
				s, err := Open(o, quiet())
				check(b, err)
				if len(claim(b, s, 1)) != 1 {
					b.Error("nothing is due")
				}
				b.StopTimer()
				check(b, s.Close())
				b.StartTimer()
			}
		})
	}
}

// fill puts n queued jobs of n callers into the store.
func fill(tb testing.TB, s *Store, n int) {
	tb.Helper()
	for part := range slices.Chunk(make([]struct{}, n), 1000) {
		_, err := write(tb.Context(), s, func(tx *txn) (any, error) {
			for range part {
				n := kept{newNote("101", delivery.NewID()), nil}
				n.box = s.vault.mint(n.ID)
				n.State = delivery.Recorded
				if err := tx.begin(n); err != nil {
					return nil, err
				}
				n.State = delivery.Rendered
				if _, err := tx.exec("UPDATE note SET state = 'rendered', rendered_at = 1 WHERE id = ?", n.ID); err != nil {
					return nil, err
				}
				if _, _, err := tx.addJob(n, chainTo("crm"), time.Now()); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		check(tb, err)
	}
}

// BenchmarkEndings is what a caller's BYE waits for at 25 endings a second
// beside 100 tapes that are being written: Recorded and Rendered together.
func BenchmarkEndings(b *testing.B) { benchEverywhere(b, benchEndings) }

func benchEndings(b *testing.B, c composition) {
	s := c.openAt(b, b.TempDir())
	record, file := second(), make([]byte, 60<<10)
	stop := make(chan struct{})
	var open, ending sync.WaitGroup
	defer func() { close(stop); open.Wait() }()
	for range 100 {
		d := begin(b, s, newNote("101", "201"))
		open.Go(func() {
			for tick := time.NewTicker(time.Second); ; {
				select {
				case <-stop:
					tick.Stop()
					return
				case <-tick.C:
					if err := d.Append(record); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	var mu sync.Mutex
	var took []time.Duration
	tick := time.NewTicker(time.Second / 25)
	defer tick.Stop()
	for b.Loop() {
		<-tick.C
		d := begin(b, s, newNote("101", delivery.NewID()))
		for range 20 {
			check(b, d.Append(record))
		}
		ending.Go(func() {
			began := time.Now()
			err := d.Recorded(b.Context(), false)
			if err == nil {
				_, err = d.Rendered(b.Context(), d.Note(), file, []delivery.Chain{chainTo("crm")})
			}
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
		})
	}
	ending.Wait()
	slices.Sort(took)
	for _, p := range []int{50, 95, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}
