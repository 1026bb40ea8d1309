package call

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
)

// Records writes one JSON line for each call (CDR).
type Records struct {
	mu    sync.Mutex
	out   io.Writer
	key   []byte // of the hash that stands for a number
	plain bool
}

// NewRecords writes call records to out. Numbers are keyed hashes (HMAC-SHA256,
// the first 16 hex digits), so that calls of one number can be told together
// without naming it, unless plain is set.
func NewRecords(out io.Writer, key []byte, plain bool) *Records {
	return &Records{out: out, key: key, plain: plain}
}

// record is a call record. Times are RFC 3339, durations milliseconds.
type record struct {
	Time     time.Time     `json:"time"`
	Note     string        `json:"note_id"`
	CallID   string        `json:"call_id"`
	Trunk    string        `json:"trunk"`
	Outcome  Outcome       `json:"outcome"`
	Ended    string        `json:"ended,omitempty"` // who hung up
	Mailbox  string        `json:"mailbox,omitempty"`
	Header   string        `json:"mailbox_from,omitempty"` // the header that named the mailbox
	Caller   string        `json:"caller,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Kind     delivery.Kind `json:"kind,omitempty"`
	Codec    string        `json:"codec,omitempty"`
	Answered time.Time     `json:"answered,omitzero"`
	Duration int64         `json:"duration_ms"` // of the note
	Held     int64         `json:"call_ms"`     // from the answer to the end
	Packets  uint64        `json:"packets"`
	Foreign  uint64        `json:"foreign,omitempty"` // from another source than the caller's
	Cipher   string        `json:"srtp,omitempty"`    // how the audio came encrypted
	Lost     int           `json:"lost"`
	Late     int           `json:"late"`
	Digits   string        `json:"dtmf,omitempty"`
}

func (r *record) received(s media.Stats) {
	r.Packets, r.Foreign, r.Cipher = s.Packets, s.Foreign, s.Encryption
	r.Held = time.Since(r.Answered).Milliseconds()
}

func (r *record) finished(n delivery.Note, f media.Facts) {
	r.Kind, r.Duration = n.Kind, n.Duration.Milliseconds()
	r.Codec, r.Lost, r.Late, r.Digits = f.Codec, f.Lost, f.Late, f.Digits
}

func (rs *Records) write(r record) error {
	if rs == nil {
		return nil
	}
	r.Mailbox, r.Caller = rs.number(r.Mailbox), rs.number(r.Caller)
	if !rs.plain {
		r.Digits = "" // a PIN typed on the keypad is nobody's business
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("call record: %w", err)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if _, err := rs.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("call record not written: %w", err)
	}
	return nil
}

func (rs *Records) number(n string) string {
	if n == "" || rs.plain {
		return n
	}
	mac := hmac.New(sha256.New, rs.key)
	mac.Write([]byte(n))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
