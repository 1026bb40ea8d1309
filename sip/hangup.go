package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
	ways := d.byeRequests(cause)
	d.close()
	report := func(err error) {
		s.byes.leave()
		if done != nil {
			done <- err
		}
	}
	if !s.background.run(64*s.t1, func(ctx context.Context) { report(s.stack.tell(ctx, ways, 8*s.t1)) }) {
		report(errByeLost)
	}
}

// byeRequests builds the BYE, in the order in which to try. One that does not
// fit into 1300 bytes goes by TCP first (RFC 3261 section 18.1.1). The lock is
// held.
func (d *dialog) byeRequests(cause Cause) []*sipmsg.Request {
	d.peer.seq++
	network, _ := d.peer.hop()
	bye := d.byeRequest(network, cause)
	if network == "udp" && len(bye.String()) > maxDatagram {
		return []*sipmsg.Request{d.byeRequest("tcp", cause), bye}
	}
	return []*sipmsg.Request{bye}
}

func (d *dialog) byeRequest(network string, cause Cause) *sipmsg.Request {
	from, local := d.from, d.local
	if network != from.network {
		if local = d.server.bound(network); local.IsValid() {
			from = d.server.endpoint(network, d.source.Addr(), local)
		}
		from.network = network // not heard here: the answer comes back on the connection that is made
	}
	req := d.peer.request(sipmsg.BYE, from)
	req.AppendHeader(sipmsg.NewHeader("Reason", qReason(int(cause), cause.String())))
	switch {
	case network == "udp" && local.IsValid():
		req.Laddr = laddr(local)
	case network == d.from.network && d.connected(req.Destination()):
		req.SetDestination(d.source.String())
	}
	return req
}

// connected says whether a request to addr may take the connection the call
// came by: it still stands, and leads to the same host (RFC 5923).
func (d *dialog) connected(addr string) bool {
	next, err := netip.ParseAddrPort(addr)
	if err != nil || next.Addr() != d.source.Addr() {
		return false
	}
	conn, err := d.server.stack.transport.GetConnection(d.from.network, d.source.String())
	if err != nil {
		return false
	}
	_, _ = conn.TryClose() // gives the reference back, no more
	return true
}

// tell sends a BYE the first way that works, until it is answered. A way with
// another behind it has limit: a connection that swallows everything must not
// use up the time of the way that is left.
func (s *stack) tell(ctx context.Context, ways []*sipmsg.Request, limit time.Duration) error {
	var err error
	for i, req := range ways {
		within, cancel := ctx, context.CancelFunc(func() {})
		if i < len(ways)-1 {
			within, cancel = context.WithTimeout(ctx, limit)
		}
		_, err = s.exchange(within, req)
		if cancel(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", errByeLost, err)
}

// bye answers a BYE (RFC 3261 section 15.1.2).
func (s *Server) bye(in *incoming) { in.respond(s.hungUp(in)) }

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
	case d.phase == proceeding:
		return 481 // no response but 100 was sent, so there is no dialog
	case !d.inOrder(in):
		return 500
	case d.phase != over:
		d.heardOK = true
		d.end(ErrCallerHungUp)
		d.close()
	}
	return 200
}
