package delivery

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Channel is a chat service. Send makes one attempt, at most once, and returns
// a *SendError for anything but success; the Detail of the receipt beside an
// error is what the service answered. It may be called by many goroutines.
type Channel interface {
	Send(ctx context.Context, p Parcel) (Receipt, error)
}

// Checker is a channel that can prove its credentials without sending a note.
type Checker interface {
	Check(ctx context.Context) error
}

// Patient is a channel that says how long a chain waits for it before the next
// target has its turn; for the others it is ten minutes.
type Patient interface {
	Within() time.Duration
}

// Unhurried is a channel that says how long an attempt may take: it ends those
// that get nowhere by itself, and gives a service that has the note the time to
// say so. For the others it is the worker's 30 s.
type Unhurried interface {
	Longest() time.Duration
}

// Acknowledged is a channel whose service tells how far a note has come after
// it took it.
type Acknowledged interface {
	// Ack is what settles a chain: WasAccepted, WasDelivered, WasRead or
	// WasPlayed. Until then, or until its time is over, the next target waits.
	Ack() What
	// Tells says whether the service tells of a level at all.
	Tells(level What) bool
}

// Linkable is a channel whose chats can be linked to mailboxes, see Chats.
type Linkable interface {
	// DeepLink is the address that opens the chat service with the code ready
	// to be sent, like https://t.me/BOT?start=CODE, and Say what a person sends
	// by hand in its place.
	DeepLink(ctx context.Context, code string) (link string, say string, err error)
}

// Runner is a channel that listens to its service for as long as the gateway
// runs. Run returns nil when ctx ends; what fails before is logged and tried
// again.
type Runner interface {
	Run(ctx context.Context) error
}

// Limited is a channel that says how many sends its service takes; the others
// have no limit.
type Limited interface {
	Rate() Rate
}

// Operator is the channel that tells the operator of what happened to a note.
// The address of a job to it is EVENT/CHANNEL: what happened, and where. No
// channel of the configuration file can have this name.
const Operator = "operator"

// What the operator is told of a note: one of its chains could not deliver it,
// or did; the recipient read it, played it.
const (
	EventDead      = "note.dead"
	EventDelivered = "note.delivered"
	EventRead      = "note.read"
	EventPlayed    = "note.played"
)

// Parcel is one attempt at one target.
type Parcel struct {
	Key     string // the job's id, the same on every attempt
	Note    Note
	Address string // the part of the target after the colon; "" for the chat that the mailbox is linked to
	Attempt int
	Round   int  // how often the note was driven again
	Repeat  bool // an earlier attempt may have arrived: say so where the service cannot tell

	// Open reads the note's file; nil for a missed note.
	Open func(ctx context.Context) (io.ReadSeekCloser, error)
	// Link signs a URL to the file that works until it expires; "" when the
	// gateway has no public URL. nil for a missed note.
	Link func(expires time.Time) string
	// Page signs a URL to a page that plays the note, as Link does; nil for a
	// missed note.
	Page func(expires time.Time) string
	// Convert is the note's file in another form, by its MIME type: audio/mpeg.
	// nil for a missed note, and where there is no form but the file's own.
	Convert func(ctx context.Context, mimeType string) ([]byte, error)
}

// Receipt is a service's word that it has the note.
type Receipt struct {
	ID     string // the service's id of the message, "" when it gives none
	Detail string // for `note show`, like "200 OK"
	// Invited says that the service took an invitation in the note's place: the
	// note itself goes out when the recipient asks for it (WasAsked). Until
	// then, or until the time for this target is over, the job waits.
	Invited bool
}

// SendError says how an attempt failed. Its text carries no secret, number or
// name.
type SendError struct {
	Outcome Outcome       // Retry, Unknown or Dead
	After   time.Duration // the service's Retry-After, 0 when it gave none
	Status  int           // the service's status code, 0 when there was none
	// Credentials says that the failure concerns the channel, not the
	// recipient: every note to it would fail alike.
	Credentials bool
	// Early says that no request was made, as the service would take none for
	// this chat before After is over: the job comes back then, and this counts
	// neither as an attempt nor against the service.
	Early bool
	Err   error
}

// Error describes the failure.
func (e *SendError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("%s (status %d): %v", e.Outcome, e.Status, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Outcome, e.Err)
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }
