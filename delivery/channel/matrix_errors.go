package channel

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"maunium.net/go/mautrix"

	"github.com/afterbeep/afterbeep/delivery"
)

// matrixStatuses says what an answer means that has none of the errors of
// matrixErrors. A repeat is told by its transaction and its job.
var matrixStatuses = []rule{
	{300, 399, delivery.Dead, false, "redirects are not followed; set homeserver to the address it leads to"},
	{401, 401, delivery.Retry, true, "the homeserver refuses the login; see user, password and token"},
	{408, 408, delivery.Retry, false, ""},
	{413, 413, delivery.Dead, false, "the note is larger than the homeserver takes; raise its limit for uploads"},
	{425, 425, delivery.Retry, false, ""},
	{429, 429, delivery.Retry, false, ""},
	{400, 499, delivery.Dead, false, "the homeserver does not want this note"},
	{500, 599, delivery.Retry, false, ""},
}

// matrixErrors says what the standard errors mean (Client-Server API 2.3),
// before the status does.
var matrixErrors = map[string]rule{
	"M_UNKNOWN_TOKEN":    {outcome: delivery.Retry, credentials: true, hint: "the login has ended; set a new token, or a password, by which the channel logs in by itself"},
	"M_MISSING_TOKEN":    {outcome: delivery.Retry, credentials: true, hint: "the homeserver wants a token; see homeserver"},
	"M_USER_DEACTIVATED": {outcome: delivery.Retry, credentials: true, hint: "the account was deactivated"},
	"M_USER_LOCKED":      {outcome: delivery.Retry, credentials: true, hint: "the account is locked"},
	"M_USER_SUSPENDED":   {outcome: delivery.Retry, credentials: true, hint: "the account is suspended"},
	"M_UNRECOGNIZED":     {outcome: delivery.Retry, credentials: true, hint: "there is no such function at the homeserver's address; see homeserver"},
	"M_FORBIDDEN":        {outcome: delivery.Dead, hint: "the account may not write there; invite it into the room"},
	"M_NOT_FOUND":        {outcome: delivery.Dead, hint: "there is no such room or user"},
	"M_EXCLUSIVE":        {outcome: delivery.Dead, hint: "the homeserver keeps the callers' names for another application service; see prefix and its registration"},
	"M_LIMIT_EXCEEDED":   {outcome: delivery.Retry},
	"M_TOO_LARGE":        {outcome: delivery.Dead, hint: "the note is larger than the homeserver takes; raise its limit for uploads"},
}

// matrixTransport tells of a request without an answer whether it got through.
type matrixTransport struct {
	client *client
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper; its error is a *delivery.SendError.
func (t matrixTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	var written atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn:      func(string) { written.Store(false) },
		WroteRequest: func(info httptrace.WroteRequestInfo) { written.Store(info.Err == nil) },
	}
	resp, err := t.next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, t.client.unanswered(err, written.Load())
	}
	return resp, nil
}

// carrying marks the failure of the request that carries the note: the only
// one whose lost answer, or failing server, leaves it open whether the note
// arrived.
type carryingError struct{ error }

func (c carryingError) Unwrap() error { return c.error }

// failed reads what went wrong: the receipt has what the server said.
func (m *matrix) failed(err error, n delivery.Note) (delivery.Receipt, *delivery.SendError) {
	_, carried := errors.AsType[carryingError](err)
	if ready, ok := errors.AsType[*delivery.SendError](err); ok {
		result := *ready
		if result.Outcome == delivery.Unknown && !carried {
			result.Outcome = delivery.Retry
		}
		return delivery.Receipt{}, &result
	}
	answered, ok := errors.AsType[mautrix.HTTPError](err)
	if !ok || answered.Response == nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Retry, Err: m.client.safe(matrixSafe(err))}
	}
	status := answered.Response.StatusCode
	if answered.WrappedError != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("the homeserver's answer cannot be read: %w", m.client.safe(answered.WrappedError))}
	}
	a := answer{status: status, after: retryAfter(answered.Response.Header.Get("Retry-After"), time.Now())}
	rules := matrixStatuses
	if carried {
		rules = slices.Concat(doubts, rules)
	}
	if said := answered.RespError; said != nil {
		if wait, ok := said.ExtraData["retry_after_ms"].(float64); ok && a.after == 0 {
			a.after = min(max(0, time.Duration(wait)*time.Millisecond), maxRetryAfter)
		}
		a.body = []byte(said.ErrCode + ": " + matrixIDs.ReplaceAllString(said.Err, hidden))
		if r, ok := matrixErrors[said.ErrCode]; ok && status >= 400 {
			r.first, r.last = status, status
			rules = []rule{r}
		}
	}
	receipt, err := m.client.verdict(rules, a, n)
	failed, _ := errors.AsType[*delivery.SendError](err)
	return receipt, failed
}

// matrixIDs are users, rooms, aliases and events in a server's words.
var matrixIDs = regexp.MustCompile(`[@!#$][\w.=/+-]+(:[\w.:-]+)?`)

// matrixSafe is an error whose text has none of them.
func matrixSafe(err error) error {
	if text := matrixIDs.ReplaceAllString(err.Error(), hidden); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// failure is an error without secrets, for those who send no note.
func (m *matrix) failure(err error) error {
	receipt, failed := m.failed(err, delivery.Note{})
	if receipt.Detail != "" {
		return fmt.Errorf("%w: %s", failed, receipt.Detail)
	}
	return failed
}

// refused says that the server gave this answer.
func refused(err error, code mautrix.RespError) bool { return errors.Is(err, code) }

// saysNo says that the server would answer the same again: not because of the
// login, and not because it is busy.
func saysNo(err error) bool {
	answered, ok := errors.AsType[mautrix.HTTPError](err)
	if !ok || answered.RespError == nil || refused(err, mautrix.MUnknownToken) {
		return false
	}
	status := answered.Response.StatusCode
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests
}
