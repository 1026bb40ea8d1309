package store

import (
	"context"
	"fmt"

	"github.com/afterbeep/afterbeep/delivery"
)

// Thread implements delivery.Inbox.
func (s *Store) Thread(ctx context.Context, mailbox, before string, limit int) (notes []delivery.Note, _ error) {
	for more := true; more && len(notes) < limit; {
		rows, err := s.readers.QueryContext(ctx, "SELECT "+noteColumns+` FROM note
			WHERE mailbox = ?1 AND (?2 = '' OR id < ?2) AND state = 'rendered' ORDER BY id DESC LIMIT ?3`, s.vault.mailbox(mailbox), before, limit)
		page, err := collect(rows, err, s.scanAny)
		if err != nil {
			return nil, err
		}
		for _, n := range page {
			if before = n.ID; n.box != nil {
				notes = append(notes, n.Note)
			}
		}
		more = len(page) == limit
	}
	return notes[:min(limit, len(notes))], nil
}

// Recipients are the numbers of the mailboxes that this machine keeps notes of.
func (s *Store) Recipients(ctx context.Context) ([]string, error) {
	rows, err := s.readers.QueryContext(ctx, selectNewest)
	newest, err := collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, err
	}
	var numbers []string
	for _, id := range newest {
		n, err := s.note(ctx, id)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			s.log.Warn("a note cannot be read, nor whose it is", "note_id", id, "error", err)
		default:
			numbers = append(numbers, n.Recipient.Number)
		}
	}
	return numbers, nil
}

// selectNewest chooses one note of each mailbox.
const selectNewest = "SELECT max(id) FROM note GROUP BY mailbox"

// marks are the changes of a note that marks make. The first time counts.
func marks() map[delivery.Mark]string {
	return map[delivery.Mark]string{
		delivery.MarkRead:   "UPDATE note SET read_at = ? WHERE id = ? AND read_at = 0",
		delivery.MarkPlayed: "UPDATE note SET played_at = ? WHERE id = ? AND played_at = 0",
	}
}

// Mark implements delivery.Inbox. delivery.ErrNotFound when the mailbox has no
// such note.
func (s *Store) Mark(ctx context.Context, mailbox, id string, what delivery.Mark) error {
	set, ok := marks()[what]
	if !ok {
		return fmt.Errorf("no such mark %q", what)
	}
	n, err := s.note(ctx, id)
	if err == nil && (n.Recipient.Number != mailbox || n.State != delivery.Rendered) {
		err = delivery.ErrNotFound
	}
	if err != nil {
		return err
	}
	var told bool
	first, err := write(ctx, s, func(tx *txn) (bool, error) {
		changed, err := tx.exec(set, micros(s.clock.Wall()), id)
		if err != nil || changed == 0 {
			return false, err
		}
		if err := tx.event(n.box, delivery.Event{Name: string(what)}); err != nil {
			return false, err
		}
		told, err = tx.tellMarked(n, string(what), inboxChannel, s.Now())
		return true, err
	})
	if err != nil {
		return fmt.Errorf("mark note %s: %w", id, err)
	}
	if first {
		s.watches.publish(s.vault.alias(mailbox), id)
		s.changed(mailbox)
	}
	if told {
		s.wakeUp()
	}
	return nil
}

// Watch implements delivery.Inbox. The channel is closed when ctx or the store
// ends.
func (s *Store) Watch(ctx context.Context, mailbox string) <-chan string {
	return s.watches.add(ctx, s.vault.alias(mailbox))
}
