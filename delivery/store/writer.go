package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// writer is the one goroutine that changes the database. What waits when a
// commit ends goes into the next one together, so that the cost of a sync is
// shared; each operation stands under a savepoint, so that one that fails
// takes nothing from its neighbours.
type writer struct {
	tx        *txn
	ops       chan operation
	ballast   *ballast
	failed    func(error) // told when the disk fails
	overQuota func() bool // says that writes are refused since a quota is used up
	clockAt   time.Time   // when the clock was last kept
	quit      chan struct{}
	done      chan struct{}
}

// operation is a change and where its error goes.
type operation struct {
	do    func(*txn) error
	err   error // of do
	reply chan<- error
}

func newWriter(tx *txn, b *ballast, failed func(error), overQuota func() bool) *writer {
	tx.stmts = map[string]*sql.Stmt{}
	w := &writer{
		tx: tx, ops: make(chan operation), ballast: b, failed: failed, overQuota: overQuota,
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// write has the writer run do within a transaction and returns its result once
// that is committed. ctx ends the waiting for a turn, never a change that has
// begun: an error means that nothing was changed.
func write[T any](ctx context.Context, s *Store, do func(*txn) (T, error)) (T, error) {
	var result, none T
	if err := s.failure.get(); err != nil {
		return none, err
	}
	reply := make(chan error, 1)
	op := operation{reply: reply, do: func(tx *txn) (err error) {
		result, err = do(tx)
		return err
	}}
	if ctx.Err() != nil { // select would toss a coin
		return none, context.Cause(ctx)
	}
	select {
	case s.writer.ops <- op:
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-s.writer.quit:
		return none, errClosed
	}
	if err := <-reply; err != nil {
		return none, err
	}
	return result, nil
}

// close ends the goroutine and gives up its statements: a connection that has
// any stays open behind its Close.
func (w *writer) close() error {
	close(w.quit)
	<-w.done
	var errs []error
	for _, stmt := range w.tx.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}

func (w *writer) run() {
	defer close(w.done)
	for {
		select {
		case op := <-w.ops:
			w.commit(w.gather(op))
		case <-w.quit:
			return
		}
	}
}

// gather takes the operations that wait already, up to maxBatch.
func (w *writer) gather(first operation) []operation {
	batch := []operation{first}
	for len(batch) < maxBatch {
		select {
		case op := <-w.ops:
			batch = append(batch, op)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction and answers each of its operations.
// On a full disk it drops the ballast and runs the batch again; and after any write
// that was refused, since there may be room again.
func (w *writer) commit(batch []operation) {
	err := w.transact(batch)
	full := w.full(err)
	if (full && w.ballast.drop(isRefused(err))) || isRefused(err) {
		err = w.transact(batch)
		full = w.full(err)
	}
	switch {
	case !full && isDiskFailure(err):
		w.failed(err)
	case full && isRefused(err):
		err = fmt.Errorf("%w: %w", errQuota, err)
	}
	for _, op := range batch {
		if err != nil {
			op.err = fmt.Errorf("write to the database: %w", err)
		}
		op.reply <- op.err
	}
}

// errQuota is what is behind a write that sqlite says failed.
var errQuota = errors.New("a quota of the disk is used up: make room, or raise it")

// full says that a batch failed because the disk is full, or a quota on it is
// used up.
func (w *writer) full(err error) bool { return isFull(err) || (isRefused(err) && w.overQuota()) }

// transact returns an error when the whole batch is lost, and leaves in each
// operation its own.
func (w *writer) transact(batch []operation) (err error) {
	if _, err := w.tx.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = w.tx.exec("ROLLBACK") // fails when sqlite did it already: as good
			w.clockAt = time.Time{}      // it took the clock with it
		}
	}()
	if err := w.keepClock(); err != nil {
		return err
	}
	for i := range batch {
		if _, err := w.tx.exec("SAVEPOINT operation"); err != nil {
			return err
		}
		if batch[i].err = batch[i].do(w.tx); batch[i].err != nil {
			// A full disk may end the transaction as a whole, and its savepoints
			// with it (sqlite.org/lang_transaction.html, section 3).
			if _, err := w.tx.exec("ROLLBACK TO operation"); err != nil || w.ends(batch[i].err) {
				return batch[i].err
			}
		}
		if _, err := w.tx.exec("RELEASE operation"); err != nil {
			return err
		}
	}
	_, err = w.tx.exec("COMMIT")
	return err
}

// ends says that an operation's error ends its whole batch: the disk fails, or
// it is full and there is ballast to drop.
func (w *writer) ends(err error) bool {
	return isDiskFailure(err) || (isFull(err) && w.ballast.aboard.Load())
}

// txn is the writer's connection, within a transaction. It prepares each
// statement once.
type txn struct {
	clock      delivery.Clock
	vault      *vault
	operator   []string                     // the events that he is told of
	alone      bool                         // this machine has no Redis: what it once shared is nobody else's
	unreadable func(note string, err error) // logs that a note cannot be read
	ctx        context.Context              //nolint:containedctx // a commit carries many callers: none of their contexts may end it
	conn       *sql.Conn
	stmts      map[string]*sql.Stmt
}

// exec runs a statement and says how many rows it changed.
func (t *txn) exec(query string, args ...any) (int64, error) {
	stmt, err := t.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// row runs a query for one row.
func (t *txn) row(query string, args ...any) *sql.Row {
	stmt, err := t.prepare(query)
	if err != nil {
		return t.conn.QueryRowContext(t.ctx, query, args...) // carries the same error
	}
	return stmt.QueryRowContext(t.ctx, args...)
}

// ids runs a query for one column of text.
func (t *txn) ids(query string, args ...any) ([]string, error) {
	rows, err := t.query(query, args...)
	return collect(rows, err, func(row scanner) (id string, err error) { return id, row.Scan(&id) })
}

// query runs a query for any number of rows, which collect reads.
func (t *txn) query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(t.ctx, args...)
}

func (t *txn) prepare(query string) (*sql.Stmt, error) {
	if stmt := t.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := t.conn.PrepareContext(t.ctx, query)
	if err == nil {
		t.stmts[query] = stmt
	}
	return stmt, err
}
