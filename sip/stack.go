package sip

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// stack is what is used of sipgo: its transports with the parser, and its
// transactions. The server and the test client stand on one each.
type stack struct {
	transport    *sipmsg.TransportLayer
	transactions *sipmsg.TransactionLayer
	dialer       *dialer
}

// trying is when an INVITE that has no answer yet gets a 100, well before it is
// due (RFC 3261 section 17.2.1: 200 ms).
const trying = 150 * time.Millisecond

// tuneSipgo sets, once and before sipgo first runs, what it keeps in package
// variables: a UDP response may be as large as a datagram (8 Record-Routes
// pass its limit of 1300 bytes, and then it is never sent), a 100 Trying is on
// its way in time, and its own default logger, which prints whole messages, is silent.
var tuneSipgo = sync.OnceFunc(func() {
	sipmsg.UDPMTUSize = 65000
	sipmsg.Timer_1xx = trying
	sipmsg.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// hooks are the three ways a message reaches its owner.
type hooks struct {
	arrived func(sipmsg.Message)                    // each message, in order, on the goroutine that read it
	request func(*sipmsg.Request, *sipmsg.ServerTx) // each new request, on a goroutine of its own
	stray   sipmsg.UnhandledResponseHandler         // a response that belongs to no transaction
}

// newStack makes a stack that connects to TLS servers as send says.
func newStack(log *slog.Logger, send *tls.Config, h hooks, more ...sipmsg.TransactionLayerOption) *stack {
	tuneSipgo()
	transport := sipmsg.NewTransportLayer(nil, newParser(), send, sipmsg.WithTransportLayerLogger(log))
	transport.OnMessage(h.arrived) // before the transaction layer's own hook: sipgo calls them in turn
	transactions := sipmsg.NewTransactionLayer(transport, append(more,
		sipmsg.WithTransactionLayerLogger(log),
		sipmsg.WithTransactionLayerUnhandledResponseHandler(h.stray))...)
	transactions.OnRequest(h.request)
	return &stack{transport, transactions, newDialer(transport, send)}
}

// knows tells sipgo of a UDP socket, which it would know only once that is
// served: a request of ours may be sooner.
func (s *stack) knows(conn net.PacketConn) {
	addr := conn.LocalAddr().String()
	s.transport.Pool("udp").Add(addr, &sipmsg.UDPConnection{PacketConn: conn, PacketAddr: addr, Listener: true})
}

// errNoResponse says that a transaction ended without one: the stack closes.
var errNoResponse = errors.New("no response came")

// begin sends a request that is answered.
func (s *stack) begin(ctx context.Context, req *sipmsg.Request) (*sipmsg.ClientTx, error) {
	if err := s.dialer.reach(ctx, req); err != nil {
		return nil, err
	}
	return s.transactions.Request(ctx, req)
}

// tell sends an ACK. It may have to connect, so no lock is to be held.
func (s *stack) tell(ctx context.Context, ack *sipmsg.Request) error {
	if err := s.dialer.reach(ctx, ack); err != nil {
		return err
	}
	return s.transport.WriteMsg(ack)
}

// exchange sends a request and waits for its final response.
func (s *stack) exchange(ctx context.Context, req *sipmsg.Request) (*sipmsg.Response, error) {
	tx, err := s.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	defer tx.Terminate() // frees it at once; sipgo would keep it for 32 s
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, cmp.Or(tx.Err(), errNoResponse)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// settleTime is what messages that were read last get to be served in. sipgo does
// not say when they are: one that finds its connection gone opens another,
// which nobody would close.
const settleTime = 50 * time.Millisecond

// close ends the transactions, then the connections. The owner has closed the
// sockets it handed to Serve before, so nothing more is read.
func (s *stack) close() error {
	time.Sleep(settleTime)
	s.transactions.Close()
	s.dialer.close()
	return s.transport.Close()
}
