package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// A report comes in on any machine: the one that its service calls. That one
// keeps it (relay) until Redis has it, which moves the job and lets its home
// know; the home keeps it for good (report), and takes back what was delivered
// and is refused after all.

// relay is a report as the machine that got it keeps it.
type relay struct {
	job     shared.Job // ID; what is known of Note, Home and Shard; Round, once Redis has it
	channel string
	mailbox string // the note's, as alias; "" while it is not known
	said    shared.Said
	at      time.Time
}

// relayed is a report as the note's home hears it.
type relayed struct {
	Channel string    `json:"channel"`
	At      time.Time `json:"at"`
	Detail  string    `json:"detail"`
	Settles bool      `json:"settles"`
	Arrived bool      `json:"arrived"`
}

const (
	unknownShard = -1 // of a job which is to be looked for
	presentRound = -1 // of the job: that in which Redis hears of it
)

// Report implements delivery.Reports, for the jobs of all machines. The report
// is on this machine's disk when Redis hears of it; that Redis does not answer
// is no error.
func (f *Fleet) Report(ctx context.Context, channel string, r delivery.Report, m delivery.Meaning) (delivery.Upshot, error) {
	rel, err := f.relayOf(heardOf{channel, r, m})
	if err != nil {
		return delivery.Upshot{}, err
	}
	var h heard
	tells := true
	known, err := write(ctx, f.Store, func(tx *txn) (known bool, err error) {
		if h, tells, err = f.reportHere(tx, &rel, heardOf{channel, r, m}); err != nil {
			return false, err
		}
		if known = h.Note.ID != ""; !known {
			known, err = tx.attempted(&rel)
		}
		if err == nil && known && tells {
			err = tx.keepRelay(rel)
		}
		return known, err
	})
	if err == nil && !known {
		err = f.keepForeign(ctx, &rel)
	}
	if err != nil {
		return delivery.Upshot{}, fmt.Errorf("keep a report about job %s: %w", r.Job, err)
	}
	f.spread(h)
	if tells {
		err = f.tellReport(ctx, rel)
	}
	return h.Upshot, err
}

// relayOf is a report as this machine keeps it.
func (f *Fleet) relayOf(r heardOf) (rel relay, err error) {
	rel = relay{
		job: shared.Job{ID: r.Job, Shard: unknownShard, Round: presentRound}, channel: r.channel, at: f.Now(),
		said: shared.Said{What: string(r.What), Step: -1, Settles: r.Settles, Arrived: r.Arrived},
	}
	rel.said.Event, err = f.common.sealJSON("report", relayed{r.channel, r.At, r.Detail, r.Settles, r.Arrived})
	return rel, err
}

// reportHere keeps a report about a job of this machine's own; tells says that
// Redis is to hear of it. Without a note in the answer the job is none of them.
func (f *Fleet) reportHere(tx *txn, rel *relay, r heardOf) (h heard, tells bool, err error) {
	j, err := tx.standing(r.Job)
	if errors.Is(err, delivery.ErrNotFound) {
		return h, true, nil
	}
	if err != nil {
		return h, false, err
	}
	f.relayHome(rel, j)
	h, err = tx.report(r, f.Now())
	return h, j.shared, err
}

// attempted completes a report about a job that this machine made an attempt
// at; false when it did not.
func (t *txn) attempted(rel *relay) (bool, error) {
	a, err := scanAttempt(t.row("SELECT "+attemptColumns+" FROM attempt WHERE job = ? ORDER BY epoch DESC LIMIT 1", rel.job.ID))
	if errors.Is(err, delivery.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := t.row("SELECT mailbox FROM attempt WHERE job = ? AND epoch = ?", a.ID, a.Epoch).Scan(&rel.mailbox); err != nil {
		return false, err
	}
	b, err := t.vault.open(a.Note, a.Key)
	if err != nil {
		return false, err
	}
	return true, rel.about(b, a.Job)
}

// about completes a report with the job that it is about.
func (rel *relay) about(b *box, j shared.Job) error {
	l, err := kept{box: b}.lease(j)
	if err != nil {
		return err
	}
	rel.job = shared.Job{ID: j.ID, Note: j.Note, Home: j.Home, Shard: j.Shard, Round: presentRound}
	if rel.said.Step = stepOf(l.Chain, rel.channel, j.Step); rel.said.Step < 0 {
		return delivery.ErrNotFound
	}
	return nil
}

// errNowhere is about a job that neither Redis nor this machine knows: its home
// may have sent it without Redis.
var errNowhere = errors.New("no machine that can be asked knows the job")

// notNow says that Redis is to be asked again.
func notNow(err error) bool {
	return errors.Is(err, shared.ErrAway) || errors.Is(err, shared.ErrUncertain) || errors.Is(err, shared.ErrGate)
}

// keepForeign keeps a report about a job that this machine has nothing of.
func (f *Fleet) keepForeign(ctx context.Context, rel *relay) error {
	err := f.find(ctx, rel)
	if errors.Is(err, errNowhere) {
		if homes, err := f.shared.Homes(ctx); err == nil && homes == 1 { // this one
			return delivery.ErrNotFound
		}
	}
	if err != nil && !errors.Is(err, errNowhere) && !notNow(err) {
		return err
	}
	_, err = write(ctx, f.Store, func(tx *txn) (any, error) { return nil, tx.keepRelay(*rel) })
	return err
}

// find asks Redis for the job of a report. errNowhere when it has none,
// delivery.ErrNotFound when that was erased.
func (f *Fleet) find(ctx context.Context, rel *relay) error {
	j, err := f.shared.Find(ctx, rel.job.ID)
	if errors.Is(err, shared.ErrNotFound) {
		if !f.shared.Ready() {
			return shared.ErrGate // it may have been forgotten
		}
		return errNowhere
	}
	if err != nil {
		return err
	}
	if j.State == shared.Erased {
		return delivery.ErrNotFound
	}
	rel.job = shared.Job{ID: j.ID, Note: j.Note, Home: j.Home, Shard: j.Shard, Round: presentRound}
	n, err := f.shared.Note(ctx, j.Note)
	switch {
	case errors.Is(err, shared.ErrNotFound): // its home knows more
		return nil
	case err != nil:
		return err
	}
	rel.mailbox = n.Mailbox
	opened, err := f.vault.unpack(n.ID, n.Body)
	if err != nil {
		f.cannotRead(n.ID, err)
		return nil
	}
	if len(j.Chain) == 0 { // a tombstone
		return nil
	}
	return rel.about(opened.box, j)
}

// keepRelay writes a report down, for Redis to hear.
func (t *txn) keepRelay(rel relay) error {
	j := rel.job
	_, err := t.exec(`INSERT INTO relay (job, channel, what, note, mailbox, home, shard, step, round, settles, arrived, body, heard_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (job, channel, what) DO UPDATE SET note = excluded.note, mailbox = excluded.mailbox, home = excluded.home, shard = excluded.shard,
			step = excluded.step, round = excluded.round, settles = excluded.settles, arrived = excluded.arrived, body = excluded.body, told = 0`,
		j.ID, rel.channel, rel.said.What, j.Note, rel.mailbox, j.Home, j.Shard, rel.said.Step, j.Round, rel.said.Settles, rel.said.Arrived,
		rel.said.Event, micros(rel.at))
	return err
}

const relayColumns = "job, channel, what, note, mailbox, home, shard, step, round, settles, arrived, body, heard_at"

// scanRelay reads relayColumns.
func scanRelay(row scanner) (rel relay, err error) {
	var at int64
	j, said := &rel.job, &rel.said
	err = row.Scan(&j.ID, &rel.channel, &said.What, &j.Note, &rel.mailbox, &j.Home, &j.Shard, &said.Step, &j.Round, &said.Settles, &said.Arrived,
		&said.Event, &at)
	rel.at = instant(at)
	return rel, found(err)
}

// tellReports tells Redis the reports that it has not heard.
func (f *Fleet) tellReports(ctx context.Context) error {
	if !f.shared.Up() {
		return nil
	}
	rows, err := f.readers.QueryContext(ctx, "SELECT "+relayColumns+" FROM relay WHERE told = 0 ORDER BY heard_at LIMIT ?", settleBatch)
	left, err := collect(rows, err, scanRelay)
	if err != nil {
		return err
	}
	return each(left, func(rel relay) error { return f.tellReport(ctx, rel) })
}

// tellReport tells Redis a report, and brings the job's row to how it stands
// then where this machine is its home. That Redis cannot hear it now is no
// error: settle tells it again. What Redis does not know is for every machine to
// hear.
func (f *Fleet) tellReport(ctx context.Context, rel relay) error {
	var err error
	if rel.job.Shard == unknownShard {
		if err = f.find(ctx, &rel); errors.Is(err, errNowhere) {
			if err = f.shared.Proclaim(ctx, rel.job.ID, rel.said); err == nil {
				err = delivery.ErrNotFound
			}
		}
		if err == nil {
			_, err = write(ctx, f.Store, func(tx *txn) (any, error) { return nil, tx.keepRelay(rel) })
		}
	}
	var stands shared.Job
	if err == nil {
		stands, err = f.shared.Report(ctx, rel.job, rel.said)
	}
	gone := errors.Is(err, shared.ErrNotFound) || errors.Is(err, delivery.ErrNotFound)
	switch {
	case notNow(err):
		return nil
	case err != nil && !gone:
		return err
	}
	if what := rel.said.What; err == nil && rel.mailbox != "" && (what == string(delivery.MarkRead) || what == string(delivery.MarkPlayed)) {
		_, err := f.shared.Mark(ctx, rel.mailbox, rel.job.Note, what)
		if err != nil && !errors.Is(err, shared.ErrNotFound) {
			return nil // settle tells it again
		}
	}
	_, err = write(ctx, f.Store, func(tx *txn) (any, error) { return nil, f.toldReport(tx, rel, stands) })
	return err
}

// toldReport keeps that Redis has a report, and how the job stands there: zero
// when it has none.
func (f *Fleet) toldReport(tx *txn, rel relay, j shared.Job) error {
	_, err := tx.exec("UPDATE relay SET told = 1, round = ? WHERE job = ? AND channel = ? AND what = ?", j.Round, rel.job.ID, rel.channel, rel.said.What)
	if err != nil || rel.job.Home != f.machine {
		return err
	}
	j.ID, j.First, j.Next = rel.job.ID, f.even(j.First), f.even(j.Next)
	return f.standsReported(tx, j, delivery.What(rel.said.What), rel.said.Step)
}

// standsReported brings the row of a job to where Redis says that a report has
// taken it. Of a lease whoever has it tells more, but not of one that ended in a
// delivery which is refused.
func (f *Fleet) standsReported(tx *txn, j shared.Job, what delivery.What, step int) error {
	if j.State == shared.Delivered { // which this machine may not have heard
		if err := f.stands(tx, j, certain, ""); err != nil {
			return err
		}
	}
	back, err := tx.tookBack(j.ID, what, step)
	switch {
	case err != nil:
		return err
	case back && (j.State == "" || j.State == shared.Delivered):
		return f.takeBackDelivery(tx, j.ID)
	case back:
		return f.stands(tx, j, overrules, "")
	case j.State == shared.Queued || j.State == shared.Dead:
		return f.stands(tx, j, certain, "")
	}
	return nil
}

// tookBack says that a job stands as delivered by a target whose service has
// refused it since.
func (t *txn) tookBack(job string, what delivery.What, step int) (bool, error) {
	if what != delivery.WasRefused {
		return false, nil
	}
	j, err := t.standing(job)
	if err != nil {
		return false, err
	}
	v, err := t.verdict(job, step)
	return j.shared && j.state == delivery.JobDelivered && j.step == step && v.refused && !v.arrived && v.settled < 0, err
}

// takeBackDelivery has a job of this machine go on to its next target, or end as
// dead, whose delivery was refused after all. Redis has it as delivered: a round
// more, and that no earlier one counts, say that this has changed.
func (f *Fleet) takeBackDelivery(tx *txn, job string) error {
	j, err := tx.standing(job)
	if err != nil {
		return err
	}
	if _, err := tx.exec("UPDATE job SET round = round + 1, void = round + 1, shared = 1 WHERE id = ?", job); err != nil {
		return err
	}
	var h heard
	if err := tx.moveOn(j, f.Now(), &h); err != nil {
		return err
	}
	f.wakeUp()
	return nil
}

// hearReport takes in a report that another machine got about a job of this
// one.
func (f *Fleet) hearReport(tx *txn, j shared.Job, m shared.Message) (h heard, err error) {
	var r relayed
	if err := f.common.openJSON("report", m.Event, &r); err != nil {
		f.cannotRead(m.Note, err)
		return h, nil
	}
	told := heardOf{
		r.Channel,
		delivery.Report{Job: j.ID, What: delivery.What(m.Name), At: r.At, Detail: r.Detail},
		delivery.Meaning{Settles: r.Settles, Arrived: r.Arrived},
	}
	if h, err = tx.report(told, f.Now()); err != nil {
		return h, err
	}
	s, err := tx.standing(j.ID)
	if err != nil {
		return h, err
	}
	if m.Note == "" { // proclaimed
		if s.shared {
			err = f.askAgain(tx, s, told)
		}
		return h, err
	}
	step := stepOf(s.chain, r.Channel, s.step)
	back, err := tx.tookBack(j.ID, told.What, step)
	if err != nil {
		return h, err
	}
	if back && j.State != "" && j.State != shared.Delivered { // it may have gone on since
		return h, f.askAgain(tx, s, told)
	}
	return h, f.standsReported(tx, j, told.What, step)
}

// askAgain has Redis told what it knows of a job of this machine, for how the
// job stands now.
func (f *Fleet) askAgain(tx *txn, j standing, r heardOf) error {
	rel, err := f.relayOf(r)
	if err != nil {
		return err
	}
	f.relayHome(&rel, j)
	return tx.keepRelay(rel)
}

// relayHome completes a report about a job of this machine's own.
func (f *Fleet) relayHome(rel *relay, j standing) {
	rel.mailbox = f.vault.alias(j.Recipient.Number)
	rel.job.Note, rel.job.Home, rel.job.Shard = j.ID, f.machine, shared.ShardOf(rel.mailbox)
	rel.said.Step = stepOf(j.chain, rel.channel, j.step)
}

// takeBack keeps that a delivery of this machine did not count: its service
// refused the note after all.
func (f *Fleet) takeBack(ctx context.Context, a attempt) error {
	_, err := write(ctx, f.Store, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE attempt SET outcome = ?, settled = 1 WHERE job = ? AND epoch = ?", delivery.Dead, a.ID, a.Epoch)
	})
	return err
}

// reports tells what chat services told this machine, in the last ten days. Who
// asked for a note has it by now, or its home says that it is due.
func (l ledger) reports(ctx context.Context, in shared.Shards, say func(shared.Fact) error) error {
	var job, channel, what string
	for {
		rows, err := l.f.readers.QueryContext(ctx, "SELECT "+relayColumns+` FROM relay
			WHERE (job, channel, what) > (?, ?, ?) AND what <> 'asked' ORDER BY job, channel, what LIMIT ?`, job, channel, what, settleBatch)
		page, err := collect(rows, err, scanRelay)
		if err != nil {
			return err
		}
		for _, rel := range page {
			job, channel, what = rel.job.ID, rel.channel, rel.said.What
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
