// Package lamp tells PBXs and phones how many messages wait in a mailbox (RFC
// 3842): the light on the phone. What counts is a note that can be heard, from
// its arrival until it is read or played.
//
// Phones and PBXs that subscribe hear of it from the machine they subscribed
// at (Mailboxes). A trunk with an address for it is told unasked (Lamps): by the
// machine that changed what waits, so among many by one alone.
package lamp

import (
	"context"
	"errors"
	"fmt"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

const (
	page      = 200  // notes that are read at once
	mostNotes = 2000 // the newest of a mailbox: more than these nobody counts
)

// Count is what waits in a mailbox, on all machines: the notes to be heard, new
// until they are read or played. Missed calls left nothing to hear, nor did a
// note whose audio retention took.
func Count(ctx context.Context, inbox delivery.Inbox, mailbox string) (m sip.Messages, err error) {
	for before, seen := "", 0; seen < mostNotes; {
		notes, err := inbox.Thread(ctx, mailbox, before, page)
		if err != nil {
			return m, fmt.Errorf("count the messages of a mailbox: %w", err)
		}
		for _, n := range notes {
			switch {
			case n.Kind == delivery.Missed || n.Media.Gone:
			case n.ReadAt.IsZero() && n.PlayedAt.IsZero():
				m.New++
			default:
				m.Old++
			}
		}
		if len(notes) < page {
			break
		}
		before, seen = notes[len(notes)-1].ID, seen+len(notes)
	}
	return m, nil
}

// Directory finds mailboxes, see config.Directory.
type Directory interface {
	Lookup(ctx context.Context, user, number string) (*config.Mailbox, error)
}

// Mailboxes is what sip asks for those who subscribe.
type Mailboxes struct {
	Directory Directory
	Inbox     delivery.Inbox
	// May says whether one may ask for the mailbox of a callee, or for one that
	// was not found, see call.Path.
	May func(w sip.Watcher, callee sip.Callee, found bool) bool
}

var _ sip.Lamps = Mailboxes{}

// Mailbox implements sip.Lamps. A callee of whom nobody can tell is not passed
// over, and a disabled mailbox is as if there were none.
func (m Mailboxes) Mailbox(w sip.Watcher) (string, error) {
	for _, c := range w.Callees {
		found, err := m.Directory.Lookup(context.Background(), c.User, c.Number) // it waits for a few seconds at most
		switch {
		case errors.Is(err, config.ErrNoMailbox):
			continue
		case err != nil:
			return "", fmt.Errorf("find the mailbox of a message lamp: %w", err)
		}
		if may := m.May(w, c, true); may && !found.Disabled {
			return found.Number, nil
		}
		return "", nil
	}
	m.May(w, sip.Callee{}, false) // a guess counts
	return "", nil
}

// Messages implements sip.Lamps.
func (m Mailboxes) Messages(ctx context.Context, mailbox string) (sip.Messages, error) {
	return Count(ctx, m.Inbox, mailbox)
}

// Watch implements sip.Lamps.
func (m Mailboxes) Watch(ctx context.Context, mailbox string) <-chan string {
	return m.Inbox.Watch(ctx, mailbox)
}
