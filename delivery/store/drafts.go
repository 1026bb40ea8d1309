package store

import (
	"fmt"
	"slices"
	"sync"

	"github.com/afterbeep/afterbeep/delivery"
)

// openDrafts are the drafts that somebody holds. The zero value is ready.
type openDrafts struct {
	mu   sync.Mutex
	byID map[string]*draft
}

func (o *openDrafts) add(d *draft) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byID == nil {
		o.byID = map[string]*draft{}
	}
	o.byID[d.id] = d
}

func (o *openDrafts) remove(d *draft) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, d.id)
}

func (o *openDrafts) get(id string) *draft {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byID[id]
}

// erased ends the draft if its call is over, so that it can be erased. Its next
// step gets delivery.ErrNotFound.
func (d *draft) erased() bool {
	d.step.Lock()
	defer d.step.Unlock()
	n := d.Note()
	if n.State == delivery.Recorded {
		n.State = delivery.Discarded
		d.set(n)
		d.store.drafts.remove(d)
	}
	return n.State != delivery.Recording
}

// alive is an error for a draft that was erased.
func alive(n delivery.Note) error {
	if n.State == delivery.Discarded {
		return fmt.Errorf("note %s was erased: %w", n.ID, delivery.ErrNotFound)
	}
	return nil
}

// drop leaves out notes that are no more.
func (u *unfinished) drop(ids []string) {
	u.notes = slices.DeleteFunc(u.notes, func(n kept) bool { return slices.Contains(ids, n.ID) })
	if u.looked {
		u.stuck.Store(int64(len(u.notes)))
	}
}
