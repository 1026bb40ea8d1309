package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// keySeen goes on with the id of an update that is done with.
const keySeen = "seen/"

// act opens the window of who wrote, sends the note that he asked for, and
// links and unlinks chats. A command goes first: who writes stop is not sent the
// notes that waited for his window.
func (m waIncoming) act(ctx context.Context, w *whatsapp) error {
	users := usersOf(m.From, m.UserID)
	if m.Group != "" || m.Type == "system" || len(users) == 0 { // a system's message is not the user's
		return nil
	}
	if seen, err := w.seen(ctx, m.ID); seen || err != nil {
		return err
	}
	if command := commandOf(m.Text.Body); command != nil {
		if err := command(ctx, w, m.ID, users); err != nil {
			return err
		}
	}
	if err := w.heard(ctx, users, m.At.Time); err != nil {
		return err
	}
	if job := m.asksFor(); job != "" {
		if err := w.report(ctx, delivery.Report{Job: job, What: delivery.WasAsked, At: m.At.Time, Detail: "the recipient tapped the invitation's button"}, users); err != nil {
			return err
		}
	}
	return w.done(ctx, m.ID)
}

// asksFor is the job whose invitation was tapped, "" for none.
func (m waIncoming) asksFor() string {
	for _, payload := range []string{m.Button.Payload, m.Interactive.ButtonReply.ID} {
		if delivery.ValidID(payload) {
			return payload
		}
	}
	return ""
}

// act opens the window of who called.
func (c waCall) act(ctx context.Context, w *whatsapp) error {
	if c.Direction == "BUSINESS_INITIATED" {
		return nil
	}
	return w.heard(ctx, usersOf(c.From, c.UserID), c.At.Time)
}

// levels are the statuses that a note goes through.
var levels = map[string]delivery.What{
	"sent":      delivery.WasAccepted,
	"delivered": delivery.WasDelivered,
	"read":      delivery.WasRead,
	"played":    delivery.WasPlayed, // of voice messages
}

// act keeps what became of a message. Only the note's own statuses say how far
// the note has come: the line above it may be read where the voice message
// failed, and whoever sees the one sees the other.
func (s waStatus) act(ctx context.Context, w *whatsapp) error {
	job, part := s.job()
	level, known := levels[s.Status]
	switch {
	case job == "":
		return nil
	case s.Status == "failed":
		return s.failed(ctx, w, job, part)
	case !known:
		return nil
	case part == "" && level == delivery.WasAccepted: // told late or once more, it says nothing of what failed since
		if failed, err := w.seen(ctx, s.ID+"/failed"); failed || err != nil {
			return err
		}
	}
	if err := w.change(ctx, job, func(p *progress) bool { return s.found(p, part, w.o.Within) }); err != nil || part != "" {
		return err
	}
	return w.report(ctx, delivery.Report{Job: job, What: level, At: s.At.Time}, s.user())
}

// user is whom a message went to, by all his names.
func (s waStatus) user() []string { return usersOf(s.To, s.UserID) }

// job is which job a message was for, and what part of it.
func (s waStatus) job() (job, part string) {
	job, part, found := strings.Cut(s.Callback, ".")
	if found {
		part = "." + part
	}
	if !delivery.ValidID(job) || (part != "" && part != partLine && part != partInvitation) {
		return "", ""
	}
	return job, part
}

// found keeps that a part arrived whose answer was lost: it is not sent again.
func (s waStatus) found(p *progress, part string, within time.Duration) bool {
	if !p.is(s.user()) || p.gaveBack(s.ID) {
		return false
	}
	switch {
	case part == "" && p.Begun && !p.Took:
		p.Took = true
	case part == partLine && p.Line == "":
		p.Line, p.Lost = s.ID, false
	case part == partInvitation && p.Invited.IsZero():
		p.Invited = time.Now().Add(within)
	default:
		return false
	}
	return true
}

// failed is about a message that the service took and could not deliver.
func (s waStatus) failed(ctx context.Context, w *whatsapp, job, part string) error {
	var why waError
	if len(s.Errors) > 0 {
		why = s.Errors[0]
	}
	if why.Code == closedCode {
		if err := w.refused(ctx, s.user(), w.ours(ctx, s.At.Time)); err != nil {
			return err
		}
	}
	if part == partLine { // the voice message has its own
		return nil
	}
	id := s.ID + "/failed"
	if seen, err := w.seen(ctx, id); seen || err != nil {
		return err
	}
	p, err := w.progressOf(ctx, job)
	if err != nil {
		return err
	}
	what := delivery.WasRefused
	switch _, another := p.of(s.user()); {
	case another && part == "": // it may have settled the chain
	case another, p.To == "", part == "" && p.Note != "" && p.Note != s.ID, part == partInvitation && p.Took:
		return w.done(ctx, id) // of long ago, or of what something came after
	default:
		if w.again(why, p) {
			what = delivery.WasBounced
		}
		// Before the report: the attempt that follows from it may begin at once.
		if err := w.change(ctx, job, func(p *progress) bool { return p.gone(part, s.ID) }); err != nil {
			return err
		}
	}
	err = w.report(ctx, delivery.Report{Job: job, What: what, At: s.At.Time, Detail: s.detail(w, why)}, s.user())
	if err == nil && what == delivery.WasBounced {
		err = w.change(ctx, job, func(p *progress) bool {
			p.Returned = true
			return true
		})
	}
	if err != nil {
		return err
	}
	return w.done(ctx, id)
}

// gaveBack says that the service has given a message back.
func (p *progress) gaveBack(id string) bool { return id != "" && id == p.Gone }

// gone keeps that the service has given a part back: nothing waits for it.
func (p *progress) gone(part, id string) (had bool) {
	if p.To == "" { // erased meanwhile
		return false
	}
	had, p.Gone = p.Gone != id, id
	if part == partInvitation {
		had, p.Invited = had || !p.Invited.IsZero(), time.Time{}
		return had
	}
	had, p.Took = had || p.Took, false
	return had
}

// again says that a note which came back is sent once more: by invitation, or
// because what failed may pass. Only a job that waits can be: with ack:
// accepted it counts as delivered, and goes to the next target.
func (w *whatsapp) again(why waError, p progress) bool {
	c, known := why.rule()
	passes := known && c.outcome == delivery.Retry && !c.credentials
	invitable := why.Code == closedCode && w.o.Template != nil
	return w.Ack() != delivery.WasAccepted && !p.Returned && (passes || invitable)
}

func (s waStatus) detail(w *whatsapp, why waError) string {
	text := fmt.Sprintf("the service could not deliver it: error %d", why.Code)
	c, known := why.rule()
	switch {
	case why.Code == closedCode:
		text += ": " + errClosed.Error()
	case known && c.hint != "":
		text += ": " + c.hint
	}
	if said := why.said(); said != "" {
		text += ": " + w.redact.excerpt([]byte(said), delivery.Note{})
	}
	return text
}

// report keeps a report about the target that went to a user. Of one that is to
// have its turn again, what came of its last turn is nothing unless it arrived.
// A job that is not known is not ours, or erased.
func (w *whatsapp) report(ctx context.Context, r delivery.Report, user []string) error {
	p, err := w.progressOf(ctx, r.Job)
	if err != nil {
		return err
	}
	t, another := p.of(user)
	if another && t.Address == nil && !r.What.Includes(delivery.WasDelivered) {
		return nil
	}
	r.Address = t.Address
	if err := w.env.Report(ctx, r); err != nil && !errors.Is(err, delivery.ErrNotFound) {
		return err
	}
	return nil
}

func (w *whatsapp) seen(ctx context.Context, id string) (bool, error) {
	known, err := w.env.recall(ctx, keySeen+id)
	return known != "", err
}

func (w *whatsapp) done(ctx context.Context, id string) error {
	return w.env.Memory.Put(ctx, seenEntry(id))
}

func seenEntry(id string) delivery.Entry {
	return delivery.Entry{Key: keySeen + id, Value: []byte("done"), For: jobLife}
}
