// Package control is the operator's socket: HTTP over a unix socket (mode
// 0600) beside the store, by which commands like `note list` ask the running
// gateway, whose process alone holds the store.
package control

import (
	"context"
	"io"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Operator is what an operator's commands may do: on the store itself, or on
// the running gateway through a Client.
type Operator interface {
	List(ctx context.Context, f delivery.Filter) ([]delivery.Summary, error)
	Life(ctx context.Context, id string) (delivery.Life, error)
	Count(ctx context.Context, f delivery.Filter) (int, error)
	Redrive(ctx context.Context, id, channel string) (int, error)
	LinkFor(ctx context.Context, mailbox string) (token string, err error)
	// Export writes a mailbox as a zip, see delivery.Export.
	Export(ctx context.Context, mailbox string, w io.Writer) error
	// Erase erases a mailbox's notes and says what they were.
	Erase(ctx context.Context, mailbox string) (delivery.Erasure, error)
	// RotateKeys wraps the keys of the next notes after an id with the first key
	// of a key file's text, and returns the last of them, "" when none is left.
	RotateKeys(ctx context.Context, keys []byte, after string) (last string, err error)
}

// Socket is the name of the socket in the store's folder.
const Socket = "control.sock"

// Fresh ends the name under which the socket is made.
const Fresh = ".new"

type redriving struct{ Channel string }

type number struct{ N int }

type rotation struct {
	Keys  []byte
	After string // the note that the last turn ended with, and the next begins after
}

type link struct{ Mailbox, Token string }

type mailbox struct{ Mailbox string }

// The ends of an export that is under way when they are known (trailers, RFC
// 9110 section 6.5).
const (
	exportFailed     = "Export-Failed"
	exportIncomplete = "Export-Incomplete"
)

// Status is how a running gateway stands.
type Status struct {
	Addresses []string // where it listens
	Fault     string   // why it takes no call; "" when it does
}

// Gateway is the running gateway beside its store. Addresses may be left empty.
type Gateway struct {
	Addresses []string                                 // where it listens, for whoever asks what is taken
	Ready     func(ctx context.Context) error          // says why it takes no call, if it takes none
	Try       func(ctx context.Context, t Trial) Tried // sends a sample note through a channel
	Chats     Chats

	// Mailbox finds a mailbox by its number. delivery.ErrNotFound.
	Mailbox func(ctx context.Context, number string) (Mailbox, error)
}

// Mailbox is what an operator is told of a mailbox.
type Mailbox struct {
	Recipient delivery.Recipient
	Links     []string // the channels at which it links its chat itself
}

// Trial asks for a sample note to be sent.
type Trial struct {
	Target    delivery.Target
	Recipient delivery.Recipient // whose note it pretends to be
}

// Tried is what came of a trial.
type Tried struct {
	Receipt delivery.Receipt
	Took    time.Duration
	Failed  *Failed // nil when the service took the note
}

// Failed is a delivery.SendError on its way through the socket.
type Failed struct {
	Outcome     delivery.Outcome
	Credentials bool
	After       time.Duration
	Text        string
}

// Chats links chats to mailboxes.
type Chats interface {
	// LinkChat mints a code that links a chat at a channel to a mailbox.
	LinkChat(ctx context.Context, channel, mailbox string) (ChatCode, error)
	// UnlinkChat ends a mailbox's link at a channel, and voids its code.
	UnlinkChat(ctx context.Context, channel, mailbox string) error
}

// ChatCode is what links a chat.
type ChatCode struct {
	Link    string    // opens the chat service with the code ready to be sent; "" for none
	Say     string    // what to send by hand
	Code    string    // alone
	Expires time.Time // of the code
}

type chat struct{ Channel, Mailbox string }

type failure struct{ Error string }
