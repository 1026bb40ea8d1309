package delivery

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// State is how far a note has come. Each step is on disk before it is acted on.
type State string

// The states of a note, in their order.
const (
	Recording State = "recording" // a draft: opened before the 200 OK
	Recorded  State = "recorded"  // the tape is whole and on disk
	Rendered  State = "rendered"  // the note's file and its jobs are on disk
	Discarded State = "discarded" // a draft that left nothing: the call never was, or was answered elsewhere
)

// Kind is what the recipient gets.
type Kind string

// The kinds of a note.
const (
	Voice  Kind = "voice"
	Video  Kind = "video"
	Missed Kind = "missed" // nobody spoke: a line in the thread, no file
)

// Note is one unanswered call and what became of it.
type Note struct {
	ID        string
	State     State
	Kind      Kind
	Recipient Recipient
	Caller    Caller
	Reason    string        // missed, busy, unreachable, forwarded, declined; "" when unknown
	CalledAt  time.Time     // when the INVITE came
	EndedAt   time.Time     // when the call ended; when it was found, after a crash
	Duration  time.Duration // exact length of the file
	Partial   bool          // the call was cut off: the end may be missing
	Waveform  []byte        // 64 points, 0 to 255
	Loudness  float64       // dBFS, RMS over what was spoken
	Media     Media         // zero for a missed note
	Trunk     string        // the trunk's name
	ReadAt    time.Time     // zero while unread
	PlayedAt  time.Time     // zero while unplayed
}

// Recipient is the mailbox a note is for.
type Recipient struct {
	Number   string // as the mailbox is written in the directory
	Name     string
	Language string // BCP 47, "" for English
	Timezone string // IANA, "" for UTC
}

// Caller is who left the note. Private callers have neither number nor name.
type Caller struct {
	Number  string
	Name    string
	Private bool
	Trust   string `json:",omitempty"` // verified: the network vouches for the number; doubtful: it may be spoofed; "" when it says nothing
}

// Media describes a note's file.
type Media struct {
	Type   string // MIME type, "audio/ogg; codecs=opus"
	Bytes  int64
	SHA256 string // hex
	Gone   bool   // the note's retention took the file
}

// idEncoding writes ids that sort by time and read well: Crockford's alphabet.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// idClock is right as of the process's start: its ids never go back.
var idClock = ClockOn(time.Now)

// NewID mints an id: 26 characters, 48 bits of time in milliseconds and 80
// random bits (the layout of a ULID), so that ids sort by time and none can be
// guessed.
func NewID() string { return idAt(idClock.Now()) }

func idAt(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails (crypto/rand)
	return idEncoding.EncodeToString(b[:])
}

// FirstID is below every id that NewID mints at t or later, and above those of
// before: ids sort by time.
func FirstID(t time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(max(0, t.UnixMilli()))<<16)
	return idEncoding.EncodeToString(b[:])
}

// MintedAt is when NewID minted an id, to the millisecond; zero for anything
// else.
func MintedAt(id string) time.Time {
	b, err := idEncoding.DecodeString(id)
	if err != nil || len(b) != 16 {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:8]) >> 16))
}

// ValidID says whether s could have come from NewID: what arrives from outside
// is checked before it goes near a file name.
func ValidID(s string) bool {
	return len(s) == 26 && strings.Trim(s, "0123456789abcdefghjkmnpqrstvwxyz") == ""
}
