package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// HTTP are the settings that every channel over HTTP has.
type HTTP struct {
	APIURL       string        `yaml:"api_url" help:"a self-hosted or test server in place of the service's own, like http://127.0.0.1:8081"`
	AllowPrivate bool          `yaml:"allow_private" help:"connect to private and loopback addresses too"`
	Ack          string        `yaml:"ack" enum:"accepted|delivered|read" help:"what counts as arrived: the service accepted the note, delivered it, or it was read"`
	Within       time.Duration `yaml:"within" least:"1s" help:"how long a chain waits until the note has arrived, before the next target has its turn"`
	Rate         delivery.Rate `yaml:"rate" help:"how many requests the service takes, like 30/s, 20/m or 1000/h; empty for no limit" example:"30/s"`
}

func defaultHTTP() HTTP { return HTTP{Ack: "accepted", Within: 10 * time.Minute} }

// validate returns what is wrong with the settings.
func (o *HTTP) validate() (wrong []error) {
	if o.APIURL != "" {
		if _, err := webURL(o.APIURL); err != nil {
			wrong = append(wrong, &settingError{"api_url", err.Error()})
		}
	}
	return wrong
}

// onlyAccepted is what is wrong with ack, or nil, where the service tells
// nothing after it took a note.
func (o *HTTP) onlyAccepted(why string) error {
	if o.Ack == string(delivery.WasAccepted) {
		return nil
	}
	return &settingError{"ack", fmt.Sprintf("expected accepted, not %q: %s", o.Ack, why)}
}

// address is where requests go: the service's own URL, on the server of
// api_url where there is one.
func (o *HTTP) address(own string) (*url.URL, error) {
	u, err := webURL(own)
	if err != nil || o.APIURL == "" {
		return u, err
	}
	server, err := webURL(o.APIURL)
	if err != nil {
		return nil, fmt.Errorf("api_url: %w", err)
	}
	moved := server.JoinPath(u.Path)
	moved.RawQuery = u.RawQuery
	return moved, nil
}

// errURL keeps the URL itself, which may hold secrets, out of the message.
var errURL = errors.New("expected an address like https://host.example/path")

func webURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errURL
	}
	return u, nil
}

// client makes requests for one channel, on connections of its own.
type client struct {
	http      http.Client
	userAgent string
	redact    redactor
	most      int64 // bytes of an answer that are read
}

// maxRequest is longer than any request is waited for with patience: a service
// that takes one and never answers holds nobody for good.
const maxRequest = 6 * time.Minute

// idlePerHost keeps a connection for each send that may be under way.
const idlePerHost = 64

func newClient(o HTTP, env Env, redact redactor) *client {
	return &client{
		userAgent: env.UserAgent,
		redact:    redact,
		most:      maxAnswer,
		http: http.Client{
			Timeout: maxRequest,
			// A redirect could lead anywhere: to the inside, or to another server with our signature.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     Transport(o.AllowPrivate),
		},
	}
}

// Close gives up the idle connections.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Transport connects to what an operator has named: to public addresses alone,
// unless private ones are allowed, and by no proxy.
func Transport(allowPrivate bool) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // one from the environment would get around the guard
		DialContext:            guardedDialer(allowPrivate).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        64 << 10, // most notes leave in one write
		DisableCompression:     true,
	}
}

// answer is what a service said.
type answer struct {
	status int
	after  time.Duration // Retry-After, 0 for none
	body   []byte        // as much of it as is read
	cut    bool          // the body broke off
	date   time.Time     // by the service's clock (RFC 9110 6.6.1), zero where it does not say
}

// maxAnswer is how much of an answer is read, unless the channel says more.
const maxAnswer = 64 << 10

// do makes the request once. Without an answer it returns a
// *delivery.SendError: Retry when the request cannot have arrived whole,
// Unknown when it may have.
func (c *client) do(req *http.Request) (answer, error) {
	var written atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn:      func(string) { written.Store(false) }, // a stale connection: the transport takes another
		WroteRequest: func(info httptrace.WroteRequestInfo) { written.Store(info.Err == nil) },
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req) //nolint:gosec // the operator names the address, the dialer guards the inside
	if err != nil {
		return answer{}, c.unanswered(err, written.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	// The status has decided: a body that breaks off changes nothing.
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.most))
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return answer{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"), time.Now()), body, err != nil, date}, nil
}

// unanswered classifies a request that got no answer.
func (c *client) unanswered(err error, written bool) *delivery.SendError {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // its text has the whole URL
	}
	failed := &delivery.SendError{Outcome: delivery.Retry, Credentials: errors.Is(err, errPrivate)}
	failed.Err = fmt.Errorf("the request did not get through: %w", c.safe(err))
	if written {
		failed.Outcome = delivery.Unknown
		failed.Err = fmt.Errorf("the request got through, its answer did not: %w", c.safe(err))
	}
	return failed
}

// safe is an error whose text has none of the channel's secrets.
func (c *client) safe(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the time for an attempt is over")
	}
	if text := c.redact.hide(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// maxRetryAfter bounds what a service may ask for; a job lives for a week.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads seconds or a date (RFC 9110 10.2.3); 0 for anything else.
func retryAfter(value string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// rule says what the statuses from first to last mean.
type rule struct {
	first, last int
	outcome     delivery.Outcome
	credentials bool
	hint        string // what to do about it, "" when there is nothing to do
}

// doubts say what it means that a service fails which may have taken the note
// all the same; a channel's own rules come after them.
var doubts = []rule{
	{503, 503, delivery.Retry, false, ""}, // it was not taken
	{500, 599, delivery.Unknown, false, ""},
}

// verdict reads an answer by a channel's table; the first rule that fits
// counts. Nothing that no rule knows is delivered.
func (c *client) verdict(rules []rule, a answer, n delivery.Note) (delivery.Receipt, error) {
	said := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	r := find(rules, a.status)
	if r.outcome == delivery.Done {
		return delivery.Receipt{Detail: said}, nil
	}
	failed := &delivery.SendError{Outcome: r.outcome, Status: a.status, Credentials: r.credentials}
	failed.Err = hinted(errors.New("the service answered "+said), r.hint)
	if r.outcome != delivery.Dead {
		failed.After = a.after
	}
	return delivery.Receipt{Detail: c.redact.excerpt(a.body, n)}, failed
}

// hinted adds what to do about an error, "" for nothing.
func hinted(err error, hint string) error {
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}

func find(rules []rule, status int) rule {
	for _, r := range rules {
		if r.first <= status && status <= r.last {
			return r
		}
	}
	return rule{outcome: delivery.Dead, hint: "this is no status that the service documents"}
}
