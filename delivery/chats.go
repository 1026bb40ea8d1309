package delivery

import (
	"context"
	"time"
)

// Chats are the chats that mailboxes have linked to themselves at one channel:
// where a target without an address leads.
type Chats interface {
	// Of returns the address that a mailbox is linked to, or ErrNotFound.
	Of(ctx context.Context, mailbox string) (address string, err error)
	// Code mints a one-time code by which a chat is linked to the mailbox:
	// letters, digits, - and _ alone, 64 at most, good until it expires. An
	// earlier code of the mailbox is void then.
	Code(ctx context.Context, mailbox string) (code string, expires time.Time, err error)
	// Link links an address to the mailbox of a code, which is void then; the
	// chat that was linked before is no longer. ErrNotFound for whatever is
	// wrong with the code: the answer tells nothing about any mailbox.
	Link(ctx context.Context, code, address string) (mailbox string, err error)
	// Unlink ends the links of all mailboxes to an address: its chat has said
	// that no more notes shall come. It says how many there were.
	Unlink(ctx context.Context, address string) (int, error)
	// Revoke ends the link of a mailbox and voids its code.
	Revoke(ctx context.Context, mailbox string) error
}
