package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// attempt is an attempt at a shared job as its row keeps it.
type attempt struct {
	shared.Job        // as it was leased
	Key        []byte // the note's, wrapped
	Outcome    string // delivery.Outcome, or returned; "" while it is under way
	NextAt     time.Time
	Receipt    string // as vault.index has it
	Arrived    bool   // of a delivery: as far as the service tells
	Then       int    // of waiting: shared.Job.Waits
	Event      []byte // eventBody, sealed
}

// returned is the outcome of a lease that was given back unused.
const returned = "returned"

// leased writes down a lease of a shared job before it is handed out: its
// attempt, and where this machine is the job's home, how the job stands.
func (t *txn) leased(j shared.Job, n kept, now time.Time) (l delivery.Lease, err error) {
	if l, err = n.lease(j); err != nil {
		return l, err
	}
	body, err := json.Marshal(j)
	if err != nil {
		return l, err
	}
	_, err = t.exec(`INSERT INTO attempt (job, epoch, note, mailbox, home, key, body, began_at, round) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (job, epoch) DO UPDATE SET began_at = excluded.began_at, outcome = '', settled = 0`,
		j.ID, j.Epoch, j.Note, t.vault.alias(n.Recipient.Number), j.Home, t.vault.wrap(n.box), body, micros(now), j.Round)
	if err != nil {
		return l, err
	}
	changed, err := t.exec(`UPDATE job SET state = 'sending', step = ?, attempt = ?, unknown = unknown | ?, round = ?, epoch = ?, first_at = ?, waits = ?
		WHERE id = ? AND shared > 0 AND state <> 'delivered'`, j.Step, j.Attempt, j.Unknown, j.Round, j.Epoch, micros(j.First), j.Waits, j.ID)
	if err != nil || changed == 0 || l.Waited { // nothing is sent then
		return l, err
	}
	return l, t.eventOf(n.box, j.Epoch, delivery.Event{
		Job: j.ID, Name: string(delivery.JobSending), Target: l.Target().String(), Detail: fmt.Sprintf("attempt %d", j.Attempt),
	})
}

// lease is the lease of a shared job of the note.
func (n kept) lease(j shared.Job) (delivery.Lease, error) {
	l := delivery.Lease{
		Job: j.ID, Note: n.Note, Step: j.Step, Attempt: j.Attempt, Round: j.Round, Unknown: j.Unknown>>j.Step&1 == 1, First: j.First, Epoch: int64(j.Epoch),
		Waited: j.Waiting(),
	}
	if err := n.box.openJSON("chain", bytes.Clone(j.Chain), &l.Chain); err != nil { // it stays sealed where it goes
		return l, err
	}
	if l.Step >= len(l.Chain) {
		return l, fmt.Errorf("job %s stands at target %d of %d", j.ID, l.Step+1, len(l.Chain))
	}
	return l, nil
}

// eventOf adds a line that is about a lease.
func (t *txn) eventOf(b *box, epoch int, e delivery.Event) error {
	body, err := b.sealJSON("event", eventBody{e.Target, e.Detail})
	if err != nil {
		return err
	}
	return t.addEvent(b.owner, e.Job, e.Name, body, epoch)
}

// forgo undoes a lease that nobody used: the attempt, and at its job's home
// what leased wrote.
func (t *txn) forgo(l delivery.Lease) error {
	if _, err := t.exec("DELETE FROM attempt WHERE job = ? AND epoch = ?", l.Job, l.Epoch); err != nil {
		return err
	}
	return t.unsend(l)
}

// unsend has the job of a lease wait again, where this machine is its home.
func (t *txn) unsend(l delivery.Lease) error {
	_, err := t.exec("UPDATE job SET state = 'queued', attempt = attempt - 1 + (waits & 1) WHERE id = ? AND state = 'sending' AND epoch = ?", l.Job, l.Epoch)
	if err != nil {
		return err
	}
	_, err = t.exec(unsent, l.Job, l.Epoch)
	return err
}

// unsent drops the line of an attempt at a shared job that was not made.
const unsent = "DELETE FROM event WHERE job = ? AND epoch = ? AND epoch > 0 AND name = 'sending'"

// underWay reads the attempt of a lease; delivery.ErrFenced when it has an
// outcome already.
func (t *txn) underWay(l delivery.Lease) (attempt, error) {
	a, err := scanAttempt(t.row("SELECT "+attemptColumns+" FROM attempt WHERE job = ? AND epoch = ? AND outcome = ''", l.Job, l.Epoch))
	if errors.Is(err, delivery.ErrNotFound) {
		err = delivery.ErrFenced
	}
	return a, err
}

// conclude keeps the outcome of an attempt.
func (t *txn) conclude(a attempt, now time.Time) error {
	_, err := t.exec("UPDATE attempt SET outcome = ?, ended_at = ?, next_at = ?, receipt = ?, arrived = ?, waits = ?, event = ? WHERE job = ? AND epoch = ?",
		a.Outcome, micros(now), micros(a.NextAt), a.Receipt, a.Arrived, a.Then, append([]byte{}, a.Event...), a.ID, a.Epoch)
	return err
}

// doubted keeps of an attempt what the words of that name keep of a job's row.
func (t *txn) doubted(a *attempt) error {
	a.Unknown |= 1 << a.Step
	body, err := json.Marshal(a.Job)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE attempt SET body = ? WHERE job = ? AND epoch = ?", body, a.ID, a.Epoch)
	return err
}

// delivered says whether this machine knows that a job was delivered, in a round
// that counts.
func (t *txn) delivered(j shared.Job) (is bool, err error) {
	err = t.row(`SELECT EXISTS (SELECT 1 FROM job WHERE id = ?1 AND state = 'delivered')
		OR EXISTS (SELECT 1 FROM attempt WHERE job = ?1 AND outcome = 'done' AND round >= ?2)
		OR EXISTS (SELECT 1 FROM report WHERE job = ?1 AND settles = 1)
		OR EXISTS (SELECT 1 FROM relay WHERE job = ?1 AND settles = 1 AND told = 0)`, j.ID, j.Void).Scan(&is)
	return is, err
}

// scanAttempt reads attemptColumns.
func scanAttempt(row scanner) (a attempt, err error) {
	var (
		body []byte
		next int64
	)
	if err := row.Scan(&body, &a.Key, &a.Outcome, &next, &a.Receipt, &a.Arrived, &a.Then, &a.Event); err != nil {
		return a, found(err)
	}
	a.NextAt = instant(next)
	if len(a.Event) == 0 { // without a line, as its home hears it
		a.Event = nil
	}
	return a, json.Unmarshal(body, &a.Job)
}

const attemptColumns = "body, key, outcome, next_at, receipt, arrived, waits, event"

// unsettled returns up to limit attempts whose outcomes Redis is yet to hear.
func (f *Fleet) unsettled(ctx context.Context, limit int) ([]attempt, error) {
	rows, err := f.readers.QueryContext(ctx,
		"SELECT "+attemptColumns+" FROM attempt WHERE settled = 0 AND outcome <> '' ORDER BY began_at LIMIT ?", limit)
	return collect(rows, err, scanAttempt)
}

// allSettled says that Redis knows what became of every attempt of this machine,
// and what chat services told it.
func (f *Fleet) allSettled(ctx context.Context) (all bool, err error) {
	err = f.readers.QueryRowContext(ctx, "SELECT NOT EXISTS (SELECT 1 FROM attempt WHERE settled = 0) AND NOT EXISTS (SELECT 1 FROM relay WHERE told = 0)").Scan(&all)
	return all, err
}

// doubtAttempts ends the attempts that an earlier process left: whether they
// arrived is unknown.
func (f *Fleet) doubtAttempts(ctx context.Context) error {
	left, err := write(ctx, f.Store, func(tx *txn) (int, error) {
		rows, err := tx.query("SELECT " + attemptColumns + " FROM attempt WHERE settled = 0 AND outcome = ''")
		left, err := collect(rows, err, scanAttempt)
		if err != nil {
			return 0, err
		}
		for _, a := range left {
			if err := tx.doubtAttempt(a, f.Now()); err != nil {
				return 0, err
			}
		}
		return len(left), nil
	})
	if left > 0 {
		f.log.Info("an earlier process left attempts at shared jobs unfinished", "attempts", left)
	}
	return err
}

func (t *txn) doubtAttempt(a attempt, now time.Time) error {
	if a.Waiting() { // nothing was sent
		a.Outcome = returned
		if err := t.conclude(a, now); err != nil {
			return err
		}
		return t.unsend(delivery.Lease{Job: a.ID, Epoch: int64(a.Epoch)})
	}
	event, err := t.doubtLine(a)
	if unopened(err) { // its home writes a line of its own
		t.unreadable(a.Note, err)
		event, err = []byte{}, nil
	}
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE attempt SET outcome = ?, ended_at = ?2, next_at = ?2, event = ?3 WHERE job = ?4 AND epoch = ?5",
		delivery.Unknown, micros(now), event, a.ID, a.Epoch)
	if err != nil {
		return err
	}
	changed, err := t.exec("UPDATE job SET state = 'queued', unknown = unknown | (1 << step), next_at = ? WHERE id = ? AND state = 'sending' AND epoch = ?",
		micros(now), a.ID, a.Epoch)
	if err != nil || changed == 0 {
		return err
	}
	if _, err := t.catchUp(a.ID, a.Step, now); err != nil && !unopened(err) {
		return err
	}
	if len(event) == 0 {
		return nil
	}
	return t.addEvent(a.Note, a.ID, string(delivery.Unknown), event, a.Epoch)
}

// doubtLine is the line of a note's life about an attempt that an earlier
// process left, sealed.
func (t *txn) doubtLine(a attempt) ([]byte, error) {
	b, err := t.vault.open(a.Note, a.Key)
	if err != nil {
		return nil, err
	}
	var chain delivery.Chain
	if err := b.openJSON("chain", bytes.Clone(a.Chain), &chain); err != nil {
		return nil, err
	}
	return b.sealJSON("event", eventBody{chain[a.Step].String(), "the gateway ended during the attempt"})
}
