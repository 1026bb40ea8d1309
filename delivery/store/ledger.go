package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// ledger is what this machine knows, for a Redis that may have forgotten it.
type ledger struct{ f *Fleet }

// Recall implements shared.Ledger.
func (l ledger) Recall(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	if err := l.f.drain(ctx); err != nil { // what Redis does remember
		return err
	}
	for _, tell := range []func(context.Context, shared.Shards, func(shared.Fact) error) error{l.ended, l.attempts, l.reports, l.erasures, l.pending} {
		if err := tell(ctx, in, say); err != nil {
			return err
		}
	}
	return nil
}

// ended tells which of this machine's jobs have ended, in the last ten days,
// whoever sent them.
func (l ledger) ended(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	since := delivery.FirstID(l.f.Now().Add(-keepLedger))
	for last := since; ; {
		rows, err := l.f.readers.QueryContext(ctx, `SELECT note.mailbox, iif(`+settledJob+`, 'delivered', job.state), `+homeColumns+` FROM job JOIN note ON note.id = job.note
			WHERE job.note > ? AND (job.shared > 0 OR job.epoch > 0) AND (job.state IN ('delivered', 'dead') OR `+settledJob+`) ORDER BY job.note LIMIT ?`, last, settleBatch)
		page, err := collect(rows, err, func(r scanner) (shared.Fact, error) {
			var mailbox, state string
			j, err := l.f.scanHome(r, &mailbox, &state)
			j.Shard = shared.ShardOf(l.f.vault.aliasOf(mailbox))
			return shared.Fact{Kind: shared.Kind(state), Job: j}, err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		if len(page) == settleBatch && page[0].Job.Note != page[settleBatch-1].Job.Note { // the last note's jobs may go on
			end := page[settleBatch-1].Job.Note
			page = slices.DeleteFunc(page, func(f shared.Fact) bool { return f.Job.Note == end })
		}
		last = page[len(page)-1].Job.Note
		for _, fact := range page {
			if !in.Has(fact.Job.Shard) {
				continue
			}
			if err := say(fact); err != nil {
				return err
			}
		}
	}
}

// settledJob says that a job is delivered, though a lease may have to end before
// its row says so.
const settledJob = "EXISTS (SELECT 1 FROM report WHERE report.job = job.id AND settles = 1)"

// attempts tells of this machine's own attempts: results first, then what is
// under way, then what nobody knows the outcome of.
func (l ledger) attempts(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	for _, of := range []struct {
		kind    shared.Kind
		outcome delivery.Outcome
	}{
		{shared.WasDelivered, delivery.Done},
		{shared.WasDead, delivery.Dead},
		{shared.IsWaiting, delivery.Waiting},
		{shared.IsSending, ""},
		{shared.WasInterrupted, delivery.Unknown},
	} {
		job, epoch := "", 0
		for {
			rows, err := l.f.readers.QueryContext(ctx, "SELECT "+attemptColumns+` FROM attempt
				WHERE (job, epoch) > (?, ?) AND outcome = ? ORDER BY job, epoch LIMIT ?`, job, epoch, of.outcome, settleBatch)
			page, err := collect(rows, err, scanAttempt)
			if err != nil {
				return err
			}
			for _, a := range page {
				job, epoch = a.ID, a.Epoch
				if !in.Has(a.Shard) || (of.kind == shared.WasDead && a.Step+1 < a.Steps) {
					continue
				}
				if err := say(shared.Fact{Kind: of.kind, Job: l.f.afterwards(a)}); err != nil {
					return err
				}
			}
			if len(page) < settleBatch {
				break
			}
		}
	}
	return nil
}

// afterwards is the job of an attempt as it stood when that ended.
func (f *Fleet) afterwards(a attempt) shared.Job {
	j := a.Job
	if a.Outcome == string(delivery.Waiting) {
		j.Next, j.Waits = a.NextAt, a.Then
	}
	j.First, j.Next = f.uneven(j.First), f.uneven(j.Next)
	return j
}

// reports tells what chat services told this machine, in the last ten days. A
// note that was asked for or came back was sent by now, or its home says that it
// is due.
func (l ledger) reports(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	var job, channel, what string
	for {
		rows, err := l.f.readers.QueryContext(ctx, "SELECT "+relayColumns+` FROM relay
			WHERE (job, channel, what) > (?, ?, ?) AND what NOT IN ('asked', 'bounced') ORDER BY job, channel, what LIMIT ?`, job, channel, what, settleBatch)
		page, err := collect(rows, err, scanRelay)
		if err != nil {
			return err
		}
		for _, rel := range page {
			job, channel, what = rel.job.ID, rel.row, rel.said.What
			if rel.job.Shard == unknownShard || !in.Has(rel.job.Shard) {
				continue
			}
			if err := say(shared.Fact{Kind: shared.WasReported, Job: rel.job, Said: rel.said}); err != nil {
				return err
			}
		}
		if len(page) < settleBatch {
			return nil
		}
	}
}

// erasures tells what was erased, here and as far as this machine heard of it.
func (l ledger) erasures(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	rows, err := l.f.readers.QueryContext(ctx, "SELECT mailbox, upto FROM erasure WHERE upto > ''")
	all, err := collect(rows, err, func(r scanner) (p shared.Publication, err error) { return p, r.Scan(&p.Mailbox, &p.ID) })
	if err != nil {
		return err
	}
	for _, p := range all {
		if !in.Has(shared.ShardOf(p.Mailbox)) {
			continue
		}
		if err := say(shared.Fact{Kind: shared.WasErased, Note: p}); err != nil {
			return err
		}
	}
	return nil
}

// pending tells of this machine's notes that have jobs to do.
func (l ledger) pending(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	for last := ""; ; {
		notes, err := l.f.notesAfter(ctx, pendingNotes, last)
		if err != nil || len(notes) == 0 {
			return err
		}
		last = notes[len(notes)-1]
		for _, p := range l.f.publications(ctx, notes) {
			if !in.Has(shared.ShardOf(p.Mailbox)) {
				continue
			}
			if err := say(shared.Fact{Kind: shared.IsPending, Note: p}); err != nil {
				return err
			}
		}
	}
}

// Notes after one that have jobs that are yet to be told, or to be done.
const (
	untoldNotes  = "SELECT DISTINCT note FROM job WHERE note > ? AND shared = 1 AND state IN ('queued', 'sending') ORDER BY note LIMIT ?"
	pendingNotes = `SELECT DISTINCT note FROM job WHERE note > ? AND shared > 0 AND state <> 'delivered' AND state <> 'dead'
		ORDER BY note LIMIT ?`
)

// notesAfter returns the next of these notes.
func (f *Fleet) notesAfter(ctx context.Context, query, last string) ([]string, error) {
	rows, err := f.readers.QueryContext(ctx, query, last, settleBatch)
	return collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
}

// publications are the shared jobs of notes that have not ended, as other
// machines get them. A note that cannot be read keeps no other one back.
func (f *Fleet) publications(ctx context.Context, notes []string) (all []shared.Publication) {
	for _, id := range notes {
		p, err := f.publication(ctx, id)
		switch {
		case unopened(err):
			f.unreadable(id, err)
		case err != nil:
			f.log.Error("a note cannot be read, and no other machine gets it", "note_id", id, "error", err)
		}
		if len(p.Jobs) > 0 {
			all = append(all, p)
		}
	}
	return all
}

func (f *Fleet) publication(ctx context.Context, id string) (p shared.Publication, err error) {
	var own parcel
	row := f.readers.QueryRowContext(ctx, "SELECT "+noteColumns+", note.mailbox, note.key, note.body FROM note WHERE id = ?", id)
	n, err := f.vault.scanNote(row, &p.Mailbox, &own.Key, &own.Body)
	if errors.Is(err, delivery.ErrNotFound) { // erased meanwhile
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.ID, p.Mailbox = id, f.vault.aliasOf(p.Mailbox)
	if p.Outlives, err = outlived(f.readers.QueryRowContext(ctx, selectOutlived, p.Mailbox, id)); err != nil {
		return p, err
	}
	if p.Body, err = json.Marshal(own); err != nil {
		return p, err
	}
	if n.Media.Bytes > 0 && !n.Media.Gone && exists(f.notePath(id)) {
		p.Audio = func(context.Context) ([]byte, error) { return os.ReadFile(f.notePath(id)) }
	}
	rows, err := f.readers.QueryContext(ctx, "SELECT "+homeColumns+` FROM job
		WHERE note = ? AND shared > 0 AND state IN ('queued', 'sending') ORDER BY seq`, id)
	p.Jobs, err = collect(rows, err, func(r scanner) (shared.Job, error) { return f.scanHome(r) })
	return p, err
}

// exists says that a file is there, or that it is not known: a note that has
// lost its file is told without.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// homeColumns are what scanHome reads, after what it is given.
const homeColumns = "job.id, job.note, job.thread, job.chain, job.steps, job.step, job.attempt, job.unknown, job.round, job.epoch, job.waits, job.void, job.first_at, job.next_at"

// scanHome reads a job of this machine as the others get it.
func (f *Fleet) scanHome(row scanner, before ...any) (j shared.Job, err error) {
	var (
		thread      []byte
		first, next int64
	)
	err = row.Scan(append(before, &j.ID, &j.Note, &thread, &j.Chain, &j.Steps, &j.Step, &j.Attempt, &j.Unknown, &j.Round, &j.Epoch, &j.Waits, &j.Void, &first, &next)...)
	j.Thread, j.Home = hex.EncodeToString(thread), f.machine
	j.First, j.Next = f.uneven(instant(first)), f.uneven(instant(next))
	return j, err
}

// Learn implements shared.Ledger.
func (l ledger) Learn(ctx context.Context, jobs []shared.Job) error { return l.f.mirror(ctx, jobs) }

const settingPeers = "peers" // the machines that share the work, as JSON

// Peers implements shared.Ledger.
func (l ledger) Peers(ctx context.Context) (machines []string, err error) {
	var text []byte
	err = found(l.f.readers.QueryRowContext(ctx, selectSetting, settingPeers).Scan(&text))
	if errors.Is(err, delivery.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &machines)
	}
	l.f.peers.Store(int32(len(machines)))
	return machines, err
}

// Met implements shared.Ledger.
func (l ledger) Met(ctx context.Context, machines []string) error {
	text, err := json.Marshal(machines)
	if err != nil {
		return err
	}
	l.f.peers.Store(int32(len(machines)))
	_, err = write(ctx, l.f.Store, func(tx *txn) (int64, error) {
		return tx.exec("INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2", settingPeers, text)
	})
	return err
}
