package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// BenchmarkTurnaround is a missed note's whole way by 32 calls at once: kept,
// leased, delivered. Beside it in the same run is the least that sqlite and
// Redis can do for one: a row that is inserted and updated twice, commits
// taken together as the store takes them; ZADD, ZPOPMIN and DEL.
//
//	go test -run '^$' -bench Turnaround -benchtime 20000x ./delivery/store
func BenchmarkTurnaround(b *testing.B) {
	bare := map[string]float64{}
	b.Run("sqlite", func(b *testing.B) { bare["of-sqlite"] = turnaround(b, bareSqlite(b)) })
	b.Run("redis", func(b *testing.B) { bare["of-redis"] = turnaround(b, bareRedis(b)) })
	benchCompositions(b, func(b *testing.B, c composition) {
		s := c.open(b)
		rate := turnaround(b, func(int64) error {
			for _, l := range enqueue(b, s, "pbx") {
				if err := s.Finish(b.Context(), l, delivery.Result{Outcome: delivery.Done}); err != nil {
					return err
				}
			}
			return nil
		})
		for unit, of := range bare {
			b.ReportMetric(rate/of, unit)
		}
	})
}

// turnaround has 32 calls make b.N turns, and says how many a second.
func turnaround(b *testing.B, turn func(i int64) error) (rate float64) {
	b.Helper()
	var (
		next  atomic.Int64
		calls sync.WaitGroup
	)
	b.ResetTimer()
	for range 32 {
		calls.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := turn(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	calls.Wait()
	b.StopTimer()
	rate = float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "jobs/s")
	return rate
}

func bareRedis(b *testing.B) (turn func(int64) error) {
	b.Helper()
	c := redis.NewClient(&redis.Options{Addr: redistest.Single(b).Servers[0].Addr(), Protocol: 2, PoolSize: 32})
	b.Cleanup(func() { check(b, c.Close()) })
	return func(i int64) error {
		if err := c.ZAdd(b.Context(), "due", redis.Z{Score: float64(i), Member: i}).Err(); err != nil {
			return err
		}
		first, err := c.ZPopMin(b.Context(), "due").Result()
		if err != nil {
			return err
		}
		return c.Del(b.Context(), fmt.Sprint(first[0].Member)).Err()
	}
}

// bareChange is one change of a row, and where its commit's error goes.
type bareChange struct {
	query string
	id    int64
	kept  chan error
}

func bareSqlite(b *testing.B) (turn func(int64) error) {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL&_synchronous=FULL&_pragma=secure_delete(1)")
	check(b, err)
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(b.Context(), "CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT, body BLOB)")
	check(b, err)
	changes := make(chan bareChange, maxBatch)
	var writing sync.WaitGroup
	writing.Go(func() {
		for first := range changes {
			batch := []bareChange{first}
			for len(batch) < maxBatch && len(changes) > 0 {
				batch = append(batch, <-changes)
			}
			err := commitBare(b.Context(), db, batch)
			for _, c := range batch {
				c.kept <- err
			}
		}
	})
	b.Cleanup(func() {
		close(changes)
		writing.Wait()
		check(b, db.Close())
	})
	return func(id int64) error {
		for _, query := range []string{
			"INSERT INTO job VALUES (?, 'queued', randomblob(500))", "UPDATE job SET state = 'sending' WHERE id = ?",
			"UPDATE job SET state = 'delivered' WHERE id = ?",
		} {
			c := bareChange{query, id, make(chan error, 1)}
			changes <- c
			if err := <-c.kept; err != nil {
				return err
			}
		}
		return nil
	}
}

func commitBare(ctx context.Context, db *sql.DB, batch []bareChange) error {
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	for _, c := range batch {
		if _, err := tx.ExecContext(context.WithoutCancel(ctx), c.query, c.id); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
