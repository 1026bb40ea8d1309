package sip

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// pace is how long an account waits, and for what.
type pace struct {
	answer  time.Duration // from a registrar; then the next one has its turn
	ping    time.Duration // between keep-alives
	retry   time.Duration // after a round that failed; twice as long after each
	longest time.Duration // of those
	refused time.Duration // after a refusal
	leave   time.Duration // for the PBX to answer at a shutdown
}

// defaultPace suits PBXs: a NAT forgets UDP after 30 s or more, and a PBX bans
// who keeps guessing passwords.
var defaultPace = pace{
	answer: 8 * time.Second, ping: 25 * time.Second,
	retry: 5 * time.Second, longest: 2 * time.Minute, refused: 5 * time.Minute,
	leave: 3 * time.Second,
}

// ping is the keep-alive of RFC 5626 section 3.5.1. Over UDP nobody answers
// it, and it keeps a NAT's mapping and a firewall's pinhole.
var ping = []byte("\r\n\r\n")

// AccountStatus is how an account stands with its PBX.
type AccountStatus struct {
	Name       string
	Registered bool      // the PBX sends calls here
	Registrar  string    // the address that has the registration; "" before the first
	Until      time.Time // when it ends unless it is renewed
	Err        error     // why the last try failed; nil when it did not
}

// registration keeps one account registered with its PBX, on a goroutine of
// its own.
type registration struct {
	account Account
	trunk   atomic.Pointer[Trunk]
	server  *Server
	callID  string // one for all REGISTERs (RFC 3261 section 10.2)
	fromTag string
	seq     uint32
	known   []target // where the registrars were when the DNS last answered
	at      *binding // where it is registered; nil when nowhere
	failed  int      // rounds in a row

	mu     sync.Mutex
	status AccountStatus
}

// binding is a registration that a PBX granted.
type binding struct {
	target  target
	contact endpoint
	sight   sight // what the PBX sees as contact
	granted time.Duration
}

func newRegistration(s *Server, a Account, trunk *Trunk) *registration {
	r := &registration{
		account: a, server: s, callID: sipmsg.GenerateTagN(24), fromTag: sipmsg.GenerateTagN(12),
		status: AccountStatus{Name: a.TrunkName()},
	}
	r.trunk.Store(trunk)
	return r
}

// run registers, again and again, until ctx ends; then it tells the PBX to
// send no more calls.
func (r *registration) run(ctx context.Context) {
	for {
		due := r.round(ctx)
		if !r.idle(ctx, due) {
			break
		}
	}
	r.end(context.WithoutCancel(ctx))
}

// round registers with the first registrar that answers, and tells when the
// next round is due. Each begins at the top of the list, so that a PBX which
// was away gets its calls back.
func (r *registration) round(ctx context.Context) time.Duration {
	targets, err := r.locate(ctx)
	for _, t := range targets {
		b, failed := r.register(ctx, t, wish{expires: r.account.expires()}, r.at)
		if failed == nil {
			return r.registered(ctx, b)
		}
		err = errors.Join(err, failed)
	}
	if ctx.Err() != nil {
		return 0
	}
	return r.unregistered(err)
}

// locate finds the registrars, and lets their answers and calls in. Without an
// answer of the DNS they are where they were.
func (r *registration) locate(ctx context.Context) ([]target, error) {
	targets, err := locate(ctx, r.server.dns, r.account.Registrar)
	if len(targets) == 0 {
		targets = r.known
	}
	r.known = targets
	addrs := make([]netip.Addr, len(targets))
	for i, t := range targets {
		addrs[i] = t.addr.Addr()
	}
	r.server.registrars.add(&r.trunk, addrs, time.Now())
	return targets, err
}

// registered notes a success and leaves the PBX where the account was before.
func (r *registration) registered(ctx context.Context, b *binding) time.Duration {
	before := r.at
	news := before == nil || before.target != b.target || r.failed > 0
	r.at, r.failed = b, 0
	r.note(AccountStatus{Registrar: b.target.addr.String(), Until: time.Now().Add(b.granted)})
	if news {
		r.server.log.Info("registered with the PBX", "account", r.account.TrunkName(),
			"registrar", b.target.addr.String(), "expires_s", int(b.granted.Seconds()))
	}
	if before != nil && before.sight != b.sight {
		r.server.registrars.forget(before.sight)
	}
	if before != nil && before.target != b.target {
		_ = r.leave(ctx, before) // it runs out by itself where this fails
	}
	early := 0.7 + 0.2*rand.Float64() //nolint:gosec // so that a fleet does not renew in step
	return time.Duration(early * float64(b.granted))
}

// unregistered notes a failure. What a PBX granted before counts until it ends.
func (r *registration) unregistered(err error) time.Duration {
	r.mu.Lock()
	before := r.status
	r.mu.Unlock()
	wait := min(r.server.pace.retry<<min(r.failed, 10), r.server.pace.longest)
	wait = wait/2 + rand.N(wait/2) //nolint:gosec // so that a fleet does not try in step
	refused := (*RegisterError)(nil)
	if errors.As(err, &refused) && refused.refusal() && (r.at == nil || r.failed > 2) { // a PBX that starts may refuse whom it knew
		wait = r.server.pace.refused
	}
	r.failed++
	r.note(AccountStatus{Registrar: before.Registrar, Until: before.Until, Err: err})
	if before.Err == nil || before.Err.Error() != err.Error() {
		r.server.log.Warn("not registered with the PBX: no call comes by this account once its registration runs out",
			"account", r.account.TrunkName(), "error", err, "retry_s", int(wait.Seconds()))
	}
	return wait
}

func (r *registration) note(s AccountStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Name = r.status.Name
	r.status = s
}

// standing is how the account stands now.
func (r *registration) standing() AccountStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Registered = time.Now().Before(s.Until)
	return s
}

// idle keeps the way to the PBX open until the next round is due, or the
// connection to it is lost; false when ctx ended.
func (r *registration) idle(ctx context.Context, due time.Duration) bool {
	over, pings := time.NewTimer(due), time.NewTicker(r.server.pace.ping)
	defer over.Stop()
	defer pings.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over.C:
			return true
		case <-pings.C:
			if r.at == nil {
				continue
			}
			if lost := r.server.ping(r.at.target); lost != nil && r.failed == 0 {
				return true
			}
		}
	}
}

// ping sends a keep-alive. The error of a connection says that it is lost.
func (s *Server) ping(t target) error {
	if t.registrar.Network == "udp" {
		if from := s.sockets.facing("udp", t.addr.Addr()); from != nil {
			_, _ = from.packets.WriteTo(ping, net.UDPAddrFromAddrPort(t.addr)) // the next round finds out what is wrong
		}
		return nil
	}
	conn, err := s.stack.transport.GetConnection(t.registrar.Network, t.addr.String())
	if err != nil {
		return err
	}
	defer func() { _, _ = conn.TryClose() }() // gives the reference back, no more
	if w, ok := conn.(io.Writer); ok {
		_, err = w.Write(ping)
	}
	return err
}

// leave tells a PBX to send no more calls.
func (r *registration) leave(ctx context.Context, b *binding) error {
	ctx, cancel := context.WithTimeout(ctx, r.server.pace.leave)
	defer cancel()
	_, err := r.register(ctx, b.target, wish{}, b)
	return err
}

// end leaves the PBX for good.
func (r *registration) end(ctx context.Context) {
	if r.at == nil {
		return
	}
	err := r.leave(ctx, r.at)
	if r.note(AccountStatus{}); err != nil {
		r.server.log.Warn("the PBX was not told that no more calls are taken; it may send them until the registration runs out",
			"account", r.account.TrunkName(), "error", err)
		return
	}
	r.server.log.Info("no more calls by this account", "account", r.account.TrunkName())
}
