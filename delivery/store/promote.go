package store

import (
	"context"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// promoteBatch is how many threads become all machines' with one commit: few
// enough that no call waits for it.
const promoteBatch = 64

// promote gives jobs that were kept here while Redis was away to all machines,
// by whole threads, none of which is just being sent. A full Redis would refuse
// them, and then nobody would send them.
func (f *Fleet) promote(ctx context.Context) error {
	if !f.shared.Up() || f.shared.Full() {
		return nil
	}
	var some bool
	if err := f.readers.QueryRowContext(ctx, anyHere).Scan(&some); err != nil || !some {
		return err
	}
	for last := ""; ; {
		rows, err := f.readers.QueryContext(ctx, `SELECT note, thread FROM job
			WHERE state = 'queued' AND state <> 'delivered' AND note > ? AND shared = 0 AND substr(thread, 1, ?) <> ? ORDER BY note LIMIT ?`,
			last, len(operatorThread), []byte(operatorThread), promoteBatch)
		threads, err := collect(rows, err, func(r scanner) (thread []byte, err error) { return thread, r.Scan(&last, &thread) })
		if err != nil || len(threads) == 0 {
			return err
		}
		_, err = write(ctx, f.Store, func(tx *txn) (any, error) {
			for _, thread := range threads {
				if err := tx.promote(thread); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
	}
}

// anyHere asks whether a job waits here whose thread is not just being sent. It
// heads that thread, and so is in an index that shared jobs are not in.
const anyHere = "SELECT EXISTS (SELECT 1 FROM job WHERE state = 'queued' AND head = 1)"

// promote makes the jobs of a thread those of all machines, unless one of them
// is being sent or has more targets than can be shared.
func (t *txn) promote(thread []byte) error {
	_, err := t.exec(promoteThread, thread, shared.MaxSteps)
	return err
}

const promoteThread = "UPDATE job SET shared = 1, head = 0 WHERE " + ofThread + ` AND state = 'queued' AND shared = 0 AND NOT EXISTS (
	SELECT 1 FROM job WHERE ` + ofThread + " AND shared = 0 AND (state = 'sending' OR steps > ?2))"
