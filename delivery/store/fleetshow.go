package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// unseen is the oldest of the notes that the others do not see: one that was held
// up may be far older than its last step. The zero value is none.
type unseen struct {
	mu     sync.Mutex
	oldest string // its id
}

// add adds a note, "" for none.
func (u *unseen) add(note string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.oldest == "" || (note != "" && note < u.oldest) {
		u.oldest = note
	}
}

// take returns the oldest note and forgets it.
func (u *unseen) take() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	oldest := u.oldest
	u.oldest = ""
	return oldest
}

// showNotes has every machine see this one's notes from an id on: those that
// went out while Redis was away, or that it has forgotten. Notes with jobs to
// do are published with them.
func (f *Fleet) showNotes(ctx context.Context, from string) error {
	for last := from; ; {
		rows, err := f.readers.QueryContext(ctx, `SELECT id, mailbox FROM note WHERE id > ? AND state = 'rendered'
			AND NOT EXISTS (SELECT 1 FROM job WHERE job.note = note.id AND shared > 0 AND job.state IN ('queued', 'sending'))
			ORDER BY id LIMIT ?`, last, settleBatch)
		page, err := collect(rows, err, func(r scanner) (p shared.Publication, err error) { return p, r.Scan(&p.ID, &p.Mailbox) })
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].ID
		for i := range page {
			page[i].Mailbox = f.vault.aliasOf(page[i].Mailbox)
		}
		missing, err := f.shared.Missing(ctx, page)
		if err != nil {
			return err
		}
		err = each(missing, func(p shared.Publication) error { return f.show(ctx, p.ID) })
		if err != nil {
			return err
		}
	}
}

// show has every machine see a note, and how far its recipient is with it.
func (f *Fleet) show(ctx context.Context, id string) error {
	defer f.offering.add(id)()
	p, err := f.publication(ctx, id)
	if unopened(err) { // it keeps none of the others back
		f.unreadable(id, err)
		return nil
	}
	if err != nil || p.ID == "" || len(p.Jobs) > 0 { // erased, or redriven, meanwhile
		return err
	}
	n, err := f.note(ctx, id)
	if err != nil {
		return err
	}
	if _, err := f.shared.Publish(ctx, p, true, false); err != nil {
		if errors.Is(err, shared.ErrErased) {
			return nil
		}
		return err
	}
	for what, at := range map[delivery.Mark]time.Time{delivery.MarkRead: n.ReadAt, delivery.MarkPlayed: n.PlayedAt} {
		if at.IsZero() {
			continue
		}
		if _, err := f.shared.Mark(ctx, p.Mailbox, id, string(what)); err != nil {
			return err
		}
	}
	return nil
}
