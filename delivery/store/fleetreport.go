package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
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
	row     string  // the channel in its row: each target has a row of its own
	address *string // as in delivery.Report; not in its row, but in the body
	mailbox string  // the note's, as alias; "" while it is not known
	said    shared.Said
	at      time.Time
}

// relayed is a report as the note's home hears it.
type relayed struct {
	Channel string        `json:"channel"`
	Address *string       `json:"address,omitempty"` // nil from an older machine, too
	What    delivery.What `json:"what,omitempty"`    // "" from an older machine: as the message is named
	At      time.Time     `json:"at"`
	Detail  string        `json:"detail"`
	Settles bool          `json:"settles"`
	Arrived bool          `json:"arrived"`
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
	f.countAnew(h)
	if tells {
		err = f.tellReport(ctx, rel)
	}
	return h.Upshot, err
}

// relayOf is a report as this machine keeps it.
func (f *Fleet) relayOf(r heardOf) (rel relay, err error) {
	rel = relay{
		job: shared.Job{ID: r.Job, Shard: unknownShard, Round: presentRound}, channel: r.channel, address: r.Address, at: f.Now(),
		said: shared.Said{What: string(r.What), Step: -1, Settles: r.Settles, Arrived: r.Arrived},
	}
	if rel.row = r.channel; r.Address != nil {
		rel.row += fmt.Sprintf(":%x", f.vault.index("target", *r.Address))
	}
	rel.said.Event, err = f.common.sealJSON("report", relayed{r.channel, r.Address, r.What, r.At, r.Detail, r.Settles, r.Arrived})
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
	if rel.said.Step = stepOf(l.Chain, rel.channel, rel.address, j.Step); rel.said.Step < 0 {
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
		if homes, err := f.shared.Homes(ctx); err == nil && homes == 1 && f.peers.Load() <= 1 { // this one
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
	var r relayed
	if err := f.common.openJSON("report", bytes.Clone(rel.said.Event), &r); err == nil { // else the job's home cannot read it either
		rel.address = r.Address
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
		j.ID, rel.row, rel.said.What, j.Note, rel.mailbox, j.Home, j.Shard, rel.said.Step, j.Round, rel.said.Settles, rel.said.Arrived,
		rel.said.Event, micros(rel.at))
	return err
}

const relayColumns = "job, channel, what, note, mailbox, home, shard, step, round, settles, arrived, body, heard_at"

// scanRelay reads relayColumns.
func scanRelay(row scanner) (rel relay, err error) {
	var at int64
	j, said := &rel.job, &rel.said
	err = row.Scan(&j.ID, &rel.row, &said.What, &j.Note, &rel.mailbox, &j.Home, &j.Shard, &said.Step, &j.Round, &said.Settles, &said.Arrived,
		&said.Event, &at)
	rel.at = instant(at)
	rel.channel, _, _ = strings.Cut(rel.row, ":")
	return rel, found(err)
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
		delivery.Report{Job: j.ID, Address: r.Address, What: cmp.Or(r.What, delivery.What(m.Name)), At: r.At, Detail: r.Detail},
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
	step := stepOf(s.chain, r.Channel, r.Address, s.step)
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
	rel.said.Step = stepOf(j.chain, rel.channel, rel.address, j.step)
}
