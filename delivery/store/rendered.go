package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Rendered implements delivery.Draft. For a note that is rendered already it
// returns no leases and no error: its jobs are the queue's.
func (d *draft) Rendered(ctx context.Context, n delivery.Note, file []byte, chains []delivery.Chain) (leases []delivery.Lease, err error) {
	err = d.render(ctx, n, file, chains, func(tx *txn, n kept, now time.Time) (err error) {
		leases, err = tx.addJobs(n, chains, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return leases, nil
}

// render keeps a rendered note; add adds its jobs in the same commit.
func (d *draft) render(ctx context.Context, n delivery.Note, file []byte, chains []delivery.Chain, add func(*txn, kept, time.Time) error) error {
	d.step.Lock()
	defer d.step.Unlock()
	now := d.Note()
	switch {
	case n.ID != now.ID:
		return fmt.Errorf("keep note %s: the draft is that of %s", n.ID, now.ID)
	case now.State == delivery.Rendered:
		return nil
	case now.State == delivery.Discarded:
		return alive(now)
	case now.State != delivery.Recorded:
		return fmt.Errorf("keep note %s: %w: it is %s", n.ID, errState, now.State)
	}
	whole := kept{n, d.box}
	if err := d.store.keep(ctx, &whole, file, chains, add); err != nil {
		return fmt.Errorf("keep note %s: %w", n.ID, err)
	}
	d.set(whole.Note)
	d.store.drafts.remove(d)
	d.store.watches.publish(d.store.vault.alias(n.Recipient.Number), n.ID)
	d.store.changed(n.Recipient.Number)
	return nil
}

// keep puts a rendered note's file and rows on disk and completes n.
func (s *Store) keep(ctx context.Context, n *kept, file []byte, chains []delivery.Chain, add func(*txn, kept, time.Time) error) error {
	for _, c := range chains {
		if len(c) == 0 {
			return errors.New("a chain without a target")
		}
	}
	n.State = delivery.Rendered
	if len(file) == 0 {
		n.Media = delivery.Media{}
	} else {
		n.Media.Bytes, n.Media.SHA256 = int64(len(file)), hexSum(file)
		if err := s.keepFile(ctx, n.ID, n.box.seal("file", file)); err != nil {
			return err
		}
	}
	_, err := write(ctx, s, func(tx *txn) (any, error) {
		now := s.Now()
		if err := tx.rendered(*n, len(chains) == 0, now); err != nil {
			return nil, err
		}
		return nil, add(tx, *n, now)
	})
	return err
}

// keepFile puts a note's file on disk under its own name: nobody reads it
// before its row says rendered, and a crash before that renders it again.
func (s *Store) keepFile(ctx context.Context, id string, file []byte) error {
	f, err := s.create(s.notePath(id), os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(file)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return s.syncFile(ctx, f.Name())
}

// rendered writes the note's row. Without jobs, the note has ended.
func (t *txn) rendered(n kept, over bool, now time.Time) error {
	body, err := n.box.sealJSON("body", n.Note)
	if err != nil {
		return err
	}
	ended := time.Time{}
	if over {
		ended = now
	}
	changed, err := t.exec("UPDATE note SET state = ?, mailbox = ?, body = ?, rendered_at = ?, ended_at = ? WHERE id = ? AND state = 'recorded'",
		n.State, t.vault.mailbox(n.Recipient.Number), body, micros(now), micros(ended), n.ID)
	if err != nil {
		return err
	}
	if changed == 0 {
		return errState
	}
	return t.event(n.box, delivery.Event{
		Name:   string(delivery.Rendered),
		Detail: fmt.Sprintf("%s, %s, %d bytes", n.Kind, n.Duration.Round(time.Millisecond), n.Media.Bytes),
	})
}

// addJobs adds the note's jobs, and the attempts that begin now.
func (t *txn) addJobs(n kept, chains []delivery.Chain, now time.Time) (leases []delivery.Lease, err error) {
	for _, c := range chains {
		id, head, err := t.addJob(n, c, now)
		if err != nil {
			return nil, err
		}
		if !head {
			continue // an older job of the thread goes first
		}
		lease, err := t.attempt(id, now)
		if err != nil {
			return nil, err
		}
		leases = append(leases, lease)
	}
	return leases, nil
}

// addJob queues a chain of the note and says whether it heads its thread.
func (t *txn) addJob(n kept, c delivery.Chain, now time.Time) (id string, head bool, err error) {
	j, err := t.prepareJob(n, c)
	if err != nil {
		return "", false, err
	}
	head, err = t.queue(j, now)
	return j.id, head, err
}

// newJob is a chain of a note on its way into the queue.
type newJob struct {
	id, note      string
	thread, chain []byte
	steps         int
	shared        bool // meant for all machines
}

// prepareJob names and seals a job.
func (t *txn) prepareJob(n kept, c delivery.Chain) (j newJob, err error) {
	j = newJob{id: delivery.NewID(), note: n.ID, steps: len(c)}
	j.thread = t.vault.threadOf(n.Note, c[0], j.id)
	j.chain, err = n.box.sealJSON("chain", c)
	return j, err
}

// queue adds a job and says whether it heads its thread here. The time of
// trying begins now, not with the turn in the thread: behind a head that cannot
// be delivered the week of a second note is the same.
func (t *txn) queue(j newJob, now time.Time) (head bool, err error) {
	err = t.row(`INSERT INTO job (id, note, thread, chain, steps, shared, state, first_at, next_at, head)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?7, ?6 = 0 AND NOT EXISTS (SELECT 1 FROM job WHERE thread = ?3 AND head = 1))
		RETURNING head`, j.id, j.note, j.thread, j.chain, j.steps, j.shared, micros(now)).Scan(&head)
	return head, err
}

// Open implements delivery.Notes. The file is what was kept, or an error says
// that it is damaged.
func (s *Store) Open(ctx context.Context, id string) (io.ReadSeekCloser, delivery.Note, error) {
	n, err := s.note(ctx, id)
	if err != nil {
		return nil, n.Note, err
	}
	if n.State != delivery.Rendered || n.Media.Bytes == 0 {
		return nil, n.Note, fmt.Errorf("note %s has no file: %w", id, delivery.ErrNotFound)
	}
	if n.Media.Gone {
		return nil, n.Note, fmt.Errorf("note %s: its retention took the file: %w", id, delivery.ErrNotFound)
	}
	file, err := os.ReadFile(s.notePath(id))
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("the file of note %s is gone: %w", id, delivery.ErrNotFound)
	}
	if err == nil {
		file, err = n.box.open("file", file)
	}
	if err == nil && hexSum(file) != n.Media.SHA256 {
		err = fmt.Errorf("the file of note %s is damaged: its SHA-256 is not the one that was kept", id)
	}
	if err != nil {
		return nil, n.Note, err
	}
	return openFile{bytes.NewReader(file)}, n.Note, nil
}

// openFile is a note's file in memory: what may be sent was checked as a whole.
type openFile struct{ *bytes.Reader }

// Close implements io.Closer.
func (openFile) Close() error { return nil }

func hexSum(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}
