package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/afterbeep/afterbeep/delivery"
)

// errState is what a step gets that the note is not ready for.
var errState = errors.New("the note is not at that step")

// draft implements delivery.Draft.
type draft struct {
	store *Store
	id    string
	box   *box
	tape  *tape
	owed  int64 // of Store.owed, given back with the tape's end

	step sync.Mutex // one step at a time
	mu   sync.Mutex // guards note
	note delivery.Note
}

// Begin implements delivery.Drafts.
func (s *Store) Begin(ctx context.Context, n delivery.Note, bytes int64) (delivery.Draft, error) {
	if !delivery.ValidID(n.ID) {
		return nil, errors.New("begin a draft: the id is none of delivery.NewID's")
	}
	if err := s.checkSpace(bytes); err != nil {
		return nil, err
	}
	n.State = delivery.Recording
	b := s.vault.mint(n.ID)
	d := &draft{store: s, id: n.ID, box: b, note: n, tape: &tape{path: s.tapePath(n.ID), box: b}}
	err := d.reserve(bytes)
	if err == nil {
		s.drafts.add(d) // before its row: an erasure sees both
		if _, err = write(ctx, s, func(tx *txn) (any, error) { return nil, tx.begin(kept{n, b}) }); err == nil {
			return d, nil
		}
		s.drafts.remove(d)
		d.drop()
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("begin a draft: note %s exists", n.ID)
	}
	return nil, fmt.Errorf("%w: %w", delivery.ErrFull, err)
}

// begin writes the row of a draft.
func (t *txn) begin(n kept) error {
	body, err := n.box.sealJSON("body", n.Note)
	if err != nil {
		return err
	}
	inserted, err := t.exec("INSERT INTO note (id, state, mailbox, key, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		n.ID, n.State, t.vault.mailbox(n.Recipient.Number), t.vault.wrap(n.box), body)
	if err != nil {
		return err
	}
	if inserted == 0 {
		return fs.ErrExist
	}
	return t.event(n.box, delivery.Event{Name: string(delivery.Recording)})
}

// reserve creates the tape with room for bytes. Where the file system cannot
// reserve, the store remembers what it promised.
func (d *draft) reserve(bytes int64) error {
	f, err := d.store.create(d.tape.path, os.O_EXCL)
	if err != nil {
		return err
	}
	d.tape.file = f
	err = d.store.disk.reserve(f, bytes)
	if errors.Is(err, errors.ErrUnsupported) {
		d.owed = bytes
		d.store.owed.Add(bytes)
		return nil
	}
	if err != nil {
		d.drop()
	}
	return err
}

// drop removes the tape.
func (d *draft) drop() {
	if err := errors.Join(d.endTape(), os.Remove(d.tape.path)); err != nil {
		d.store.log.Warn("a dropped draft left its tape behind", "note_id", d.id, "error", err)
	}
}

func (d *draft) endTape() error {
	d.store.owed.Add(-d.owed)
	d.owed = 0
	return d.tape.end()
}

// Note implements delivery.Draft.
func (d *draft) Note() delivery.Note {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.note
}

func (d *draft) set(n delivery.Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note = n
}

// Append implements delivery.Draft.
func (d *draft) Append(record []byte) error {
	if err := d.tape.append(record); err != nil {
		return fmt.Errorf("append to the tape of note %s: %w", d.id, err)
	}
	d.store.flusher.mark()
	return nil
}

// Records implements delivery.Draft.
func (d *draft) Records() delivery.RecordReader { return d.tape.follow() }

// Recorded implements delivery.Draft. Called again, it does nothing.
func (d *draft) Recorded(ctx context.Context, partial bool) error {
	d.step.Lock()
	defer d.step.Unlock()
	n := d.Note()
	if n.State == delivery.Recorded || n.State == delivery.Rendered {
		return nil
	}
	if err := alive(n); err != nil {
		return err
	}
	n.State, n.Partial = delivery.Recorded, partial
	err := d.endTape()
	if err == nil {
		err = d.store.syncFile(ctx, d.tape.path)
	}
	if err == nil {
		_, err = write(ctx, d.store, func(tx *txn) (any, error) { return nil, tx.recorded(kept{n, d.box}, d.tape, "") })
	}
	if err != nil {
		return fmt.Errorf("keep the recording of note %s: %w", d.id, err)
	}
	d.set(n)
	return nil
}

// recorded moves a draft from recording to recorded, or keeps the note anew of
// one that was recorded already. why is what cut the tape, if anything did.
func (t *txn) recorded(n kept, from *tape, why string) error {
	body, err := n.box.sealJSON("body", n.Note)
	if err != nil {
		return err
	}
	changed, err := t.exec("UPDATE note SET state = ?, body = ? WHERE id = ? AND state IN ('recording', 'recorded')", n.State, body, n.ID)
	if err != nil {
		return err
	}
	if changed == 0 {
		return errState
	}
	size, records, _ := from.length()
	return t.event(n.box, delivery.Event{
		Name:   string(delivery.Recorded),
		Detail: fmt.Sprintf("%d records, %d bytes%s", records, size, why),
	})
}

// Discard implements delivery.Draft. The row goes first: a tape alone means
// nothing, a row alone would be taken up as a call.
func (d *draft) Discard(ctx context.Context) error {
	d.step.Lock()
	defer d.step.Unlock()
	_, err := write(ctx, d.store, func(tx *txn) (any, error) { return nil, tx.discard(d.id) })
	if err != nil {
		return fmt.Errorf("discard note %s: %w", d.id, err)
	}
	d.store.drafts.remove(d)
	d.drop()
	n := d.Note()
	n.State = delivery.Discarded
	d.set(n)
	return nil
}

// discard deletes the row of a draft and its events.
func (t *txn) discard(id string) error {
	deleted, err := t.exec("DELETE FROM note WHERE id = ? AND state IN ('recording', 'recorded')", id)
	if err != nil {
		return err
	}
	if deleted == 0 {
		return errState
	}
	_, err = t.exec("DELETE FROM event WHERE note = ?", id)
	return err
}
