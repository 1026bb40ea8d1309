package store

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// unfinished are the drafts that an earlier process left, until they are
// handed out.
type unfinished struct {
	mu     sync.Mutex
	opened time.Time // files younger than that are this process's
	notes  []kept    // without a box those whose rows could not be opened
	looked bool      // they were handed out, but for those that cannot be read
	stuck  atomic.Int64
}

// takeUp continues what an earlier process left. It runs before anything else
// can change the store, so each row that is open is that process's.
func (s *Store) takeUp(ctx context.Context) error {
	s.left.opened = time.Now()
	jobs, err := write(ctx, s, func(tx *txn) (int, error) { return tx.doubt(s.Now()) })
	if err != nil {
		return err
	}
	rows, err := s.readers.QueryContext(ctx,
		"SELECT "+noteColumns+" FROM note WHERE state IN ('recording', 'recorded') ORDER BY id")
	s.left.notes, err = collect(rows, err, s.scanAny)
	if jobs > 0 || len(s.left.notes) > 0 {
		s.log.Info("an earlier process left work unfinished", "drafts", len(s.left.notes), "sending", jobs)
	}
	return err
}

// sendingHere is what this machine was sending, in the words of its index.
const sendingHere = " WHERE state = 'sending' AND state <> 'delivered' AND shared = 0"

// doubt queues again what was being sent: whether it arrived is unknown. Where a
// note cannot be opened its life lacks the line that says so.
func (t *txn) doubt(now time.Time) (jobs int, err error) {
	left, err := t.ids("SELECT id FROM job" + sendingHere)
	if err != nil {
		return 0, err
	}
	_, err = t.exec("UPDATE job SET state = 'queued', next_at = ?"+sendingHere+" AND waits & 1", micros(now)) // nothing was sent
	if err != nil {
		return 0, err
	}
	sending, err := t.ids("SELECT id FROM job" + sendingHere + " ORDER BY seq")
	if err != nil {
		return 0, err
	}
	for _, id := range sending {
		j, err := t.standing(id)
		if unopened(err) { // Claim tells of it
			continue
		}
		if err != nil {
			return 0, err
		}
		err = t.event(j.box, delivery.Event{
			Job: id, Name: string(delivery.Unknown), Target: j.chain[j.step].String(), Detail: "the gateway ended during the attempt",
		})
		if err != nil {
			return 0, err
		}
	}
	_, err = t.exec("UPDATE job SET state = 'queued', unknown = unknown | (1 << step), next_at = ?"+sendingHere, micros(now))
	if err != nil {
		return 0, err
	}
	for _, id := range left {
		var step int
		if err := t.row("SELECT step FROM job WHERE id = ?", id).Scan(&step); err != nil {
			return 0, err
		}
		if _, err := t.catchUp(id, step, now); err != nil && !unopened(err) {
			return 0, err
		}
	}
	return len(sending), nil
}

// takeBack names the states that do not count in the words of the index
// job_shared, which is empty where there was no Redis.
const takeBack = `UPDATE job SET shared = 0, state = 'queued', unknown = unknown | (1 << step), epoch = max(epoch, 1)
	WHERE shared > 0 AND state <> 'delivered' AND state <> 'dead'`

// takeHome makes the jobs that this store shared with other machines its own
// again: its configuration names no Redis any more, and nobody else would send
// them. What Redis knew of them is not known here: each may have arrived.
func (s *Store) takeHome(ctx context.Context) error {
	jobs, err := write(ctx, s, func(tx *txn) (int64, error) {
		jobs, err := tx.exec(takeBack)
		if err != nil || jobs == 0 {
			return 0, err
		}
		_, err = tx.exec(`UPDATE job SET head = 1 WHERE seq IN (SELECT seq FROM (
			SELECT seq, row_number() OVER (PARTITION BY thread ORDER BY note, seq) AS place, max(head) OVER (PARTITION BY thread) AS headed
			FROM job WHERE state <> 'delivered' AND state IN ('queued', 'sending')) WHERE place = 1 AND headed = 0)`)
		return jobs, err
	})
	if jobs > 0 {
		s.log.Warn("store.redis is gone from the configuration: this machine sends what it shared, as possible repeats", "jobs", jobs)
	}
	return err
}

// makeOwn does the same for a job that had ended, before it goes on. That its
// delivery does not count is for a Redis that is configured again.
func (t *txn) makeOwn(job string) error {
	if !t.alone {
		return nil
	}
	_, err := t.exec(`UPDATE job SET shared = 0, epoch = max(epoch, 1), round = round + (state = 'delivered'), void = iif(state = 'delivered', round + 1, void)
		WHERE id = ? AND shared > 0`, job)
	return err
}

// Unfinished implements delivery.Drafts.
func (s *Store) Unfinished(ctx context.Context) ([]delivery.Draft, error) {
	s.left.mu.Lock()
	defer s.left.mu.Unlock()
	if !s.left.looked {
		s.reportOrphans(ctx)
	}
	var (
		drafts []delivery.Draft
		taken  []*draft
		stuck  []kept
		cut    []func(*txn) error
	)
	for _, n := range s.left.notes {
		whole, t, torn, err := s.takeLeft(ctx, n)
		if err != nil {
			stuck = append(stuck, n)
			continue
		}
		n = whole
		if why := whyCut(n.Note, torn); why != "" {
			n.State, n.Partial = delivery.Recorded, true
			cut = append(cut, func(tx *txn) error { return tx.recorded(n, t, why) })
		}
		d := &draft{store: s, id: n.ID, box: n.box, tape: t, note: n.Note}
		drafts, taken = append(drafts, d), append(taken, d)
	}
	if err := s.cutLeft(ctx, cut, len(drafts)); err != nil {
		return nil, err
	}
	s.left.notes, s.left.looked = stuck, true
	s.left.stuck.Store(int64(len(stuck)))
	for _, d := range taken {
		s.drafts.add(d)
	}
	return drafts, nil
}

// Stuck is how many drafts an earlier process left that cannot be read.
func (s *Store) Stuck() int { return int(s.left.stuck.Load()) }

// takeLeft reads the row of a draft that an earlier process left, unless that was
// done, and its tape.
func (s *Store) takeLeft(ctx context.Context, n kept) (_ kept, t *tape, torn bool, err error) {
	if n.box == nil {
		id := n.ID
		if n, err = s.note(ctx, id); err != nil {
			s.unreadable(id, err)
			return n, nil, false, err
		}
	}
	path := s.tapePath(n.ID)
	if s.left.looked { // then it was there at the start: whoever mends it has it aside, or an erasure got that far
		_, err = os.Lstat(path)
	}
	if err == nil {
		t, torn, err = s.recoverTape(path, n.box)
	}
	if err != nil && s.unread.tells(n.ID, s.Now()) {
		s.log.Error("a tape cannot be read and its note waits; it is tried again every 10 minutes: mend the disk, or put the tape back from a copy, renamed into its place",
			"note_id", n.ID, "error", err)
	}
	return n, t, torn, err
}

// cutLeft keeps where the tapes of drafts end.
func (s *Store) cutLeft(ctx context.Context, cut []func(*txn) error, drafts int) error {
	if drafts == 0 {
		return nil
	}
	if err := s.syncTapes(); err != nil {
		return err
	}
	_, err := write(ctx, s, func(tx *txn) (any, error) {
		for _, do := range cut {
			if err := do(tx); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
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

// reportOrphans logs how many tapes have no note.
func (s *Store) reportOrphans(ctx context.Context) {
	orphans := 0
	err := s.strays(ctx, []string{"tapes"}, func(_ string, modified time.Time, known bool) error {
		if !known && modified.Before(s.left.opened) {
			orphans++
		}
		return nil
	})
	if err != nil {
		s.log.Warn("the tapes could not be checked", "error", err)
	}
	if orphans > 0 {
		s.log.Warn("tapes without a note are deleted when they are a week old", "tapes", orphans, "folder", filepath.Join(s.path, "tapes"))
	}
}
