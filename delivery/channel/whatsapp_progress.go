package channel

import (
	"context"
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

// progress is how far a job has come with one recipient: no attempt repeats
// what arrived.
type progress struct {
	To       string    `json:"to"`      // whom all this is about
	Mailbox  string    `json:"mailbox"` // whose note it is
	Of       string    `json:"of"`      // the note's id
	Line     string    `json:"line,omitempty"`
	Lost     bool      `json:"lost,omitempty"`     // the line's answer was lost, and its status has not come
	Marked   bool      `json:"marked,omitempty"`   // the line says that the note may be there already
	Begun    bool      `json:"begun,omitempty"`    // the note itself may have been sent
	Note     string    `json:"note,omitempty"`     // the message that the service took last: a failure of another is old
	Took     bool      `json:"took,omitempty"`     // the service has the note, as its answer or a status said, and has not given it back
	Invited  time.Time `json:"invited,omitzero"`   // how long the invitation is waited for
	Returned bool      `json:"returned,omitempty"` // the service took it once and could not deliver it: it had its second chance
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
		change(p)
		a.done = *p
		return true
	})
}

// accepted keeps what the service said when it took a message. The message is
// there: what cannot be kept now must not send it again.
func (a *waAttempt) accepted(ctx context.Context, change func(*progress), user string) {
	err := a.keep(ctx, change)
	if user != "" && user != a.known && err == nil {
		// In some countries the number in use is not the one that was given.
		a.known = user
		err = a.env.keepJSON(ctx, delivery.Entry{Key: keyUser + a.user, For: jobLife, Mailbox: a.p.Note.Recipient.Number, Note: a.p.Note.ID}, user)
	}
	if err != nil {
		a.env.Log.Warn("what the service took is not remembered", "note_id", a.p.Note.ID, "job_id", a.p.Key, "error", err)
	}
}
