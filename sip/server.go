package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

const (
	maxDatagram = 1300            // bytes of a request, above which it goes by TCP
	closeGrace  = 5 * time.Second // for handlers to return after Close
	byeGrace    = 2 * time.Second // for the last BYEs to be answered
)

// supported lists the extensions that are understood (RFC 3261 section 20.37).
var supported = sipmsg.NewHeader("Supported", "100rel, timer")

// methods are the requests that are served, in the order of the Allow header.
var methods = []struct {
	name  sipmsg.RequestMethod
	serve func(*Server, *incoming)
}{
	{sipmsg.INVITE, (*Server).invite},
	{sipmsg.ACK, nil}, // served when it arrives, and has no response
	{sipmsg.PRACK, (*Server).prack},
	{sipmsg.BYE, (*Server).bye},
	{sipmsg.CANCEL, (*Server).cancel},
	{sipmsg.OPTIONS, (*Server).options},
	{sipmsg.INFO, (*Server).info},
	{sipmsg.UPDATE, (*Server).reoffer},
	{sipmsg.SUBSCRIBE, (*Server).subscribe},
}

// Server takes calls from trunks.
type Server struct {
	log       *slog.Logger
	trunks    trunkSet  // known by their address
	certified certified // and by their certificate
	newID     func() string
	takes     func() bool // nil is always
	advertise advertised
	allow     sipmsg.Header
	t1        time.Duration // RFC 3261 section 17.1.1.1

	certificates *certificates // nil without TLS
	origins      []string      // web pages that may connect
	proven       *places       // connections of all listeners
	unproven     *places       // those whose certificate is awaited
	secured      secured

	stack   *stack
	sockets []socket
	seed    maphash.Seed
	dialogs *dialogs
	handler Handler

	minSession time.Duration // the shortest session interval (RFC 4028)

	logins     logins
	accounts   accounts
	registrars registrars
	dns        resolver
	pace       pace

	lamps         Lamps // nil where nobody may subscribe
	subscriptions *subscriptions

	calls      gate       // handlers that run
	admission  *admission // who gets in
	byes       gate       // BYEs that are due or wait for their answer
	background background // where they wait
	starting   sync.Mutex // serving grows before closing is set, or not at all
	serving    sync.WaitGroup
	closing    atomic.Bool
	close      func() error

	drops drops
	stats struct{ calls, answered, refused, noACK, malformed, panics, notified, unnotified atomic.Uint64 }
}

// socket is one bound address.
type socket struct {
	ListenAddress
	packets net.PacketConn // of UDP, else nil
	serve   func() error
	close   func() error
}

// Listen binds every address of o and answers nothing yet: Serve does. Port 0
// takes a free one, which Addrs tells.
func Listen(o Options, log *slog.Logger) (*Server, error) {
	advertise, err := parseAdvertised(o.Advertise)
	if err != nil {
		return nil, err
	}
	if len(o.Listen) == 0 {
		return nil, errors.New("sip.listen: name at least one address, like udp://127.0.0.1:5060")
	}
	s := &Server{
		log: log, trunks: newTrunkSet(o.Trunks), certified: newCertified(o.Trunks), origins: o.Origins,
		proven: newPlaces(maxConns, maxConnsSource), unproven: newUnproven(),
		secured: secured{known: make(map[connID][]string)}, newID: o.NewID, takes: o.Ready, advertise: advertise,
		allow: allowHeader(), t1: t1, minSession: minSession, seed: maphash.MakeSeed(), dialogs: newDialogs(64 * t1),
		background: newBackground(), logins: logins{nonces: newNonces()},
		dns: net.DefaultResolver, pace: defaultPace, lamps: o.Lamps, subscriptions: newSubscriptions(),
	}
	s.trunks.registrars = &s.registrars
	s.accounts = newAccounts(s, o)
	s.admission = newAdmission(o.Limits, &s.calls, log)
	s.drops.strangers.log, s.drops.unready.log = log, log
	s.close = sync.OnceValue(s.shutDown)
	send, err := s.openTLS(o.TLS)
	if err != nil {
		return nil, err
	}
	s.stack = newStack(slog.New(newQuietHandler(log.Handler())), send, hooks{
		arrived: s.arrived, request: s.request, stray: s.stray,
	})
	learnNumbering(o.Trunks)
	for _, l := range o.Listen {
		if err := s.bind(l); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// allowHeader lists the methods (RFC 3261 section 20.5).
func allowHeader() sipmsg.Header {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = m.name.String()
	}
	return sipmsg.NewHeader("Allow", strings.Join(names, ", "))
}

// Addrs are the addresses really bound, in the order of Options.Listen.
func (s *Server) Addrs() []ListenAddress {
	addrs := make([]ListenAddress, len(s.sockets))
	for i, l := range s.sockets {
		addrs[i] = l.ListenAddress
	}
	return addrs
}

// Serve hands each call to h until Close is called or ctx is done, which
// closes the server too. It fails only when a socket does. Call it once.
func (s *Server) Serve(ctx context.Context, h Handler) error {
	s.handler = h
	ended := make(chan error, len(s.sockets))
	s.starting.Lock()
	if s.closing.Load() {
		s.starting.Unlock()
		return s.Close()
	}
	for _, l := range s.sockets {
		s.serving.Go(func() {
			err := l.serve()
			ended <- errors.Join(fmt.Errorf("sip.listen: %s is not heard any more", l), err)
		})
	}
	s.accounts.start()
	s.starting.Unlock()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	if s.closing.Load() {
		err = nil
	}
	return errors.Join(err, s.Close())
}

// Drain refuses new calls from now on: INVITE and OPTIONS get 503 with
// Retry-After, so that peers go elsewhere, and accounts unregister. Calls in
// progress go on.
func (s *Server) Drain() {
	s.calls.shut()
	s.accounts.stop()
}

// Wait returns when no call is active, or with the cause of ctx.
func (s *Server) Wait(ctx context.Context) error { return s.calls.wait(ctx) }

// Active is the number of calls whose handler runs.
func (s *Server) Active() int { return s.calls.count() }

// Close ends what is left: active calls get a BYE and their contexts end with
// ErrShutdown. Peers have two seconds to answer, handlers then five to return.
// Last the sockets close.
func (s *Server) Close() error { return s.close() }

func (s *Server) shutDown() error {
	s.Drain()
	s.starting.Lock()
	s.closing.Store(true)
	s.starting.Unlock()
	for _, d := range s.dialogs.live() {
		d.shutDown()
	}
	s.subscriptions.tasks.stop()
	_ = waitFor(&s.byes, byeGrace) // a peer that does not answer ends the call by itself
	s.accounts.wait()
	s.background.stop()
	for _, d := range s.dialogs.live() {
		d.abandon()
	}
	err := waitFor(&s.calls, closeGrace)
	for _, l := range s.sockets {
		err = errors.Join(err, l.close())
	}
	s.serving.Wait()
	return errors.Join(err, s.stack.close())
}

// waitFor gives a gate some time to empty.
func waitFor(g *gate, d time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), d, errHandlers)
	defer cancel()
	return g.wait(ctx)
}

var errHandlers = errors.New("calls did not end in time")

// Stats are counters since Listen.
type Stats struct {
	Active     int    // calls whose handler runs
	Calls      uint64 // handed to the handler
	Answered   uint64 // with a 200 OK
	Refused    uint64 // by the handler
	NoACK      uint64 // ended because no ACK came
	Malformed  uint64 // datagrams that cannot be SIP and requests that are not valid
	Panics     uint64 // in handlers and elsewhere, each of which cost one call
	Logins     uint64 // refused: a wrong user, password or realm
	Strangers  uint64 // datagrams and connections from outside every trunk
	Connected  int    // connections that stand
	TooMany    uint64 // connections over a cap
	Unready    uint64 // connections whose TLS or WebSocket handshake failed
	Idle       uint64 // connections closed because nothing was said
	SockErrors uint64 // of sockets, survived

	TurnedAway map[string]uint64 // new calls that got 503 at once, by why: draining, calls, rate, trunk_calls, trunk_rate

	Subscriptions int    // to message lamps
	Notified      uint64 // NOTIFYs that were taken
	Unnotified    uint64 // NOTIFYs that were refused or not answered
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Active:   s.Active(),
		Calls:    s.stats.calls.Load(),
		Answered: s.stats.answered.Load(), Refused: s.stats.refused.Load(), NoACK: s.stats.noACK.Load(),
		Malformed: s.stats.malformed.Load() + s.drops.junk.Load(), Panics: s.stats.panics.Load(),
		Logins: s.logins.refused.Load(), Strangers: s.drops.strangers.count.Load(), TooMany: s.drops.connections.Load(),
		Connected: s.proven.count(), Unready: s.drops.unready.count.Load(), Idle: s.drops.idle.Load(), SockErrors: s.drops.errors.Load(),
		TurnedAway: s.admission.counts(), Subscriptions: s.subscriptions.count(), Notified: s.stats.notified.Load(), Unnotified: s.stats.unnotified.Load(),
	}
}

// bound is the address bound for a network; invalid when there is none.
func (s *Server) bound(network string) netip.AddrPort {
	for _, l := range s.sockets {
		if l.Network == network {
			return l.Addr
		}
	}
	return netip.AddrPort{}
}
