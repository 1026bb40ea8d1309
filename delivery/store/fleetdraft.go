package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// fleetDraft is a draft whose jobs many machines may send.
type fleetDraft struct {
	*draft
	fleet *Fleet
}

// Begin implements delivery.Drafts. Nothing of a draft is shared.
func (f *Fleet) Begin(ctx context.Context, n delivery.Note, bytes int64) (delivery.Draft, error) {
	d, err := f.Store.Begin(ctx, n, bytes)
	if err != nil {
		return nil, err
	}
	return f.of(d), nil
}

// Unfinished implements delivery.Drafts.
func (f *Fleet) Unfinished(ctx context.Context) ([]delivery.Draft, error) {
	drafts, err := f.Store.Unfinished(ctx)
	for i, d := range drafts {
		drafts[i] = f.of(d)
	}
	return drafts, err
}

func (f *Fleet) of(d delivery.Draft) fleetDraft { return fleetDraft{d.(*draft), f} }

// Rendered implements delivery.Draft. The note's jobs are kept as those of all
// machines while Redis can be used. Their first attempts are in the same
// commit, so that one round trip to Redis is all that follows.
func (d fleetDraft) Rendered(ctx context.Context, n delivery.Note, file []byte, chains []delivery.Chain) ([]delivery.Lease, error) {
	f := d.fleet
	defer f.offering.add(n.ID)()
	o := offer{fleet: f, up: f.shared.Up()}
	err := d.render(ctx, n, file, chains, func(tx *txn, n kept, now time.Time) error {
		return o.addJobs(tx, n, chains, now)
	})
	if err != nil {
		return nil, err
	}
	if len(o.what.Jobs) > 0 && o.up {
		o.publish(ctx, file)
	} else {
		f.unseen.add(n.ID)
	}
	return o.leases, nil
}

// offering are the notes that are being published, from before their rows are
// read: what Rendered is at nobody else publishes meanwhile. The zero value is
// ready.
type offering struct{ notes sync.Map }

// add adds notes and returns what takes them out again.
func (o *offering) add(notes ...string) (done func()) {
	for _, note := range notes {
		o.notes.Store(note, nil)
	}
	return func() {
		for _, note := range notes {
			o.notes.Delete(note)
		}
	}
}

func (o *offering) has(note string) bool {
	_, has := o.notes.Load(note)
	return has
}

// offer is a new note on its way to the other machines.
type offer struct {
	fleet  *Fleet
	up     bool // Redis can be used
	what   shared.Publication
	hoped  []delivery.Lease // those that Redis may grant; each one's row says that it did
	leases []delivery.Lease // those that are held
}

// firstEpoch is the epoch of the lease that comes with publishing a job.
const firstEpoch = 1

// addJobs adds the note's jobs. What heads its thread gets its first attempt at
// once: granted by this machine for a job of its own, else in hope.
func (o *offer) addJobs(tx *txn, n kept, chains []delivery.Chain, now time.Time) (err error) {
	o.what = shared.Publication{ID: n.ID, Mailbox: tx.vault.alias(n.Recipient.Number)}
	if o.what.Body, err = tx.parcel(n); err != nil {
		return err
	}
	if o.what.Outlives, err = outlived(tx.row(selectOutlived, o.what.Mailbox, n.ID)); err != nil {
		return err
	}
	for _, c := range chains {
		j, err := tx.prepareJob(n, c)
		if err != nil {
			return err
		}
		var lead bool
		if j.shared, lead, err = tx.mayShare(j, o.up); err != nil {
			return err
		}
		head, err := tx.queue(j, now)
		switch {
		case err != nil:
			return err
		case j.shared:
			if err := o.share(tx, n, j, lead, now); err != nil {
				return err
			}
		case head:
			lease, err := tx.attempt(j.id, now)
			if err != nil {
				return err
			}
			o.leases = append(o.leases, lease)
		}
	}
	return nil
}

// mayShare says whether a new job goes to all machines, and whether it heads
// its thread as far as this machine knows.
func (t *txn) mayShare(j newJob, up bool) (share, lead bool, err error) {
	if j.steps > shared.MaxSteps || bytes.HasPrefix(j.thread, []byte(operatorThread)) {
		return false, false, nil
	}
	var own, others int
	err = t.row(countThread, j.thread).Scan(&own, &others)
	return others > 0 || (up && own == 0), others == 0 && up, err
}

// countThread counts the jobs of a thread: this machine's own, and those of all
// machines.
const countThread = "SELECT count(*) FILTER (WHERE shared = 0), count(*) FILTER (WHERE shared > 0) FROM job WHERE " + ofThread

// share offers a new job to all machines, and writes its first lease when it
// leads its thread.
func (o *offer) share(tx *txn, n kept, own newJob, lead bool, now time.Time) error {
	j := shared.Job{
		ID: own.id, Note: n.ID, Thread: hex.EncodeToString(own.thread), Chain: own.chain, Steps: own.steps,
		Shard: shared.ShardOf(o.what.Mailbox), Pos: len(o.what.Jobs), Home: o.fleet.machine, State: shared.Queued,
	}
	o.what.Jobs = append(o.what.Jobs, j)
	if !lead || !o.up {
		return nil
	}
	j.State, j.Attempt, j.Epoch, j.First = shared.Sending, 1, firstEpoch, now
	l, err := tx.leased(j, n, now)
	o.hoped = append(o.hoped, l)
	return err
}

// publish offers the note to all machines. What Redis refuses for certain goes
// out from here; what it may have taken, or gave to nobody yet, is claimed.
func (o *offer) publish(ctx context.Context, file []byte) {
	f := o.fleet
	if len(file) > 0 {
		o.what.Audio = func(context.Context) ([]byte, error) { return os.ReadFile(f.notePath(o.what.ID)) }
	}
	jobs, err := f.shared.Publish(ctx, o.what, false, true)
	if err != nil {
		certain := !errors.Is(err, shared.ErrUncertain)
		if certain && o.keepHere(ctx) {
			return
		}
		o.forgo(ctx, o.hoped)
		return
	}
	var missed []delivery.Lease
	for _, l := range o.hoped {
		for _, j := range jobs {
			switch {
			case j.ID != l.Job:
			case j.Leased && j.Epoch == firstEpoch:
				o.leases = append(o.leases, l)
			default:
				missed = append(missed, l)
				if j.Leased { // by an epoch that no row has
					f.giveUp(ctx, j)
				}
			}
		}
	}
	f.settling.known(jobs)
	if len(missed) > 0 {
		o.forgo(ctx, missed)
	}
}

// keepHere makes the jobs this machine's own, with the attempts that were
// hoped for.
func (o *offer) keepHere(ctx context.Context) bool {
	defer o.fleet.unseen.add(o.what.ID) // its rows say then that nobody else sends it
	leases, err := write(context.WithoutCancel(ctx), o.fleet.Store, func(tx *txn) (own []delivery.Lease, err error) {
		for _, l := range o.hoped {
			kept, err := tx.keepHere(l)
			if err != nil {
				return nil, err
			}
			if kept {
				l.Epoch = 0
				own = append(own, l)
			}
		}
		return own, nil
	})
	if err != nil {
		o.fleet.log.Error("a note that Redis refused could not be taken back; it waits for Redis", "note_id", o.what.ID, "error", err)
		return false
	}
	o.leases = append(o.leases, leases...)
	return true
}

// keepAlone looks for others as ofThread does.
const keepAlone = `UPDATE job SET shared = 0, head = 1, epoch = 0 WHERE id = ?1 AND NOT EXISTS (
	SELECT 1 FROM job AS other WHERE other.id <> ?1 AND (other.thread = job.thread AND other.head = 1
	OR other.thread = job.thread AND other.head = 0 AND other.state IN ('queued', 'sending')))`

// keepHere makes the job of a lease this machine's own, unless another of its
// thread joined it meanwhile; then the attempt is undone.
func (t *txn) keepHere(l delivery.Lease) (bool, error) {
	changed, err := t.exec(keepAlone, l.Job)
	if err != nil {
		return false, err
	}
	if changed == 0 {
		return false, t.forgo(l)
	}
	_, err = t.exec("DELETE FROM attempt WHERE job = ? AND epoch = ?", l.Job, l.Epoch)
	return true, err
}

// forgo undoes attempts that were not granted. A lease whose answer was lost may
// have come with a claim meanwhile: then its row is that one's.
func (o *offer) forgo(ctx context.Context, leases []delivery.Lease) {
	_, err := write(context.WithoutCancel(ctx), o.fleet.Store, func(tx *txn) (any, error) {
		for _, l := range leases {
			if o.fleet.shared.HandedOut(l.Job, int(l.Epoch)) {
				continue
			}
			if err := tx.forgo(l); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil { // the next start finds them
		o.fleet.log.Error("attempts that were not granted could not be undone", "note_id", o.what.ID, "error", err)
	}
}

// parcel is a note as the other machines get it: its row's key and body.
type parcel struct {
	Key  []byte `json:"key,omitempty"`
	Body []byte `json:"body"`
}

func (t *txn) parcel(n kept) ([]byte, error) {
	body, err := n.box.sealJSON("body", n.Note)
	if err != nil {
		return nil, err
	}
	return json.Marshal(parcel{t.vault.wrap(n.box), body})
}

// unpack opens a parcel.
func (v *vault) unpack(id string, text []byte) (n kept, err error) {
	var p parcel
	if err := json.Unmarshal(text, &p); err != nil {
		return n, fmt.Errorf("note %s of another machine cannot be read: %w", id, err)
	}
	if n.box, err = v.open(id, p.Key); err != nil {
		return n, err
	}
	return n, n.box.openJSON("body", p.Body, &n.Note)
}
