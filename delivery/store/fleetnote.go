package store

import (
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// takeIn reads a note of any machine, with its marks. Redis gets a note and its
// file in one step: a file that is not there is no longer kept.
func (f *Fleet) takeIn(from shared.Note) (kept, error) {
	n, err := f.vault.unpack(from.ID, from.Body)
	n.State, n.ReadAt, n.PlayedAt = delivery.Rendered, from.Read, from.Played
	n.Media.Gone = n.Media.Bytes > 0 && !from.Audio
	return n, err
}

// cannotRead logs that a note which machines share cannot be read here.
func (f *Fleet) cannotRead(note string, err error) {
	if f.unread.tells(note, f.Now()) {
		f.log.Error("a shared note cannot be read here and is left to the other machines: give every machine the same store.key_file", "note_id", note, "error", err)
	}
}
