package channel

import (
	"context"
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// A recipient can be sent anything for 24 hours after each of his messages and
// calls (Meta, "Customer service windows"); outside only templates.
const (
	windowLife = 24 * time.Hour
	// closedLife is how long a window that was refused or ran out counts as
	// closed. Then nothing is known: a callback may have been lost.
	closedLife = time.Hour
)

// windowState is where a recipient's window stands.
type windowState string

const (
	windowUnknown windowState = "unknown" // nothing was heard of him
	windowOpen    windowState = "open"    // he wrote or called within 24 hours
	windowClosed  windowState = "closed"  // the time ran out, or the service said so
	windowInvited windowState = "invited" // closed, and an invitation is out
)

// window is what is known of a recipient's window. The parts are kept apart, so
// that no machine's news undoes another's.
type window struct {
	heard   heard     // zero when he was not
	refused time.Time // when the note was begun that the service last refused
	invited []string  // jobs whose invitation is out, oldest first
}

// heard is a recipient's last message or call.
type heard struct {
	At    time.Time `json:"at"`    // when it became known, by our clock: what refusals are held against
	Until time.Time `json:"until"` // 24 hours after it
}

// state is where the window stands. What was refused before the recipient was
// heard says nothing any more.
func (w window) state(now time.Time) windowState {
	refused := w.refused.After(w.heard.At)
	switch {
	case now.Before(w.heard.Until) && !refused:
		return windowOpen
	case len(w.invited) > 0:
		return windowInvited
	case refused && now.Before(w.refused.Add(closedLife)), now.Before(w.heard.Until.Add(closedLife)):
		return windowClosed
	default:
		return windowUnknown
	}
}

// hear is the window after a message or call of the recipient at a time, now or
// before; one that came late opens nothing and closes nothing.
func (w window) hear(at, now time.Time) window {
	if until := at.Add(windowLife); now.Before(until) {
		w.heard = heard{At: now, Until: later(until, w.heard.Until)}
	}
	return w
}

// refuse is the window after the service refused what was begun at a time.
func (w window) refuse(at time.Time) window {
	w.refused = later(at, w.refused)
	return w
}

// mostInvited bounds the jobs of a recipient who never answers; the oldest have
// gone to their next target long since.
const mostInvited = 100

// invite is the window with a job's invitation out.
func (w window) invite(job string) window {
	if !slices.Contains(w.invited, job) {
		w.invited = append(slices.Clone(w.invited), job)
		w.invited = w.invited[max(0, len(w.invited)-mostInvited):]
	}
	return w
}

// way is what a note takes.
type way int

const (
	wayNote    way = iota // the note itself
	wayInvite             // the template, which asks him to play it
	wayNowhere            // neither may be sent
)

// ways says which way a note takes, by the window, with a template and without.
// Where nothing is known the template is safe; without one the note is tried,
// and the service's refusal teaches.
var ways = map[windowState]struct{ template, none way }{
	windowUnknown: {wayInvite, wayNote},
	windowOpen:    {wayNote, wayNote},
	windowClosed:  {wayInvite, wayNowhere},
	windowInvited: {wayInvite, wayNote}, // the template was taken out of the settings meanwhile
}

func (w *whatsapp) way(s windowState) way {
	if s == windowUnknown && w.o.AssumeWindowOpen {
		s = windowOpen
	}
	if w.o.Template != nil {
		return ways[s].template
	}
	return ways[s].none
}

// Where a window's parts are kept: the key goes on with the user.
const (
	keyHeard   = "heard/"
	keyRefused = "refused/"
	keyInvited = "invited/"
)

func (w *whatsapp) window(ctx context.Context, user string) (known window, err error) {
	_, err = w.env.recallJSON(ctx, keyHeard+user, &known.heard)
	if err == nil {
		_, err = w.env.recallJSON(ctx, keyRefused+user, &known.refused)
	}
	if err == nil {
		_, err = w.env.recallJSON(ctx, keyInvited+user, &known.invited)
	}
	return known, err
}

// heard opens the windows of a user, who may have two names, and asks for all
// notes that were only waiting for it. The time is by the service's clock.
func (w *whatsapp) heard(ctx context.Context, users []string, at time.Time) error {
	at = w.ours(ctx, at)
	for _, user := range users {
		invited, err := w.opens(ctx, user, at)
		if err != nil {
			return err
		}
		for _, job := range invited {
			if err := w.report(ctx, delivery.Report{Job: job, What: delivery.WasAsked, At: at, Detail: "the recipient wrote"}, users); err != nil {
				return err
			}
		}
		if len(invited) > 0 {
			if err := w.env.Memory.Delete(ctx, keyInvited+user); err != nil {
				return err
			}
		}
	}
	return nil
}

// opens keeps that a user was heard; the jobs come back that wait for it.
func (w *whatsapp) opens(ctx context.Context, user string, at time.Time) (invited []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := w.window(ctx, user)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	next := known.hear(at, now)
	if next.state(now) != windowOpen || next.heard == known.heard {
		return nil, nil
	}
	// Nobody's: what is known of a user is gone after a day.
	err = w.env.keepJSON(ctx, delivery.Entry{Key: keyHeard + user, For: time.Until(next.heard.Until) + closedLife}, next.heard)
	return next.invited, err
}

// refused keeps that the service refused what was begun at a time.
func (w *whatsapp) refused(ctx context.Context, users []string, at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, user := range users {
		known, err := w.window(ctx, user)
		if err == nil {
			err = w.env.keepJSON(ctx, delivery.Entry{Key: keyRefused + user, For: closedLife}, known.refuse(at).refused)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// invites keeps that a job's invitation is on its way, for as long as the job
// may wait.
func (w *whatsapp) invites(ctx context.Context, user string, p delivery.Parcel) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := w.window(ctx, user)
	if err != nil {
		return err
	}
	return w.env.keepJSON(ctx, delivery.Entry{Key: keyInvited + user, For: jobLife, Mailbox: p.Note.Recipient.Number, Note: p.Note.ID}, known.invite(p.Key).invited)
}
