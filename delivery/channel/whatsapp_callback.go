package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxCallback is above what the service sends: 3 MB at most.
const maxCallback = 4 << 20 // bytes

// ServeHTTP hears the service's callbacks (Cloud API, "Webhooks"): at least
// once, in any order, repeated for days until the answer is 200. That is given
// when all of it is kept. Whoever cannot show that he is the service gets one
// and the same answer.
func (w *whatsapp) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		w.verify(out, r)
	case http.MethodPost:
		w.callback(out, r)
	default:
		stranger(out)
	}
}

func stranger(out http.ResponseWriter) { http.Error(out, "forbidden", http.StatusForbidden) }

// waChallenge is what the service wants to hear back: a number, today.
var waChallenge = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// verify answers the service when the callback's address is entered there.
func (w *whatsapp) verify(out http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	known := subtle.ConstantTimeCompare([]byte(q.Get("hub.verify_token")), []byte(w.o.VerifyToken)) == 1
	challenge := q.Get("hub.challenge")
	if !known || q.Get("hub.mode") != "subscribe" || !waChallenge.MatchString(challenge) {
		stranger(out)
		return
	}
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(out, challenge) //nolint:gosec // letters and digits alone, and no HTML
}

func (w *whatsapp) callback(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(out, r.Body, maxCallback))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		w.env.Log.Warn("a callback was refused that is larger than what the service sends", "most_bytes", large.Limit)
	}
	if err != nil || !w.signed(r.Header.Get("X-Hub-Signature-256"), body) {
		stranger(out)
		return
	}
	happened, ok := readCallback(body, w.o.PhoneNumberID)
	if !ok {
		w.env.Log.Warn("a callback in an unknown form was ignored", "bytes", len(body)) // sending it again would change nothing
	}
	for _, act := range happened {
		err = errors.Join(err, act(r.Context(), w))
	}
	if err != nil {
		w.env.Log.Error("a callback could not be kept; the service sends it again", "error", w.safe(err))
		http.Error(out, "not kept", http.StatusInternalServerError)
	}
}

// signed says that the service signed a body with the app's secret.
func (w *whatsapp) signed(signature string, body []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	mac := hmac.New(sha256.New, []byte(w.o.AppSecret))
	mac.Write(body)
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}

// waAct does what one update of a callback asks for; each can be done twice.
type waAct func(ctx context.Context, w *whatsapp) error

// waCallback is the body of a callback, as far as it is read.
type waCallback struct {
	Entry []struct {
		Changes []struct {
			Value json.RawMessage `json:"value"`
		} `json:"changes"`
	} `json:"entry"`
}

// waValue is a change of the fields messages and calls.
type waValue struct {
	Metadata struct {
		PhoneNumberID string `json:"phone_number_id"`
	} `json:"metadata"`
	Messages []json.RawMessage `json:"messages"`
	Calls    []json.RawMessage `json:"calls"`
	Statuses []json.RawMessage `json:"statuses"`
}

// readCallback reads what happened, in its order. What is of another number,
// and whatever is not known, is left out: one update in a strange form is not
// the others' loss.
func readCallback(body []byte, phoneNumberID string) (happened []waAct, ok bool) {
	var all waCallback
	if json.Unmarshal(body, &all) != nil {
		return nil, false
	}
	for _, entry := range all.Entry {
		for _, change := range entry.Changes {
			var v waValue
			if json.Unmarshal(change.Value, &v) != nil || v.Metadata.PhoneNumberID != phoneNumberID {
				continue
			}
			happened = append(happened, acts[waIncoming](v.Messages)...)
			happened = append(happened, acts[waCall](v.Calls)...)
			happened = append(happened, acts[waStatus](v.Statuses)...)
		}
	}
	return happened, true
}

// update is one update of a kind.
type update interface {
	act(ctx context.Context, w *whatsapp) error
}

func acts[U update](updates []json.RawMessage) (all []waAct) {
	for _, raw := range updates {
		var u U
		if json.Unmarshal(raw, &u) == nil {
			all = append(all, func(ctx context.Context, w *whatsapp) error { return u.act(ctx, w) })
		}
	}
	return all
}

// waIncoming is a message from a user.
type waIncoming struct {
	ID          string `json:"id"`
	From        string `json:"from"`         // his number's digits; "" for a user who does not show it
	UserID      string `json:"from_user_id"` // business-scoped
	Group       string `json:"group_id"`     // "" outside groups
	At          waTime `json:"timestamp"`
	Type        string `json:"type"`
	Text        struct{ Body string }
	Button      struct{ Payload string } // of a template
	Interactive struct {
		ButtonReply struct{ ID string } `json:"button_reply"`
	}
}

// waCall is a call between a user and the business.
type waCall struct {
	From      string `json:"from"`
	UserID    string `json:"from_user_id"`
	At        waTime `json:"timestamp"`
	Direction string `json:"direction"` // USER_INITIATED or BUSINESS_INITIATED
}

// waStatus is what became of a message that was sent.
type waStatus struct {
	ID       string    `json:"id"` // the message's
	Status   string    `json:"status"`
	At       waTime    `json:"timestamp"`
	To       string    `json:"recipient_id"`
	UserID   string    `json:"recipient_user_id"`
	Callback string    `json:"biz_opaque_callback_data"`
	Errors   []waError `json:"errors"`
}

// waTime is a time in seconds since 1970, as a string or a number.
type waTime struct{ time.Time }

// UnmarshalJSON reads the seconds; anything else is the zero time.
func (t *waTime) UnmarshalJSON(b []byte) error {
	seconds, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	if err == nil && seconds > 0 && seconds < 1<<40 {
		t.Time = time.Unix(seconds, 0)
	}
	return nil
}

// usersOf are the names of a user that are given.
func usersOf(names ...string) (users []string) {
	for _, name := range names {
		if user, ok := waUser(name); ok {
			users = append(users, user)
		}
	}
	return users
}
