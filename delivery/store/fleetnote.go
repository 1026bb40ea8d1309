package store

import (
	"encoding/json"
	"fmt"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// carried is a note as other machines get it: what its row holds, sealed as it
// is. Whoever has the key file can open it.
type carried struct {
	Key  []byte `json:"key,omitempty"` // the note's, wrapped; none in clear
	Body []byte `json:"body"`
}

// openCarried reads a note that came by way of Redis.
func (v *vault) openCarried(id string, body []byte) (n kept, err error) {
	var c carried
	if err := json.Unmarshal(body, &c); err != nil {
		return n, fmt.Errorf("note %s of another machine cannot be read: %w", id, err)
	}
	if n.box, err = v.open(id, c.Key); err != nil {
		return n, err
	}
	return n, n.box.openJSON("body", c.Body, &n.Note)
}

// takeIn reads a note of any machine, with its marks.
func (f *Fleet) takeIn(from shared.Note) (kept, error) {
	n, err := f.vault.openCarried(from.ID, from.Body)
	n.State, n.ReadAt, n.PlayedAt = delivery.Rendered, from.Read, from.Played
	return n, err
}
