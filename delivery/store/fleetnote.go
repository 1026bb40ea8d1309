package store

import (
	"encoding/json"
	"fmt"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// parcel is a note as other machines get it: what its row holds, sealed as it
// is. Whoever has the key file can open it.
type parcel struct {
	Key  []byte `json:"key,omitempty"` // the note's, wrapped; none in clear
	Body []byte `json:"body"`
}

// unpack opens a parcel.
func (v *vault) unpack(id string, body []byte) (n kept, err error) {
	var p parcel
	if err := json.Unmarshal(body, &p); err != nil {
		return n, fmt.Errorf("note %s of another machine cannot be read: %w", id, err)
	}
	if n.box, err = v.open(id, p.Key); err != nil {
		return n, err
	}
	return n, n.box.openJSON("body", p.Body, &n.Note)
}

// takeIn reads a note of any machine, with its marks.
func (f *Fleet) takeIn(from shared.Note) (kept, error) {
	n, err := f.vault.unpack(from.ID, from.Body)
	n.State, n.ReadAt, n.PlayedAt = delivery.Rendered, from.Read, from.Played
	return n, err
}
