package store

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/afterbeep/afterbeep/delivery"
)

// Export writes the notes of a mailbox on all machines as a zip, see
// delivery.Export. It fails while Redis is away: it would not be whole.
func (f *Fleet) Export(ctx context.Context, mailbox string, w io.Writer) error {
	return delivery.Export(ctx, fleetExport{f}, mailbox, w)
}

// fleetExport lists a mailbox's notes on all machines.
type fleetExport struct{ *Fleet }

// List returns the next notes of the filter's mailbox, newest first.
func (e fleetExport) List(ctx context.Context, filter delivery.Filter) ([]delivery.Summary, error) {
	list, err := e.Fleet.List(ctx, filter)
	if err != nil {
		return nil, err
	}
	everywhere, err := e.shared.Thread(ctx, e.vault.alias(filter.Mailbox), filter.Before, filter.Limit)
	if err != nil {
		return nil, err
	}
	here := make(map[string]bool, len(list))
	for _, own := range list {
		here[own.Note.ID] = true
	}
	for _, from := range everywhere {
		if here[from.ID] { // by its rows: a store put back from a copy lacks notes that came in here
			continue
		}
		n, err := e.takeIn(from)
		if err != nil {
			e.cannotRead(from.ID, err)
			n.Note = delivery.Note{ID: from.ID, State: delivery.Rendered}
		}
		list = append(list, delivery.Summary{Note: n.Note, Unreadable: err != nil})
	}
	slices.SortFunc(list, func(a, b delivery.Summary) int { return cmp.Compare(b.Note.ID, a.Note.ID) })
	return list[:min(filter.Limit, len(list))], nil
}
