package delivery

import (
	"context"
	"time"
)

// Report is what a chat service tells of a note after it took it: late, twice
// and in any order.
type Report struct {
	Job     string    // the parcel's key
	Address *string   // of the target that it is about, as the parcel had it; nil where no more is known than the job
	What    What      // what happened
	At      time.Time // when, by the service's clock; zero for now
	Detail  string    // what the service said, without secrets, numbers and names
}

// What is what happened to a note at a chat service.
type What string

// What services tell. The first four are levels: each includes those before it.
const (
	WasAccepted  What = "accepted"  // the service has it: what settles an attempt whose answer was lost
	WasDelivered What = "delivered" // it reached the recipient's device
	WasRead      What = "read"      // the message was seen
	WasPlayed    What = "played"    // the note was listened to
	WasRefused   What = "refused"   // the service could not deliver what it had accepted: the next target's turn
	WasAsked     What = "asked"     // the recipient asked for the note that an invitation stands for: it is due now
	WasBounced   What = "bounced"   // the service gave back what it had accepted: the note may be sent once more, now
)

// Known says that w is one of these.
func (w What) Known() bool {
	return w.Includes(WasAccepted) || w == WasRefused || w == WasAsked || w == WasBounced
}

// Includes says that a level is reached once w happened; refused, asked and
// bounced are no levels.
func (w What) Includes(level What) bool {
	order := map[What]int{WasAccepted: 1, WasDelivered: 2, WasRead: 3, WasPlayed: 4}
	return order[w] > 0 && order[w] >= order[level]
}

// Meaning is what a report comes to by its channel's configuration.
type Meaning struct {
	Settles bool // the level is reached that the configuration asks for
	Arrived bool // the note is delivered as far as the service tells: what EventDelivered says
}

// Upshot is what a report changed at once. It is zero for a note that another
// machine keeps.
type Upshot struct {
	Note    Note
	Settled bool // the job is delivered, and was not before
	Dead    bool // the job ended as dead
}

// Reports keeps what chat services tell.
type Reports interface {
	// Report keeps a report about a job: once, however often it is told. It
	// becomes a line of the note's life; read and played mark the note.
	//
	// With Settles a job that waits, is queued (its last answer may have been
	// lost) or dead is delivered; one at a later target is not sent there any
	// more, unless it is being sent just now: then it is delivered whatever
	// comes of that. WasRefused moves a job that waits, whose last answer was
	// lost, or that was delivered by that target, to the next target, or ends
	// it as dead; not where the note is known to have reached the recipient.
	// WasAsked makes a job due at once that waits to be asked for, WasBounced
	// also one that waits for a report, unless its note reached the recipient.
	//
	// When it returns nil the report is on disk: the service may forget it.
	// ErrNotFound when there is no such job: an erased note's, or another
	// installation's. Among several machines a job that none can be asked about
	// is no error: its home hears when it can.
	Report(ctx context.Context, channel string, r Report, m Meaning) (Upshot, error)
}
