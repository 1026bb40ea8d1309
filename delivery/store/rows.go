package store

import (
	"cmp"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

// collect reads every row of a query with scan.
func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) (all []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// found turns sql's "no rows" into delivery.ErrNotFound.
func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return delivery.ErrNotFound
	}
	return err
}

// noteColumns are what scanNote reads.
const noteColumns = "note.state, note.body, note.read_at, note.played_at"

// scanNote reads noteColumns, and what follows them into more.
func scanNote(row scanner, more ...any) (n delivery.Note, err error) {
	var (
		state, body  string
		read, played int64
	)
	if err := row.Scan(append([]any{&state, &body, &read, &played}, more...)...); err != nil {
		return n, found(err)
	}
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		return n, fmt.Errorf("the row of a note is damaged: %w", err)
	}
	n.State, n.ReadAt, n.PlayedAt = delivery.State(state), instant(read), instant(played)
	return n, nil
}

// noteBody writes a note as its row keeps it.
func noteBody(n delivery.Note) (string, error) {
	b, err := json.Marshal(n)
	return string(b), err
}

// jobColumns are what scanJob reads.
const jobColumns = "job.id, job.state, job.chain, job.step, job.attempt, job.next_at"

func scanJob(row scanner) (j delivery.Job, err error) {
	var (
		chain []byte
		next  int64
	)
	if err := row.Scan(&j.ID, &j.State, &chain, &j.Step, &j.Attempt, &next); err != nil {
		return j, found(err)
	}
	if j.State == delivery.JobQueued {
		j.NextAt = instant(next)
	}
	j.Chain, err = parseChain(chain)
	return j, err
}

// parseChain reads a chain as its row keeps it.
func parseChain(b []byte) (c delivery.Chain, err error) {
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("the row of a job is damaged: %w", err)
	}
	return c, nil
}

// threadOf names the thread of a job: what one caller sends to one mailbox at
// one target arrives in order. Callers without a number have nothing in common,
// so none of them waits for another. The hash keeps the index small.
func threadOf(n delivery.Note, first delivery.Target) []byte {
	caller := cmp.Or(n.Caller.Number, n.ID)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", n.Recipient.Number, caller, first.String()))
	return sum[:16]
}

// event adds a line to a note's life.
func (t *txn) event(note string, e delivery.Event) error {
	_, err := t.exec("INSERT INTO event (note, job, at, name, target, detail) VALUES (?, ?, ?, ?, ?, ?)",
		note, e.Job, micros(e.At), e.Name, e.Target, e.Detail)
	return err
}

// micros is a time as a row keeps it, instant the way back.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}
