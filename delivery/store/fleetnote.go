package store

import (
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// takeIn reads a note of any machine, with its marks.
func (f *Fleet) takeIn(from shared.Note) (kept, error) {
	n, err := f.vault.unpack(from.ID, from.Body)
	n.State, n.ReadAt, n.PlayedAt = delivery.Rendered, from.Read, from.Played
	return n, err
}
