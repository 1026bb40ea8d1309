package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/afterbeep/afterbeep/delivery"
)

// The suite is what every channel over HTTP has in common, whichever way its
// service wants a note: in one request, or in several of which one carries it
// (an upload, a line of text, then the note).
//
// To add a channel, put a subject beside its own tests and a line into
// subjects. options, secrets and verify are needed always. A service that wants
// several requests, or answers with more than a status, has success and final;
// one whose errors are in the body has fault; one that tells a repeat by a key
// has key. Where its table of statuses differs from common, say so in statuses,
// and in earlier what differs before the request that carries the note.
// Nothing of a service is known to the suite itself.
//
// What must hold: one note, one request that carries it; an answer that is lost
// there is Unknown, any earlier one Retry, as nothing was sent yet; what fails
// after it undoes nothing; no error and no receipt shows a secret, a number or
// a name; no redirect is followed, no inside address reached without leave.

// subject is how the suite sets up one type of channel.
type subject struct {
	name string
	// options are for a service at server, a URL without a path, with leave for
	// private addresses; nil for a channel that makes no requests by itself.
	options func(server string) Options
	reason  string                 // why options is nil
	env     func(t *testing.T) Env // nil for testEnv
	address string                 // of the target; "" for one that does not matter
	secrets []string               // what none of its errors and receipts may show
	// verify checks the request that carries the note as the service would.
	verify func(t *testing.T, r *http.Request, body []byte, n delivery.Note)
	// key is by what the service tells a repeat, "" for nothing; nil where the
	// service cannot.
	key func(r *http.Request, body []byte) string

	success http.HandlerFunc                              // answers each request well; nil for an empty 200
	final   func(r *http.Request) bool                    // says whether a request carries the note, and may read the body; nil when each does
	most    int64                                         // bytes of the largest file that travels along; 0 when none does
	fault   func(http.ResponseWriter, *http.Request, int) // answers with a status and the service's own error, asking for 90 s where it can; nil for echo

	statuses map[int]meaning   // where they differ from common
	earlier  map[int]meaning   // where they differ from that in requests before the one that carries the note
	settles  time.Duration     // how long a lost answer's own status is waited for
	skip     map[string]string // cases that cannot be, and why: names of cases and of faults
}

// meaning is what a status says about a note.
type meaning struct {
	outcome     delivery.Outcome
	credentials bool
	after       time.Duration // how long the service asks to wait
	says        string        // a part of the error: what to do about it
}

// common is what most services mean by a status.
var common = map[int]meaning{
	400: {delivery.Dead, false, 0, ""},
	401: {delivery.Retry, true, 90 * time.Second, ""},
	403: {delivery.Retry, true, 90 * time.Second, ""},
	404: {delivery.Dead, false, 0, ""},
	408: {delivery.Retry, false, 90 * time.Second, ""},
	410: {delivery.Dead, false, 0, ""},
	413: {delivery.Dead, false, 0, ""},
	425: {delivery.Retry, false, 90 * time.Second, ""},
	429: {delivery.Retry, false, 90 * time.Second, ""},
	500: {delivery.Retry, false, 90 * time.Second, ""},
	503: {delivery.Retry, false, 90 * time.Second, ""},
	504: {delivery.Retry, false, 90 * time.Second, ""},
}

// subjects has each type of the table at least once.
var subjects = map[string][]subject{
	"inbox":  {{name: "inbox", reason: "the note itself is the message: there is nothing to send"}},
	"matrix": {matrixSubject()},
	"mail":   {{name: "mail", reason: "it speaks SMTP; its own tests go through every reply"}},
	"sms": {
		smsSubject("json"), smsSubject("form"), smsSubject("query"),
	},
	"telegram": telegramSubjects(),
	"webhook": {
		webhookSubject("webhook with a link", false),
		webhookSubject("webhook with the file", true),
	},
	"whatsapp": {whatsAppSubject()},
}

// overHTTP are the subjects that make requests; the operator's channel is no
// type of the table, and passes the same tests.
func overHTTP() []subject {
	all := []subject{operatorSubject()}
	for _, of := range subjects {
		for _, s := range of {
			if s.options != nil {
				all = append(all, s)
			}
		}
	}
	return all
}

// The names of the cases that a subject may skip, beside those of faults.
const (
	caseRepeats   = "repeats"
	caseOversized = "oversized"
	caseFile      = "file"
	caseBreaksOff = "breaks off"
	caseNotIt     = "not the service"
	caseHalfWay   = "half-way"
	caseNobody    = "nobody there"
	caseInside    = "inside"
	caseStatuses  = "statuses"
)

func TestEveryTypeHasItsSubject(t *testing.T) {
	types, tested := slices.Sorted(maps.Keys(Table())), slices.Sorted(maps.Keys(subjects))
	if !slices.Equal(types, tested) {
		t.Errorf("the table has %v, the suite %v", types, tested)
	}
	cases := append([]string{
		caseRepeats, caseOversized, caseFile, caseBreaksOff, caseNotIt, caseHalfWay, caseNobody, caseInside, caseStatuses,
	}, slices.Collect(maps.Keys(faults(t)))...)
	for _, of := range subjects {
		for _, s := range of {
			if (s.options == nil) == (s.reason == "") {
				t.Errorf("%s: either it makes requests or there is a reason why it does not", s.name)
			}
			for name, why := range s.skip {
				if !slices.Contains(cases, name) || why == "" {
					t.Errorf("%s skips %q because of %q", s.name, name, why)
				}
			}
		}
	}
}

// run runs one case for every subject that does not skip it.
func run(t *testing.T, name string, f func(t *testing.T, s subject)) {
	for _, s := range overHTTP() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if why, ok := s.skip[name]; ok {
				t.Skip(why)
			}
			f(t, s)
		})
	}
}

// open makes the subject's channel for a service at server.
func (s subject) open(t *testing.T, server string) delivery.Channel {
	t.Helper()
	env := testEnv(t)
	if s.env != nil {
		env = s.env(t)
	}
	return openWith(t, s.options(server), env)
}

func (s subject) parcel(n delivery.Note) delivery.Parcel {
	p := parcelOf(n)
	if s.address != "" {
		p.Address = s.address
	}
	return p
}

// well answers a request as the service does when all is well.
func (s subject) well(w http.ResponseWriter, r *http.Request) {
	if s.success != nil {
		s.success(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
}

// failed answers a request with a status that is no success.
func (s subject) failed(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.fault != nil {
			s.fault(w, r, status)
			return
		}
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, echo(r))
	}
}

// carries says whether a request carries the note. The body can be read again.
func (s subject) carries(r *http.Request, body []byte) bool {
	if s.final == nil {
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	defer func() { r.Body = io.NopCloser(bytes.NewReader(body)) }()
	return s.final(r)
}

// means is what a status says in the request that carries the note, or before.
func (s subject) means(status int, carrier bool) meaning {
	if m, ok := s.earlier[status]; ok && !carrier {
		return m
	}
	m, ok := s.statuses[status]
	if !ok {
		m = common[status]
	}
	if !carrier && m.outcome == delivery.Unknown { // nothing was sent yet
		m.outcome, m.after = delivery.Retry, 0
	}
	return m
}

// observed is a service that is well and keeps what carried a note.
type observed struct {
	mu      sync.Mutex
	all     int   // requests
	carrier []int // which of them carried the note, from 0
	keys    []string
	fail    func(carriers int) bool // answers a carrier with 503; nil for none
}

func (o *observed) handler(t *testing.T, s subject, n delivery.Note) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.UserAgent() != "afterbeep/test" {
			t.Errorf("user agent %q", r.UserAgent())
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all++
		carries := s.carries(r, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !carries {
			s.well(w, r)
			return
		}
		s.verify(t, r, body, n)
		o.carrier = append(o.carrier, o.all-1)
		if s.key != nil {
			o.keys = append(o.keys, s.key(r, body))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if o.fail != nil && o.fail(len(o.carrier)) {
			s.failed(http.StatusServiceUnavailable)(w, r)
			return
		}
		s.well(w, r)
	}
}

// survey sends a note to a service that is well: which of its requests, from
// 0, carries it, and how many there are.
func (s subject) survey(t *testing.T) (carrier, all int) {
	t.Helper()
	var seen observed
	n := sampleNote()
	receipt, err := s.open(t, serve(t, seen.handler(t, s, n)).URL).Send(t.Context(), s.parcel(n))
	if err != nil {
		t.Fatalf("a service that is well: %v", err)
	}
	if receipt.Detail == "" {
		t.Error("the receipt has no detail")
	}
	s.hides(t, receipt.Detail, n)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.carrier) != 1 {
		t.Fatalf("requests that carry the note: %v of %d", seen.carrier, seen.all)
	}
	return seen.carrier[0], seen.all
}

// hides looks for what an error or a receipt must not show, names word by word:
// captions and escapes write them in their own way.
func (s subject) hides(t *testing.T, shown string, n delivery.Note) {
	t.Helper()
	private := []string{s.address, n.Caller.Number, n.Recipient.Number}
	words := strings.FieldsFunc(n.Caller.Name+" "+n.Recipient.Name, func(c rune) bool { return !unicode.IsLetter(c) })
	for _, secret := range slices.Concat(s.secrets, private, words) {
		if len(secret) > 2 && strings.Contains(shown, secret) {
			t.Errorf("%q shows %q", shown, secret)
		}
	}
}

// fail sends a parcel that must not arrive.
func (s subject) fail(t *testing.T, c delivery.Channel, p delivery.Parcel, patience time.Duration) *delivery.SendError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	receipt, err := c.Send(ctx, p)
	return s.failure(t, p, receipt, err)
}

// failure is what came of a parcel that must not arrive.
func (s subject) failure(t *testing.T, p delivery.Parcel, receipt delivery.Receipt, err error) *delivery.SendError {
	t.Helper()
	var failed *delivery.SendError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v, want a *delivery.SendError", err)
	}
	s.hides(t, failed.Error()+receipt.Detail, p.Note)
	if strings.ContainsAny(receipt.Detail, "\r\n\x00") || len(receipt.Detail) > 1000 {
		t.Errorf("the detail is %q", receipt.Detail)
	}
	return failed
}
