package store

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

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

// A file whose time is over is no longer kept on any machine: an export is whole
// without it, and no inbox offers it.
func TestFleetExportWithoutAudio(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		over := p.a.put(t, "101", chainTo("inbox"))
		finish(t, p.a, claimOne(t, p.a), done())
		kept := p.a.put(t, "101", chainTo("inbox"))
		p.a.change(t, "UPDATE note SET ended_at = ? WHERE id = ?", micros(p.a.Now().Add(-2*time.Hour)), over.ID)
		took, err := p.a.Retire(t.Context(), func(string) delivery.Retention { return delivery.Retention{Audio: time.Hour} })
		check(t, err)
		if took.Audio != 1 {
			t.Errorf("took %+v", took)
		}
		want := map[string]bool{over.ID: true, kept.ID: false}
		for _, m := range []*machine{p.a, p.b} {
			for _, n := range m.exported(t, "101") {
				if absent := n.Audio.Absent == "no longer kept"; absent != want[n.ID] {
					t.Errorf("the audio of note %s is absent: %q", n.ID, n.Audio.Absent)
				}
			}
			thread, err := m.Thread(t.Context(), "101", "", 10)
			check(t, err)
			for _, n := range thread {
				if n.Media.Gone != want[n.ID] {
					t.Errorf("the inbox has the audio of note %s as gone: %v", n.ID, n.Media.Gone)
				}
			}
		}
	})
}
