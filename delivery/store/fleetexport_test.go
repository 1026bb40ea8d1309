package store

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

// exportedNote is a note in an export's notes.json.
type exportedNote struct {
	ID    string
	Audio struct{ Absent string }
}

// exported are the notes that a machine exports of a mailbox, newest first.
func (m *machine) exported(t *testing.T, mailbox string) (notes []exportedNote) {
	t.Helper()
	var out bytes.Buffer
	check(t, m.Export(t.Context(), mailbox, &out))
	archive, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	check(t, err)
	f, err := archive.Open("notes.json")
	check(t, err)
	defer func() { _ = f.Close() }()
	check(t, json.NewDecoder(f).Decode(&notes))
	return notes
}

// A store that was put back from a copy lacks notes that came in since: its
// machine exports them all the same, as all others do.
func TestFleetExportAfterACopy(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		var want []string
		for _, m := range []*machine{p.a, p.b, p.a} {
			want = append(want, m.put(t, "101", chainTo("inbox")).ID)
		}
		_, err := write(t.Context(), p.a.Store, func(tx *txn) (any, error) { return nil, tx.forget(want[0]) })
		check(t, err)
		slices.Sort(want)
		slices.Reverse(want)
		for _, m := range []*machine{p.a, p.b} {
			var got []string
			for _, n := range m.exported(t, "101") {
				got = append(got, n.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("exported %v, want %v", got, want)
			}
			page, err := fleetExport{m.Fleet}.List(t.Context(), delivery.Filter{Mailbox: "101", Before: want[0], Limit: 1})
			check(t, err)
			if len(page) != 1 || page[0].Note.ID != want[1] {
				t.Errorf("the next page: %+v, want %s", page, want[1])
			}
		}
	})
}
