package store

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// unfinished are the drafts that an earlier process left, until they are
// handed out.
type unfinished struct {
	mu     sync.Mutex
	opened time.Time // files younger than that are this process's
	notes  []kept
}

// takeUp continues what an earlier process left. It runs before anything else
// can change the store, so each row that is open is that process's.
func (s *Store) takeUp(ctx context.Context) error {
	s.left.opened = time.Now()
	jobs, err := write(ctx, s, func(tx *txn) (int, error) { return tx.doubt(s.left.opened) })
	if err != nil {
		return err
	}
	rows, err := s.readers.QueryContext(ctx,
		"SELECT "+noteColumns+" FROM note WHERE state IN ('recording', 'recorded') ORDER BY id")
	s.left.notes, err = collect(rows, err, func(r scanner) (kept, error) { return s.vault.scanNote(r) })
	if jobs > 0 || len(s.left.notes) > 0 {
		s.log.Info("an earlier process left work unfinished", "drafts", len(s.left.notes), "sending", jobs)
	}
	return err
}

// doubt queues again what was being sent: whether it arrived is unknown.
func (t *txn) doubt(now time.Time) (jobs int, err error) {
	sending, err := t.ids("SELECT id FROM job WHERE state = 'sending' AND shared = 0 ORDER BY seq")
	if err != nil {
		return 0, err
	}
	for _, id := range sending {
		var (
			chain []byte
			l     delivery.Lease
		)
		n, err := t.vault.scanNote(t.row("SELECT "+noteColumns+`, job.chain, job.step
			FROM job JOIN note ON note.id = job.note WHERE job.id = ?`, id), &chain, &l.Step)
		if err != nil {
			return 0, err
		}
		if err := n.box.openJSON("chain", chain, &l.Chain); err != nil {
			return 0, err
		}
		err = t.event(n.box, delivery.Event{
			At: now, Job: id, Name: string(delivery.Unknown), Target: l.Target().String(), Detail: "the gateway ended during the attempt",
		})
		if err != nil {
			return 0, err
		}
	}
	_, err = t.exec("UPDATE job SET state = 'queued', unknown = unknown | (1 << step), next_at = ? WHERE state = 'sending' AND shared = 0", micros(now))
	return len(sending), err
}

// Unfinished implements delivery.Drafts. Each draft is handed out once. One
// whose tape cannot be read now is logged and left for the next start.
func (s *Store) Unfinished(ctx context.Context) ([]delivery.Draft, error) {
	s.left.mu.Lock()
	defer s.left.mu.Unlock()
	s.reportOrphans(ctx)
	var (
		drafts []delivery.Draft
		cut    []func(*txn) error
	)
	for _, n := range s.left.notes {
		t, torn, err := s.recoverTape(s.tapePath(n.ID), n.box)
		if err != nil {
			s.log.Error("a tape cannot be read: its note waits for the next start", "note_id", n.ID, "error", err)
			continue
		}
		if why := whyCut(n.Note, torn); why != "" {
			n.State, n.Partial = delivery.Recorded, true
			cut = append(cut, func(tx *txn) error { return tx.recorded(n, t, why) })
		}
		drafts = append(drafts, &draft{store: s, id: n.ID, box: n.box, tape: t, note: n.Note})
	}
	if len(drafts) == 0 {
		return nil, nil
	}
	if err := s.syncTapes(); err != nil {
		return nil, err
	}
	_, err := write(ctx, s, func(tx *txn) (any, error) {
		for _, do := range cut {
			if err := do(tx); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	s.left.notes = nil
	return drafts, nil
}

// whyCut says what cut a tape off that an earlier process left, "" for none.
func whyCut(n delivery.Note, torn bool) string {
	switch {
	case n.State == delivery.Recording:
		return "; the gateway ended during the call"
	case torn:
		return "; the tape is damaged after that"
	}
	return ""
}

// reportOrphans logs how many tapes have no note. Nothing is done to them.
func (s *Store) reportOrphans(ctx context.Context) {
	folders, err := os.ReadDir(filepath.Join(s.path, "tapes"))
	orphans := 0
	for _, folder := range folders {
		if err != nil {
			break
		}
		var n int
		n, err = s.orphansIn(ctx, folder.Name())
		orphans += n
	}
	if err != nil {
		s.log.Warn("the tapes could not be checked", "error", err)
	}
	if orphans > 0 {
		s.log.Warn("tapes without a note are left alone", "tapes", orphans, "folder", filepath.Join(s.path, "tapes"))
	}
}

// orphansIn counts the tapes of a folder that have no row and are older than
// this process.
func (s *Store) orphansIn(ctx context.Context, folder string) (int, error) {
	tapes, err := os.ReadDir(filepath.Join(s.path, "tapes", folder))
	if err != nil {
		return 0, err
	}
	rows, err := s.readers.QueryContext(ctx, "SELECT id FROM note WHERE id >= ?1 AND id < ?1 || '~'", folder)
	ids, err := collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return 0, err
	}
	known := make(map[string]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	orphans := 0
	for _, tape := range tapes {
		if known[tape.Name()] {
			continue
		}
		if info, err := tape.Info(); err == nil && info.ModTime().Before(s.left.opened) {
			orphans++
		}
	}
	return orphans, nil
}
