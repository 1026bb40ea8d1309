package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Erase takes out every note of a mailbox with all that belongs to it, the link
// to its inbox and what channels remember of it, so that nothing of them is left in the store's files. What
// was being sent ends with delivery.ErrFenced. Notes of calls that are being
// recorded are not touched. When it fails, what it has not done is done by
// erasing again.
func (s *Store) Erase(ctx context.Context, mailbox string) (delivery.Erasure, error) {
	defer s.changed(mailbox)
	return s.eraseUpTo(ctx, s.vault.mailbox(mailbox), s.vault.alias(mailbox), "")
}

// eraseUpTo erases the notes of a mailbox, as their rows have it, up to an id,
// "" for all, and keeps that under the mailbox's alias.
func (s *Store) eraseUpTo(ctx context.Context, mailbox, alias, upto string) (delivery.Erasure, error) {
	s.left.mu.Lock() // what a crash left is not handed out meanwhile
	defer s.left.mu.Unlock()
	e := delivery.Erasure{At: s.clock.Wall(), Proof: []delivery.ErasedNote{}}
	err := s.eraseNotes(ctx, mailbox, upto, &e)
	if err == nil {
		if upto == "" && len(e.Proof) > 0 {
			upto = e.Proof[len(e.Proof)-1].ID
		}
		err = s.eraseMailbox(ctx, mailbox, alias, upto, e.At)
	}
	s.vault.forget()
	s.wakeUp() // what waited behind its jobs
	s.watches.publish(alias, "")
	if err == nil {
		err = s.checkpoint(ctx)
	}
	if err == nil {
		err = s.syncTapes() // a power cut brings no file back that the proof names
	}
	if err != nil {
		return e, fmt.Errorf("erase a mailbox: %w; what is left goes when it is erased again", err)
	}
	s.log.Info("mailbox erased", "notes", e.Notes, "files", e.Files, "bytes", e.Bytes, "in_progress", e.InProgress)
	return e, nil
}

// eraseNotes erases the notes of a mailbox as their rows have it, oldest first.
func (s *Store) eraseNotes(ctx context.Context, mailbox, upto string, e *delivery.Erasure) error {
	for last := ""; ; {
		rows, err := s.readers.QueryContext(ctx, "SELECT id FROM note WHERE mailbox = ?1 AND id > ?2 AND (?3 = '' OR id <= ?3) ORDER BY id LIMIT ?4", mailbox, last, upto, removeBatch)
		page, err := collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1]
		var batch []string
		for _, id := range page {
			if d := s.drafts.get(id); d != nil && !d.erased() {
				e.InProgress++
				continue
			}
			batch = append(batch, id)
		}
		if err := s.eraseBatch(ctx, batch, e); err != nil {
			return err
		}
	}
}

func (s *Store) eraseBatch(ctx context.Context, batch []string, e *delivery.Erasure) error {
	var proof []delivery.ErasedNote
	for _, id := range batch {
		n, _ := s.note(ctx, id) // one that cannot be read is erased too
		proof = append(proof, delivery.ErasedNote{ID: id, SHA256: n.Media.SHA256})
	}
	each := func(do func(*txn, string) error) error {
		_, err := write(ctx, s, func(tx *txn) (any, error) {
			for _, id := range batch {
				if err := do(tx, id); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		return err
	}
	if err := each((*txn).bare); err != nil {
		return err
	}
	for _, id := range batch {
		files, bytes, err := s.unlink(id)
		e.Files += files
		e.Bytes += bytes
		if err != nil {
			return err
		}
	}
	if err := each((*txn).forget); err != nil {
		return err
	}
	s.left.drop(batch)
	e.Notes += len(batch)
	e.Proof = append(e.Proof, proof...)
	return nil
}

const eraseMemory = "DELETE FROM memory WHERE mailbox = ? AND mailbox <> ''"

// eraseMailbox removes the link, what channels remember and the attempts at
// other machines' notes, and keeps that the mailbox was erased, under a name
// that does not tell which it was.
func (s *Store) eraseMailbox(ctx context.Context, mailbox, alias, upto string, at time.Time) error {
	_, err := write(ctx, s, func(tx *txn) (any, error) {
		if _, err := tx.exec("DELETE FROM link WHERE mailbox = ?", mailbox); err != nil {
			return nil, err
		}
		if _, err := tx.exec(eraseMemory, alias); err != nil {
			return nil, err
		}
		for _, table := range []string{"attempt", "relay"} { // of other machines' notes
			if _, err := tx.exec("DELETE FROM "+table+" WHERE mailbox = ?1 AND (?2 = '' OR note <= ?2)", alias, upto); err != nil {
				return nil, err
			}
		}
		return tx.exec(`INSERT INTO erasure (mailbox, upto, at) VALUES (?1, ?2, ?3)
			ON CONFLICT (mailbox) DO UPDATE SET upto = max(upto, ?2), at = ?3`, alias, upto, micros(at))
	})
	return err
}

// checkpoint moves the write-ahead log into the database and cuts it to
// nothing: deleted rows are zeroes there (secure_delete), in the log they are
// not. It waits for readers in short turns: nobody writes during one.
func (s *Store) checkpoint(ctx context.Context) error {
	const tries, turn, pause = 100, 20 * time.Millisecond, 100 * time.Millisecond
	conn, err := s.readers.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := setBusyTimeout(ctx, conn, turn); err != nil {
		return err
	}
	defer func() { _ = setBusyTimeout(context.WithoutCancel(ctx), conn, busyTimeout) }() // fails with its connection
	for range tries {
		var busy, frames, moved int
		if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil || busy == 0 {
			return err
		}
		time.Sleep(pause)
	}
	return errInUse
}

// setBusyTimeout is how long statements of a connection wait for others'.
func setBusyTimeout(ctx context.Context, conn *sql.Conn, wait time.Duration) error {
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", wait.Milliseconds()))
	return err
}
