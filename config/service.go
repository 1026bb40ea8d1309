package config

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
)

// DirectoryOptions is the `directory` part of the file.
type DirectoryOptions struct {
	File         string        `yaml:"file" path:"true" help:"a CSV file, read again when it changes; a version with mistakes leaves the mailboxes as they are" example:"mailboxes.csv"`
	URL          string        `yaml:"url" help:"a service that is asked for each mailbox: GET with ?user= and &number=" example:"https://crm.example/mailbox"`
	Token        string        `yaml:"token" secret:"true" help:"sent to the service: Authorization: Bearer TOKEN" example:"${DIRECTORY_TOKEN}"`
	AllowPrivate bool          `yaml:"allow_private" help:"connect to private and loopback addresses too"`
	Fresh        time.Duration `yaml:"fresh" least:"1s" help:"how long the service's answer counts before it is asked again; the last one counts for 30 days while it cannot be asked"`
}

func (d *decoder) checkDirectory(o DirectoryOptions) {
	u, err := url.Parse(o.URL)
	switch {
	case o.File != "" && o.URL != "":
		d.problem("directory.url", "expected a file or a url, not both")
	case o.URL != "" && (err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http"):
		d.problem("directory.url", "expected an address like https://crm.example/mailbox")
	case o.URL != "" && u.User != nil:
		d.problem("directory.url", "expected an address without a login: give the service a token")
	case o.URL == "" && o.Token != "":
		d.problem("directory.token", "there is no url that it could be sent to")
	}
}

const (
	askWithin   = 3 * time.Second     // a caller waits: another gateway may know better
	askedAgain  = time.Second         // of that where the last answer is known
	askedAtOnce = 64                  // questions
	recallIn    = time.Second / 2     // before the service is asked
	freshNone   = 30 * time.Second    // at most, of the answer that there is no mailbox
	restFor     = 5 * time.Second     // after a failure: mailboxes that are known do without asking
	keepAnswer  = 30 * 24 * time.Hour // that the service cannot be asked
	keepAgain   = 24 * time.Hour      // an answer that is still the same
	maxAnswer   = 64 << 10            // bytes
	saidFor     = time.Minute         // of a failure that goes on
)

// question is what the service is asked.
type question struct {
	user   string // the SIP user part
	number string // the same in E.164, where that is something else; else ""
}

// service is a directory that is asked by HTTP, see deploy/directory.md. What
// it said is kept, so that it is asked seldom and may be away.
type service struct {
	config  *Config // its channels and retention
	memory  delivery.Memory
	counts  *asked
	log     *slog.Logger
	http    http.Client
	answers answers
	asking  chan struct{} // has room for askedAtOnce

	mu      sync.Mutex
	flights map[question]*flight
	failed  time.Time // the last time
	said    time.Time
	closed  bool
	running sync.WaitGroup // of flights; none begins once closed
}

// flight is one question for all who ask it at once.
type flight struct {
	done    chan struct{} // closed when the rest is filled
	mailbox *Mailbox
	err     error
}

// errClosed is what a service says that is no longer there.
var errClosed = errors.New("the directory was closed")

func newService(c *Config, memory delivery.Memory, counts *asked, log *slog.Logger) *service {
	if memory == nil {
		memory = &delivery.Scratch{}
	}
	return &service{
		config: c, memory: memory, counts: counts, log: log,
		http: http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it could lead anywhere
			Transport:     channel.Transport(c.Directory.AllowPrivate),
		},
		asking: make(chan struct{}, askedAtOnce), flights: map[question]*flight{},
	}
}

// close waits for what is being asked.
func (s *service) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	s.http.CloseIdleConnections()
}

// find returns the mailbox of a number: as the service said a while ago, else
// as it says now, else, while it cannot be asked, as it said the last time.
func (s *service) find(ctx context.Context, user, number string) (*Mailbox, error) {
	q := question{user, number}
	if number == user {
		q.number = ""
	}
	a := s.known(ctx, q)
	asking := ctx
	if a.mailbox != nil {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, askedAgain)
		defer cancel()
	}
	switch {
	case a.fresh(s.config.Directory.Fresh):
		return a.result()
	case a.mailbox != nil && s.resting():
		return a.mailbox, nil
	}
	m, err := s.ask(asking, q)
	if a.mailbox != nil && err != nil && !errors.Is(err, ErrNoMailbox) {
		return a.mailbox, nil
	}
	return m, err
}

// known is what the service said the last time, whether to this process or to
// one before it.
func (s *service) known(ctx context.Context, q question) answer {
	if a, ok := s.answers.get(q); ok {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, recallIn)
	defer cancel()
	a, err := s.recall(ctx, q)
	if err != nil {
		s.log.Warn("what the directory said cannot be recalled", "error", err)
	}
	if a.mailbox != nil {
		s.answers.put(q, a)
	}
	return a
}

// resting says whether the service failed a moment ago.
func (s *service) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failed.IsZero() && time.Since(s.failed) < restFor
}

// down says whether the service failed the last time.
func (s *service) down() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failed.IsZero()
}

// ask asks the service, once for all who ask the same.
func (s *service) ask(ctx context.Context, q question) (*Mailbox, error) {
	s.mu.Lock()
	f, flies := s.flights[q]
	if a, ok := s.answers.get(q); ok && !flies && a.fresh(s.config.Directory.Fresh) { // answered since it was looked for
		s.mu.Unlock()
		return a.result()
	}
	if s.closed && !flies {
		s.mu.Unlock()
		return nil, errClosed
	}
	if !flies {
		f = &flight{done: make(chan struct{})}
		s.flights[q] = f
		s.running.Go(func() { s.fly(context.WithoutCancel(ctx), q, f) })
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.mailbox, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fly asks, and keeps the answer.
func (s *service) fly(ctx context.Context, q question, f *flight) {
	asking, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	a, err := s.request(asking, q)
	var remember []func(context.Context)
	if err == nil {
		remember = append(remember, s.learn(q, a))
		f.mailbox, err = a.result()
	}
	if f.mailbox != nil {
		if own := (question{user: f.mailbox.Number}); own != q { // so it is found by what notes call it
			remember = append(remember, s.learn(own, a))
		}
	}
	f.err = err
	answered := err == nil || errors.Is(err, ErrNoMailbox)
	s.counts.count(f.mailbox, answered)
	s.tell(err, answered) // first, so that who asks next knows of a failure
	s.mu.Lock()
	delete(s.flights, q)
	s.mu.Unlock()
	close(f.done)
	ctx, stop := context.WithTimeout(ctx, askWithin)
	defer stop()
	for _, do := range remember {
		do(ctx)
	}
}

// tell remembers how the service stands, and says so where it fails.
func (s *service) tell(err error, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered {
		if !s.failed.IsZero() {
			s.log.Info("the directory answers again", "key", "directory.url")
		}
		s.failed, s.said = time.Time{}, time.Time{}
		return
	}
	s.failed = time.Now()
	if s.said.IsZero() || time.Since(s.said) >= saidFor {
		s.said = s.failed
		s.log.Error("the directory does not answer; what it said before counts", "key", "directory.url", "error", err)
	}
}

// request asks the service over the network. No mailbox is an answer too.
func (s *service) request(ctx context.Context, q question) (answer, error) {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return answer{}, errSlow
	}
	req, err := s.newRequest(ctx, q)
	if err != nil {
		return answer{}, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{}, unasked(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return answer{asked: time.Now()}, nil
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return answer{}, fmt.Errorf("the service answered %d %s: does it know directory.token?", resp.StatusCode, http.StatusText(resp.StatusCode))
	case resp.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("the service answered %d %s: expected 200 with a mailbox, or 404", resp.StatusCode, http.StatusText(resp.StatusCode))
	case err != nil:
		return answer{}, unasked(err)
	case len(body) > maxAnswer:
		return answer{}, fmt.Errorf("the service answered with more than %d kB: expected one mailbox", maxAnswer>>10)
	}
	a, err := s.read(q, body)
	a.asked = time.Now()
	return a, err
}

func (s *service) newRequest(ctx context.Context, q question) (*http.Request, error) {
	u, err := url.Parse(s.config.Directory.URL)
	if err != nil {
		return nil, errors.New("directory.url is no address")
	}
	query := u.Query()
	query.Set("user", q.user)
	if q.number != "" {
		query.Set("number", q.number)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("directory.url is no address")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "afterbeep")
	if token := s.config.Directory.Token; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

var errSlow = fmt.Errorf("the service did not answer within %v", askWithin)

// unasked is why there is no answer, without the address, which has the number.
func unasked(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errSlow
	}
	return fmt.Errorf("the service cannot be asked: %w", err)
}

// read reads a mailbox. Its mistakes come back as [FileErrors].
func (s *service) read(q question, body []byte) (answer, error) {
	var e entry
	d := newDecoder("the answer")
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&e); err != nil {
		d.problem("", "expected a mailbox in JSON, see deploy/directory.md: %v", err)
		return answer{}, d.problems()
	}
	e.Number = cmp.Or(e.Number, q.number, q.user)
	m := d.mailbox(s.config, e)
	if p, err := parsePattern(m.Number); err == nil && !p.exact() {
		d.problem("number", "expected the number of one mailbox, not of many")
	}
	if err := d.problems(); err != nil {
		return answer{}, err
	}
	written, err := json.Marshal(e)
	return answer{mailbox: &m, entry: written}, err
}
