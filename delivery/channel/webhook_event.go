package channel

import (
	"bytes"
	"io"
	"mime/multipart"
	"time"
	"unicode/utf8"

	"github.com/afterbeep/afterbeep/delivery"
)

// event is what a webhook's receiver reads: the payload of Standard Webhooks.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // RFC 3339, when the call ended
	Data      eventNote `json:"data"`
}

type eventNote struct {
	ID         string         `json:"id"`
	Kind       delivery.Kind  `json:"kind"`
	Recipient  eventRecipient `json:"recipient"`
	Caller     eventCaller    `json:"caller"`
	Reason     string         `json:"reason,omitempty"`
	CalledAt   time.Time      `json:"called_at"` // RFC 3339, when the INVITE came
	DurationMS int64          `json:"duration_ms"`
	Partial    bool           `json:"partial"`
	Waveform   []int          `json:"waveform"` // 64 points, 0 to 255; none for a missed note
	Media      *eventMedia    `json:"media,omitempty"`
}

type eventRecipient struct {
	Number string `json:"number"`
	Name   string `json:"name"`
}

type eventCaller struct {
	Number  string `json:"number"`
	Name    string `json:"name"`
	Private bool   `json:"private"`
	Trust   string `json:"trust,omitempty"` // verified, or doubtful: the number may be spoofed
}

type eventMedia struct {
	URL    string `json:"url,omitempty"` // none when the file is attached
	Type   string `json:"type"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// newEvent describes a note, without the URL of its file. The same note always
// gives the same event.
func newEvent(n delivery.Note) event {
	e := event{Type: "note.created", Timestamp: milliseconds(n.EndedAt), Data: eventNote{
		ID:         n.ID,
		Kind:       n.Kind,
		Recipient:  eventRecipient{clip(n.Recipient.Number), clip(n.Recipient.Name)},
		Caller:     eventCaller{clip(n.Caller.Number), clip(n.Caller.Name), n.Caller.Private, n.Caller.Trust},
		Reason:     n.Reason,
		CalledAt:   milliseconds(n.CalledAt),
		DurationMS: n.Duration.Milliseconds(),
		Partial:    n.Partial,
		Waveform:   make([]int, len(n.Waveform)),
	}}
	for i, level := range n.Waveform {
		e.Data.Waveform[i] = int(level)
	}
	if n.Kind != delivery.Missed {
		e.Data.Media = &eventMedia{Type: n.Media.Type, Bytes: n.Media.Bytes, SHA256: n.Media.SHA256}
	}
	return e
}

func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// maxName keeps the event below the 20 kB that Standard Webhooks asks for,
// whatever a caller calls himself.
const maxName = 512 // bytes

func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	end := maxName
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// encode writes the event alone as JSON.
func encode(e event) (body []byte, contentType string, err error) {
	var out bytes.Buffer
	err = encodeJSON(&out, e)
	return out.Bytes(), "application/json", err
}

// encodeForm writes the event as multipart/form-data (RFC 7578): part note, the
// JSON, and part media, the file; a nil file, of a missed call, leaves it out.
func encodeForm(e event, file io.Reader) (body []byte, contentType string, err error) {
	var out bytes.Buffer
	if file != nil {
		out.Grow(int(e.Data.Media.Bytes) + 4096) // one allocation: the file, the event, the part headers
	}
	form := multipart.NewWriter(&out)
	part, err := createPart(form, "note", "", "application/json")
	if err == nil {
		err = encodeJSON(part, e)
	}
	if err == nil && file != nil {
		if part, err = createPart(form, "media", e.Data.ID+extension(e.Data.Media.Type), e.Data.Media.Type); err == nil {
			_, err = io.Copy(part, file)
		}
	}
	if err == nil {
		err = form.Close()
	}
	return out.Bytes(), form.FormDataContentType(), err
}
