package sip

import (
	"context"
	"fmt"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Notify tells a PBX that did not subscribe what waits in a mailbox: a NOTIFY
// outside any dialog to the address that Trunk.MWI makes of the mailbox. It
// returns when that is answered, with a *StatusError when the answer is no 2xx,
// or given up after 64*T1. The state is told as active: nothing has ended.
func (s *Server) Notify(ctx context.Context, address, mailbox string, m Messages) error {
	target, err := lampURI(address, mailbox)
	if err != nil {
		return err
	}
	network, addr := hop(target, "udp")
	remote, err := resolve(ctx, addr)
	if err != nil {
		return err
	}
	from, local := s.leaving(network, remote.Addr())
	us := from.contact().Address
	us.User = target.User
	p := peer{
		callID: sipmsg.GenerateTagN(24) + "@" + from.host, target: target, seq: 1, network: network,
		local:  &sipmsg.FromHeader{Address: us, Params: sipmsg.HeaderParams{{K: "tag", V: sipmsg.GenerateTagN(12)}}},
		remote: &sipmsg.ToHeader{Address: target},
	}
	req := p.request(sipmsg.NOTIFY, from)
	req.SetDestination(remote.String())
	if network == "udp" && local.IsValid() {
		req.Laddr = laddr(local)
	}
	notice{from, eventSummary, "active", us.String(), m}.complete(req)
	return s.notify(ctx, []*sipmsg.Request{req})
}

// notice is what a NOTIFY says (RFC 6665 section 4.2.2).
type notice struct {
	from    endpoint
	event   string // with the id that the subscriber gave
	state   string
	account string
	m       Messages
}

// notify sends a NOTIFY the first way that works.
func (s *Server) notify(ctx context.Context, ways []*sipmsg.Request) error {
	res, err := s.stack.ask(ctx, ways, 8*s.t1)
	if err == nil && !res.IsSuccess() {
		err = &StatusError{res.StatusCode, phraseOf(res)}
	}
	if err != nil {
		s.stats.unnotified.Add(1)
		return fmt.Errorf("NOTIFY: %w", err)
	}
	s.stats.notified.Add(1)
	return nil
}

func (n notice) complete(req *sipmsg.Request) {
	req.AppendHeader(n.from.contact())
	req.AppendHeader(sipmsg.NewHeader("Event", n.event))
	req.AppendHeader(sipmsg.NewHeader("Subscription-State", n.state))
	req.AppendHeader(sipmsg.NewHeader("Content-Type", typeSummary))
	req.SetBody(summary(n.account, n.m))
}
