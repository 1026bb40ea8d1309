package sip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// clientAllow is what a placed call understands.
const clientAllow = "INVITE, ACK, CANCEL, BYE, OPTIONS"

// Timing is how long a call took to be set up and ended.
type Timing struct {
	Trying time.Duration // INVITE to the first provisional response; 0 when none came
	Answer time.Duration // INVITE to the 200 OK
	Bye    time.Duration // Bye's BYE to its response; 0 before
}

// Dialog is a call that a Client placed and that was answered.
type Dialog struct {
	Answer []byte // the SDP of the 200 OK

	client *Client
	from   endpoint
	server string        // where the INVITE goes
	login  sipmsg.Header // that it carried; nil for none
	done   chan struct{}
	finish sync.Once

	mu     sync.Mutex
	peer   peer
	timing Timing
	ack    *sipmsg.Request // kept for 2xx that are resent
}

// Done is closed when the call is over, whoever ended it.
func (d *Dialog) Done() <-chan struct{} { return d.done }

// Timing returns what was measured so far.
func (d *Dialog) Timing() Timing {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.timing
}

// Bye hangs up. It returns when the BYE is answered, with a *StatusError when
// the answer is no 2xx.
func (d *Dialog) Bye(ctx context.Context) error {
	defer d.over()
	d.mu.Lock()
	d.peer.seq++
	req := d.request(sipmsg.BYE)
	d.mu.Unlock()
	start := time.Now()
	res, err := d.client.stack.exchange(ctx, req)
	if err != nil {
		return fmt.Errorf("send the BYE: %w", err)
	}
	d.mu.Lock()
	d.timing.Bye = time.Since(start)
	d.mu.Unlock()
	if !res.IsSuccess() {
		return &StatusError{res.StatusCode, res.Reason}
	}
	return nil
}

// over ends the dialog, once.
func (d *Dialog) over() {
	d.finish.Do(func() {
		d.client.drop(d)
		close(d.done)
	})
}

// request builds a request that leaves by the client's socket.
func (d *Dialog) request(method sipmsg.RequestMethod) *sipmsg.Request {
	req := d.peer.request(method, d.from)
	if d.from.network == "udp" {
		req.Laddr = laddr(d.client.local)
	}
	return req
}

// call sends an INVITE and returns its final response. A 2xx has its ACK then.
func (c *Client) call(ctx context.Context, d *Dialog, r Request, login *credentials) (*sipmsg.Response, error) {
	req, err := d.invite(r, login)
	if err != nil {
		return nil, err
	}
	start, patience := time.Now(), cmp.Or(r.Patience, 64*t1)
	silent := time.NewTimer(patience)
	defer silent.Stop()
	tx, err := c.stack.begin(ctx, req)
	if err != nil {
		return nil, orClosed(req, fmt.Errorf("send the INVITE: %w", err))
	}
	heard, cancelled, asked, ended := false, false, false, ctx.Done()
	for {
		select {
		case res := <-tx.Responses():
			silent.Stop()
			switch {
			case res.IsProvisional():
				heard = true
				d.tried(start)
			case !res.IsSuccess(): // sipgo sends the ACK, and again when it must
				if cancelled {
					return nil, context.Cause(ctx)
				}
				return res, nil
			default:
				tx.Terminate() // a 2xx that comes again is a stray
				if err := d.answered(res, start); err != nil || !cancelled {
					return res, err
				}
				c.hangUp(d)
				return nil, context.Cause(ctx)
			}
		case <-silent.C:
			tx.Terminate()
			return nil, cmp.Or[error](context.Cause(ctx), &SilentError{req.Destination(), patience})
		case <-tx.Done():
			if errors.Is(tx.Err(), sipmsg.ErrTransactionTimeout) && !heard {
				return nil, &SilentError{req.Destination(), 64 * t1}
			}
			return nil, orClosed(req, fmt.Errorf("no answer to the INVITE: %w", tx.Err()))
		case <-ended:
			cancelled, ended = true, nil
		}
		// A CANCEL may only follow a provisional response (RFC 3261 section 9.1).
		if cancelled && !asked && heard {
			asked = true
			c.cancel(req)
		}
	}
}

// orClosed says so when an error means that the connection was closed.
func orClosed(req *sipmsg.Request, err error) error {
	if errors.Is(err, sipmsg.ErrTransactionTransport) && sipmsg.IsReliable(req.Transport()) {
		return &ClosedError{req.Destination()}
	}
	return err
}

// tried notes the first provisional response.
func (d *Dialog) tried(start time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timing.Trying == 0 {
		d.timing.Trying = time.Since(start)
	}
}

// answered sets up the dialog and sends the ACK (RFC 3261 sections 12.1.2 and
// 13.2.2.4).
func (d *Dialog) answered(res *sipmsg.Response, start time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timing.Answer = time.Since(start)
	d.Answer = res.Body()
	if to := res.To(); to != nil {
		d.peer.remote = to
	}
	if contact := res.Contact(); contact != nil {
		d.peer.target = contact.Address
	}
	routes := recordRoutes(res)
	for i := range routes {
		d.peer.routes = append(d.peer.routes, routes[len(routes)-1-i])
	}
	d.ack = d.request(sipmsg.ACK)
	if d.login != nil {
		d.ack.AppendHeader(d.login)
	}
	if err := d.client.stack.transport.WriteMsg(d.ack); err != nil {
		_, addr := d.peer.hop()
		return &ContactError{addr, err}
	}
	return nil
}

// cancel sends the CANCEL of an INVITE (RFC 3261 section 9.1).
func (c *Client) cancel(invite *sipmsg.Request) {
	req := sipmsg.NewRequest(sipmsg.CANCEL, invite.Recipient)
	req.AppendHeader(invite.Via().Clone())
	forwards := sipmsg.MaxForwardsHeader(70)
	req.AppendHeader(&forwards)
	req.AppendHeader(invite.From())
	req.AppendHeader(invite.To())
	req.AppendHeader(invite.CallID())
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sipmsg.CANCEL})
	req.SetBody(nil)
	req.SetTransport(invite.Transport())
	req.SetDestination(invite.Destination())
	req.Laddr = invite.Laddr
	c.tell(req)
}

// hangUp ends a call that was answered although it was cancelled.
func (c *Client) hangUp(d *Dialog) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peer.seq++
	c.tell(d.request(sipmsg.BYE))
}

// tell sends a request whose answer does not matter.
func (c *Client) tell(req *sipmsg.Request) {
	c.background.run(64*t1, func(ctx context.Context) { _, _ = c.stack.exchange(ctx, req) })
}

// find returns the call a message belongs to.
func (c *Client) find(callID *sipmsg.CallIDHeader) *Dialog {
	if callID == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dialogs[callID.Value()]
}

// stray answers a 2xx that was resent with the same ACK (RFC 3261 section
// 13.2.2.4).
func (c *Client) stray(res *sipmsg.Response) {
	d := c.find(res.CallID())
	if d == nil || !res.IsSuccess() || res.CSeq() == nil || res.CSeq().MethodName != sipmsg.INVITE {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ack != nil {
		_ = d.client.stack.transport.WriteMsg(d.ack) // asked for again when it is lost
	}
}

// request serves what the other side asks: it may hang up, and no more.
func (c *Client) request(req *sipmsg.Request, tx *sipmsg.ServerTx) {
	defer tx.TerminateGracefully()
	d := c.find(req.CallID())
	code := 405
	switch {
	case req.Method == sipmsg.ACK:
		return
	case req.Method == sipmsg.OPTIONS, req.Method == sipmsg.BYE && d != nil:
		code = 200
	case req.Method == sipmsg.BYE:
		code = 481
	case req.Method == sipmsg.INVITE, req.Method == sipmsg.UPDATE:
		code = 488
	}
	_ = tx.Respond(response(req, code, sipmsg.NewHeader("Allow", clientAllow))) // the server asks again
	if d != nil && req.Method == sipmsg.BYE {
		d.over()
	}
}
