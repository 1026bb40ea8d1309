package call

import (
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

// MaySubscribe says whether a source may be told of a message lamp: of as many
// mailboxes as it may call, or who may not guess by calls would guess so. What
// it subscribes to takes nothing from its calls.
func (p *Path) MaySubscribe(w sip.Watcher, callee sip.Callee, found bool) bool {
	return p.lamped.admit(w.Source, numberOf(w.Callees, callee, found), w.Trunk.Limits.Callees, time.Now())
}
