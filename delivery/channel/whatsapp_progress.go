package channel

import (
	"context"
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// A note is more than one message. Their callback data is the job's id, and for
// those that are not the note itself one of these behind it.
const (
	partLine       = ".t" // the line of text before a voice message
	partInvitation = ".i" // the template outside the window
)

// Where the channel remembers: the key goes on with the job, the note's id, the
// address.
const (
	keyJob  = "job/"
	keyFile = "file/"
	keyUser = "user/"
)

// jobLife is how long a job is remembered: as long as it lives, and as long as
// the service repeats its callbacks.
const jobLife = 8 * 24 * time.Hour

// waTarget is a target of a job's chain.
type waTarget struct {
	To      string  `json:"to"`                // where it goes
	Known   string  `json:"known,omitempty"`   // the same user as the service names him
	Address *string `json:"address,omitempty"` // the target's; nil when it has not had its turn yet, or that was with an older version
}

// is says that one of a user's names is the target's.
func (t waTarget) is(user []string) bool {
	return slices.Contains(user, t.To) || slices.Contains(user, t.Known)
}

// progress is how far a job has come with one recipient: no attempt repeats
// what arrived.
type progress struct {
	waTarget
	Others   []waTarget `json:"others,omitempty"` // that had their turn before, or will again when the job is driven again
	Mailbox  string     `json:"mailbox"`          // whose note it is
	Of       string     `json:"of"`               // the note's id
	Line     string     `json:"line,omitempty"`
	Lost     bool       `json:"lost,omitempty"`     // the line's answer was lost, and its status has not come
	Marked   bool       `json:"marked,omitempty"`   // the line says that the note may be there already
	Begun    bool       `json:"begun,omitempty"`    // the note itself may have been sent
	Note     string     `json:"note,omitempty"`     // the message that the service took last: a failure of another is old
	Took     bool       `json:"took,omitempty"`     // the service has the note, as its answer or a status said, and has not given it back
	Gone     string     `json:"gone,omitempty"`     // the message that the service gave back last: no late word of it counts
	Round    int        `json:"round,omitempty"`    // how often it was driven again when the note was sent last
	Invited  time.Time  `json:"invited,omitzero"`   // how long the invitation is waited for
	Returned bool       `json:"returned,omitempty"` // the service took it once and could not deliver it: it had its second chance
}

// of is the target that goes to a user, and whether it is another than the one
// that has its turn; zero where it is not known.
func (p progress) of(user []string) (t waTarget, another bool) {
	if p.is(user) {
		return p.waTarget, false
	}
	if i := slices.IndexFunc(p.Others, func(o waTarget) bool { return o.is(user) }); i >= 0 {
		return p.Others[i], true
	}
	return waTarget{}, false
}

// others are a job's other targets when one to a user has its turn. If that had
// its turn before, the job was driven again: then so did some that come later,
// and all are to come.
func (p progress) others(user string) []waTarget {
	all := append(slices.Clone(p.Others), p.waTarget)
	again := slices.ContainsFunc(all, func(t waTarget) bool { return t.To == user && t.Address != nil })
	all = slices.DeleteFunc(all, func(t waTarget) bool { return t.To == user || t.To == "" })
	for i := range all {
		if again {
			all[i].Address = nil
		}
	}
	return all
}

func (w *whatsapp) progressOf(ctx context.Context, job string) (p progress, err error) {
	_, err = w.env.recallJSON(ctx, keyJob+job, &p)
	return p, err
}

// change changes what is remembered of a job; change says whether to.
func (w *whatsapp) change(ctx context.Context, job string, change func(*progress) bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, err := w.progressOf(ctx, job)
	if err != nil || !change(&p) {
		return err
	}
	return w.env.keepJSON(ctx, delivery.Entry{Key: keyJob + job, For: jobLife, Mailbox: p.Mailbox, Note: p.Of}, p)
}

// keep changes what is remembered of the attempt's job, before it is acted on.
func (a *waAttempt) keep(ctx context.Context, change func(*progress)) error {
	return a.change(ctx, a.p.Key, func(p *progress) bool {
		if p.To != a.user {
			*p = a.done
		}
		p.waTarget = waTarget{a.user, a.known, &a.p.Address}
		change(p)
		a.done = *p
		return true
	})
}

// accepted keeps what the service said when it took a message. The message is
// there: what cannot be kept now must not send it again.
func (a *waAttempt) accepted(ctx context.Context, change func(*progress), user string) {
	// In some countries the number in use is not the one that was given.
	other := user != "" && user != a.known
	if other {
		a.known = user
	}
	err := a.keep(ctx, change)
	if other && err == nil {
		err = a.env.keepJSON(ctx, delivery.Entry{Key: keyUser + a.user, For: jobLife, Mailbox: a.p.Note.Recipient.Number, Note: a.p.Note.ID}, user)
	}
	if err != nil {
		a.env.Log.Warn("what the service took is not remembered", "note_id", a.p.Note.ID, "job_id", a.p.Key, "error", err)
	}
}
