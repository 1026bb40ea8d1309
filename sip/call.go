package sip

import (
	"context"
	"errors"
	"net/netip"
)

// Handler takes one call from its INVITE to its end, on a goroutine of its
// own. ctx ends with the dialog, context.Cause says why: one of the errors
// below. It may be over at the start, when the CANCEL was as quick as the
// INVITE. When the handler returns, a call it did not answer gets a 500, one
// that is still up a BYE. A panic in it costs that call alone.
type Handler func(ctx context.Context, c *Call)

// Why a dialog ended, as context.Cause of the handler's context.
var (
	ErrCallerHungUp = errors.New("the caller hung up")            // BYE
	ErrCancelled    = errors.New("cancelled before the answer")   // CANCEL
	ErrElsewhere    = errors.New("answered elsewhere")            // CANCEL with Reason SIP;cause=200 or Q.850;cause=26
	ErrNoPRACK      = errors.New("no PRACK came to the 180")      // 64*T1 passed, 504 sent
	ErrNoACK        = errors.New("no ACK came to the 200 OK")     // 64*T1 passed, BYE sent; or the 200 OK could not be sent
	ErrExpired      = errors.New("the session was not refreshed") // RFC 4028, BYE sent
	ErrHungUp       = errors.New("the gateway hung up")           // Hangup was called
	ErrShutdown     = errors.New("the gateway is shutting down")  // Close was called
)

// Call is one INVITE and the dialog that came of it.
type Call struct {
	ID     string         // minted at the INVITE, names the call everywhere
	CallID string         // the Call-ID header
	Trunk  *Trunk         // where it came from
	Source netip.AddrPort // the address that sent the INVITE

	Callees []Callee // who was called: candidates in the trunk's order, best first
	Caller  Caller
	Offer   []byte // the SDP offer; nil when the INVITE carried none (RFC 3264: then Answer carries ours)

	dialog *dialog
}

// Sources are the networks that a call's audio may come from besides the
// address its SDP names: those of the trunk, and the source of the INVITE. Of a
// trunk that takes calls from everywhere that source alone counts.
func (c *Call) Sources() []netip.Prefix {
	source := c.Source.Addr().Unmap().WithZone("")
	networks := []netip.Prefix{netip.PrefixFrom(source, source.BitLen())}
	for _, p := range c.Trunk.From {
		if p.Bits() > 0 {
			networks = append(networks, p)
		}
	}
	return networks
}

// Callee is a candidate for the mailbox that was called.
type Callee struct {
	User   string // the user part as it came
	Number string // the same in E.164 with "+", or "" when it is not a number
	Reason string // missed, busy, unreachable, forwarded, declined, or "" when unknown
	Header string // where it was read, for the call record: target, history-info, diversion, …
}

// Caller is who called, as far as the trunk is believed.
type Caller struct {
	Number  string // E.164 where it can be, else the user part; "" when Private
	Name    string // display name; "" when Private
	Private bool   // RFC 3323 privacy was asked for, or the identity is anonymous
	Trust   string // verified: a believed trunk vouches for the number; doubtful: it may be spoofed; "" when nobody says
}

// Negotiator is the media side of a dialog: what the call's leg must do when
// the peer offers again.
type Negotiator interface {
	// Negotiate answers a new offer (re-INVITE, UPDATE). An error means 488.
	Negotiate(offer []byte) (answer []byte, err error)
	// Description is our side as it stands: the answer to a re-INVITE without an offer.
	Description() []byte
	// Answered takes the peer's answer to our own offer, out of the ACK.
	Answered(answer []byte) error
}
