package call

import (
	"net/netip"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/sip"
)

// unwanted is why a call gets the refusal of an unknown number, "" when it
// gets an answer. Each reason costs the same: who calls must not learn from the
// time which it was.
func (p *Path) unwanted(c *sip.Call, m *config.Mailbox, callee sip.Callee) Outcome {
	within := p.asked.admit(c.Source.Addr(), numberOf(c.Callees, callee, m != nil), c.Trunk.Limits.Callees, time.Now())
	switch {
	case m == nil:
		return UnknownMailbox
	case !within:
		return TooManyCallees
	case m.Disabled:
		return Disabled
	case m.Blocks(c.Caller, c.Trunk.Country):
		return Blocked
	}
	return ""
}

// MaySubscribe says whether a source may be told of the message lamp of one of
// those it named, callee where that one has a mailbox: as many different numbers
// as it may call, or who may not guess by calls would guess by SUBSCRIBE.
func (p *Path) MaySubscribe(t *sip.Trunk, source netip.Addr, callees []sip.Callee, callee sip.Callee, found bool) bool {
	return p.lamped.admit(source, numberOf(callees, callee, found), t.Limits.Callees, time.Now())
}
