package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
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
	log     *slog.Logger
	newID   func() string
	handler Handler
	canTake func() bool // Options.Ready; nil is always
	lamps   Lamps       // nil where nobody may subscribe

	hearing
	door
	work

	seed          maphash.Seed // of the tags
	dialogs       *dialogs
	subscriptions *subscriptions
	accounts      accounts
	stats         counters

	// What only tests set otherwise.
	t1         time.Duration // RFC 3261 section 17.1.1.1
	minSession time.Duration // the shortest session interval (RFC 4028)
	pace       pace          // of the accounts
	dns        resolver
}

// hearing is what listens, and what it shows of itself.
type hearing struct {
	stack        *stack
	sockets      sockets
	advertise    advertised
	allow        sipmsg.Header // the methods that are served
	certificates *certificates // nil without TLS
}

// door is who may, and who was turned away.
type door struct {
	trunks     trunkSet   // known by their address
	certified  certified  // by their certificate
	registrars registrars // as the PBX of an account
	origins    []string   // web pages that may connect

	proven   *places // connections of all listeners
	unproven *places // those whose certificate is awaited
	secured  secured // those within TLS

	logins    logins
	admission *admission // new calls, as far as the limits go
	drops     drops
}

// work is what runs, and ends with the server.
type work struct {
	calls      gate       // handlers that run
	byes       gate       // BYEs that are due or wait for their answer
	background background // where they wait
	starting   sync.Mutex // serving grows before closing is set, or not at all
	serving    sync.WaitGroup
	closing    atomic.Bool
	close      func() error
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
		log: log, newID: o.NewID, canTake: o.Ready, lamps: o.Lamps,
		hearing: hearing{advertise: advertise, allow: allowHeader()}, door: newDoor(o, log), work: work{background: newBackground()},
		seed: maphash.MakeSeed(), dialogs: newDialogs(64 * t1), subscriptions: newSubscriptions(),
		t1: t1, minSession: minSession, pace: defaultPace, dns: net.DefaultResolver,
	}
	s.trunks.registrars = &s.registrars
	s.admission = newAdmission(o.Limits, &s.calls, log)
	s.accounts = newAccounts(s, o)
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

// newDoor lets the trunks of o in; the limits of calls are still to be set.
func newDoor(o Options, log *slog.Logger) door {
	return door{
		trunks: newTrunkSet(o.Trunks), certified: newCertified(o.Trunks), origins: o.Origins,
		proven: newPlaces(maxConns, maxConnsSource), unproven: newUnproven(),
		secured: secured{known: make(map[connID][]string)}, logins: logins{nonces: newNonces()},
		drops: drops{strangers: strangers{log: log}, unready: unready{log: log}},
	}
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
