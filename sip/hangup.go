package sip

import (
	"context"
	"errors"
	"fmt"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Cause is why the gateway hangs up: a Q.850 cause, which the BYE carries as
// its Reason (RFC 3326).
type Cause int

// The causes of ITU-T Q.850 that a BYE of the gateway may carry.
const (
	CauseNormal      Cause = 16  // normal call clearing: the maximum length is reached
	CauseUnspecified Cause = 31  // normal, unspecified
	CauseNetwork     Cause = 38  // network out of order: a fault on our side
	CauseTimeout     Cause = 102 // recovery on timer expiry: no RTP, no ACK
)

// causeTexts are what Q.850 calls the causes.
var causeTexts = map[Cause]string{
	CauseNormal:      "Normal call clearing",
	CauseUnspecified: "Normal, unspecified",
	CauseNetwork:     "Network out of order",
	CauseTimeout:     "Recovery on timer expiry",
}

// String is what Q.850 calls the cause.
func (c Cause) String() string {
	if text, ok := causeTexts[c]; ok {
		return text
	}
	return fmt.Sprintf("cause %d", int(c))
}

// Errors of what a handler asks of its call.
var (
	errAnswered    = errors.New("the call was answered before")
	errNotAnswered = errors.New("the call was not answered: refuse it instead")
	errByeLost     = errors.New("the peer did not answer the BYE")
)

// Hangup ends an answered call: a BYE with the cause as its Reason, sent again
// until it is answered. The handler's context ends at once, with ErrHungUp.
// Hangup itself waits for the answer, or for ctx, which therefore must not be
// the handler's own. Before the ACK no BYE may be sent (RFC 3261 section 15),
// so then it goes out when the ACK comes or the wait for it is over.
func (c *Call) Hangup(ctx context.Context, cause Cause) error {
	answered, err := c.dialog.startHangUp(cause)
	if err != nil {
		return err
	}
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the answer to the BYE: %w", context.Cause(ctx))
	}
}

// startHangUp is hangUp, where there is something to hang up.
func (d *dialog) startHangUp(cause Cause) (<-chan error, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.gone(); err != nil {
		return nil, err
	}
	if d.phase == proceeding {
		return nil, errNotAnswered
	}
	return d.hangUp(ErrHungUp, cause), nil
}

// hangUp ends an answered call. What is returned yields once, when the BYE is
// answered or given up. The lock is held.
func (d *dialog) hangUp(why error, cause Cause) <-chan error {
	d.end(why)
	d.byeDone = make(chan error, 1)
	if d.phase == accepted {
		d.goodbye = cause
		d.server.byes.enter()
	} else {
		d.bye(cause)
	}
	return d.byeDone
}

// bye sends the BYE and closes the dialog. The lock is held.
func (d *dialog) bye(cause Cause) {
	s, done := d.server, d.byeDone
	if d.goodbye == 0 { // else it was counted when it was put off
		s.byes.enter()
	}
	d.goodbye = 0
	ways := d.requests(sipmsg.BYE, nil, sipmsg.NewHeader("Reason", qReason(int(cause), cause.String())))
	d.close()
	report := func(err error) {
		s.byes.leave()
		if done != nil {
			done <- err
		}
	}
	if !s.background.run(64*s.t1, func(ctx context.Context) { report(s.stack.bye(ctx, ways, 8*s.t1)) }) {
		report(errByeLost)
	}
}

// requests builds the next request within the dialog, in the order in which to
// try. The lock is held.
func (d *dialog) requests(method sipmsg.RequestMethod, offer []byte, headers ...sipmsg.Header) []*sipmsg.Request {
	return d.ways(method, func(req *sipmsg.Request) {
		for _, h := range headers {
			req.AppendHeader(h)
		}
		describe(req, offer)
	})
}

// bye sends a BYE until it is answered.
func (s *stack) bye(ctx context.Context, ways []*sipmsg.Request, limit time.Duration) error {
	if _, err := s.ask(ctx, ways, limit); err != nil {
		return fmt.Errorf("%w: %w", errByeLost, err)
	}
	return nil
}

// ask sends a request the first way that works, until it is answered. A way
// with another behind it has limit: a connection that swallows everything must
// not use up the time of the way that is left.
func (s *stack) ask(ctx context.Context, ways []*sipmsg.Request, limit time.Duration) (res *sipmsg.Response, err error) {
	for i, req := range ways {
		within, cancel := ctx, context.CancelFunc(func() {})
		if i < len(ways)-1 {
			within, cancel = context.WithTimeout(ctx, limit)
		}
		res, err = s.exchange(within, req)
		if cancel(); err == nil {
			return res, nil
		}
	}
	return nil, err
}

// bye answers a BYE (RFC 3261 section 15.1.2).
func (s *Server) bye(in *incoming) {
	if code := s.hungUp(in); code == 200 {
		in.respond(code)
	} else {
		in.respondOnce(code)
	}
}

// hungUp does what a BYE asks, when it arrives, and tells how to answer it,
// when it is served.
func (s *Server) hungUp(in *incoming) (code int) {
	d, known := s.find(in)
	switch {
	case !known:
		return 481
	case d == nil: // it crossed ours
		return 200
	}
	return d.hungUp(in)
}

// hungUp ends the call at the peer's BYE.
func (d *dialog) hungUp(in *incoming) (code int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.phase == proceeding && d.ringing == nil:
		return 481 // no response but 100 was sent, so there is no dialog
	case !d.inOrder(in):
		return 500
	case d.phase == proceeding:
		d.refuse(ErrCancelled, 487) // RFC 3261 section 15.1.2
	case d.phase != over:
		d.heardOK = true
		d.end(ErrCallerHungUp)
		d.close()
	}
	return 200
}
