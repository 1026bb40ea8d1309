package store

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// newestFirst sorts the notes' ids: those of one millisecond have no order.
func newestFirst(ids []string) {
	slices.Sort(ids)
	slices.Reverse(ids)
}

// A note that cannot be read keeps none of the others out of a list, a page or
// an export. A list and an export name it, an inbox leaves it out.
func TestUnreadableInAList(t *testing.T) { everywhere(t, testUnreadableInAList) }

func testUnreadableInAList(t *testing.T, c composition) {
	var said bytes.Buffer
	s, err := Open(c.options(t, t.TempDir()), slog.New(slog.NewTextHandler(&said, nil)))
	check(t, err)
	defer closeStore(t, s)
	var all []string
	for range 6 {
		n := newNote("101", "201")
		keep(t, s, n, chainTo("crm"))
		all = append(all, n.ID)
	}
	newestFirst(all)
	closed := all[2:5]
	mends := []func(*Store){damage(t, s, all[2]), damage(t, s, all[3])}
	_, err = write(t.Context(), s, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE job SET chain = zeroblob(9) WHERE note = ?", all[4])
	})
	check(t, err)

	for _, page := range []struct {
		filter delivery.Filter
		want   []string
	}{
		{delivery.Filter{}, all},
		{delivery.Filter{Limit: 3}, all[:3]},
		{delivery.Filter{Mailbox: "101", Limit: 2, Before: all[2]}, all[3:5]},
		{delivery.Filter{Limit: 2, Before: all[4]}, all[5:]},
	} {
		list, err := s.List(t.Context(), page.filter)
		check(t, err)
		if got := idsOf(list); !slices.Equal(got, page.want) {
			t.Errorf("%+v: %v\nwant %v", page.filter, got, page.want)
		}
		for _, n := range list {
			if n.Unreadable != slices.Contains(closed, n.Note.ID) || n.Note.State != delivery.Rendered {
				t.Errorf("listed %+v", n)
			}
		}
	}
	if n, err := s.Count(t.Context(), delivery.Filter{Channel: "crm"}); err != nil || n != 3 {
		t.Errorf("%d notes at a channel, %v", n, err)
	}
	for _, page := range []struct {
		before string
		limit  int
		want   []string
	}{
		{"", 10, []string{all[0], all[1], all[4], all[5]}}, // the inbox reads no chains
		{"", 3, []string{all[0], all[1], all[4]}},
		{all[1], 1, all[4:5]},
	} {
		notes, err := s.Thread(t.Context(), "101", page.before, page.limit)
		check(t, err)
		if got := ids(notes); !slices.Equal(got, page.want) {
			t.Errorf("a page of %d after %q: %v\nwant %v", page.limit, page.before, got, page.want)
		}
	}
	for _, id := range closed {
		if _, err := s.Life(t.Context(), id); !errors.Is(err, delivery.ErrUnreadable) || !strings.Contains(err.Error(), "store.key_file") {
			t.Errorf("Life: %v", err)
		}
		if n := strings.Count(said.String(), "note_id="+id); n != 1 {
			t.Errorf("told of %d times: %s", n, &said)
		}
	}
	if names := exportedNames(t, s, delivery.ErrIncomplete); len(names) != 4 {
		t.Errorf("exported %v", names)
	}
	for _, mend := range mends {
		mend(s)
	}
	list, err := s.List(t.Context(), delivery.Filter{Before: all[1], Limit: 2})
	check(t, err)
	if list[0].Unreadable || list[1].Unreadable || list[0].Note.Recipient.Number != "101" {
		t.Errorf("put right: %+v", list)
	}
}

// exportedNames are the files of an export of mailbox 101.
func exportedNames(t *testing.T, s *Store, want error) (names []string) {
	t.Helper()
	var out bytes.Buffer
	if err := s.Export(t.Context(), "101", &out); !errors.Is(err, want) {
		t.Errorf("Export: %v, want %v", err, want)
	}
	archive, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	check(t, err)
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	return names
}

// TestFleetUnreadableInAList: the same of another machine's note.
func TestFleetUnreadableInAList(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		var all []string
		for range 5 {
			all = append(all, p.a.put(t, "101").ID)
		}
		eventually(t, "b sees the notes", func() bool {
			notes, err := p.b.Thread(t.Context(), "101", "", 10)
			return err == nil && len(notes) == len(all)
		})
		newestFirst(all)
		shard := shared.ShardOf(p.b.vault.alias("101"))
		for _, id := range all[1:3] {
			p.setup.Servers[0].Do(fmt.Sprintf("HSET afterbeep:{%02d}:note:%s body damaged", shard, id))
		}
		page := func(before string, limit int, want ...string) {
			t.Helper()
			notes, err := p.b.Thread(t.Context(), "101", before, limit)
			check(t, err)
			if got := ids(notes); !slices.Equal(got, want) {
				t.Errorf("a page of %d after %q: %v, want %v", limit, before, got, want)
			}
		}
		page("", 2, all[0], all[3])
		page(all[0], 1, all[3])
		page("", 10, all[0], all[3], all[4])
		if _, err := p.b.Life(t.Context(), all[1]); !errors.Is(err, delivery.ErrUnreadable) {
			t.Errorf("Life: %v", err)
		}
		var out bytes.Buffer
		expect(t, p.b.Export(t.Context(), "101", &out), delivery.ErrIncomplete)
	})
}

// A note that cannot be read keeps no other one from being shown to the other
// machines.
func TestFleetShowsBesideAnUnreadableNote(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		var all []string
		for range 2 {
			all = append(all, p.a.put(t, "101").ID)
		}
		mend := damage(t, p.a.Store, all[0])
		defer mend(p.a.Store)
		for _, id := range all {
			p.setup.Servers[0].Do(fmt.Sprintf("DEL afterbeep:{%02d}:note:%s", shared.ShardOf(p.a.vault.alias("101")), id))
		}
		check(t, p.a.showNotes(t.Context(), ""))
		_, err := p.b.Life(t.Context(), all[1])
		check(t, err)
	})
}
