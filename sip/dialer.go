package sip

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// dialTime is how long a server has to take a connection.
const dialTime = 10 * time.Second

// dialer makes connections by TCP and TLS and hands them to sipgo, whose own
// would wait without end for a peer that does not read. sipgo takes them for
// connections that were accepted.
type dialer struct {
	transport *sipmsg.TransportLayer
	trust     *tls.Config
	accepted  map[string]*handover // by network
	serving   sync.WaitGroup
	making    background

	mu   sync.Mutex
	busy map[wanted]*dialled // those being made
}

// wanted is a connection to an address, and within TLS to whom.
type wanted struct {
	connID
	name string
}

// dialled is a connection that more than one may wait for.
type dialled struct {
	done chan struct{}
	err  error
}

func newDialer(transport *sipmsg.TransportLayer, trust *tls.Config) *dialer {
	d := &dialer{
		transport: transport, trust: trust, accepted: make(map[string]*handover),
		making: newBackground(), busy: make(map[wanted]*dialled),
	}
	for _, n := range networks {
		if n.serve == nil || n.websocket { // none is called by WebSocket but by test clients
			continue
		}
		h := &handover{conns: make(chan net.Conn), taken: make(chan struct{}), closed: make(chan struct{})}
		d.accepted[n.name] = h
		d.serving.Go(func() { _ = n.serve(transport, h) }) // ends when h is closed
	}
	return d
}

func (d *dialer) close() {
	d.making.stop()
	for _, h := range d.accepted {
		close(h.closed)
	}
	d.serving.Wait()
}

// reach connects to where a request goes, unless a connection stands or none is
// needed.
func (d *dialer) reach(ctx context.Context, req *sipmsg.Request) error {
	network := sipmsg.NetworkToLower(req.Transport())
	if d.accepted[network] == nil {
		return nil
	}
	addr, err := resolve(ctx, req.Destination())
	if err != nil {
		return err
	}
	name, _, err := net.SplitHostPort(req.Destination())
	if err != nil {
		return err
	}
	req.SetDestination(addr.String())
	if d.standing(network, addr) != nil {
		return nil
	}
	return d.dial(ctx, connID{network, addr}, d.named(name))
}

// named trusts a server whose certificate carries the name.
func (d *dialer) named(name string) *tls.Config {
	trust := d.trust.Clone()
	trust.ServerName = name
	return trust
}

// standing is the connection to an address; nil for none.
func (d *dialer) standing(network string, addr netip.AddrPort) net.Conn {
	conn, err := d.transport.GetConnection(network, addr.String())
	if err != nil {
		return nil
	}
	_, _ = conn.TryClose() // gives the reference back, no more
	stream, ok := conn.(*sipmsg.TCPConnection)
	if !ok {
		return nil
	}
	return stream.Conn
}

// proven says that a connection stands to a server whose certificate carried
// the name. Whoever connected to this side from there has not shown one.
func (d *dialer) proven(addr netip.AddrPort, name string) bool {
	conn, ok := d.standing("tls", addr).(*provenConn)
	return ok && conn.name == name
}

// dial makes a connection, once for all who ask at the same time: it goes on
// while the one who asked first waits no longer.
func (d *dialer) dial(ctx context.Context, to connID, trust *tls.Config) error {
	want := wanted{connID: to}
	if to.network == "tls" {
		want.name = trust.ServerName
	}
	one := d.start(want, trust)
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// start begins to make a connection, unless that goes on already.
func (d *dialer) start(to wanted, trust *tls.Config) *dialled {
	d.mu.Lock()
	defer d.mu.Unlock()
	if other := d.busy[to]; other != nil {
		return other
	}
	own := &dialled{done: make(chan struct{}), err: net.ErrClosed}
	if !d.making.run(dialTime, func(ctx context.Context) {
		own.err = d.connect(ctx, to.connID, trust)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, to)
		close(own.done)
	}) {
		close(own.done)
		return own
	}
	d.busy[to] = own
	return own
}

func (d *dialer) connect(ctx context.Context, to connID, trust *tls.Config) error {
	var plain net.Dialer
	tcp, err := plain.DialContext(ctx, "tcp", to.source.String())
	if err != nil {
		return err
	}
	var conn net.Conn = &queuedConn{Conn: tcp, patience: writeTimeout}
	if to.network == "tls" {
		secured := tls.Client(conn, trust)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // err says why
			return err
		}
		conn = &provenConn{secureConn{secured}, trust.ServerName}
	}
	return d.accepted[to.network].give(ctx, conn)
}

// provenConn leads to a server whose certificate carries the name.
type provenConn struct {
	secureConn
	name string
}

// handover is a listener that accepts what it is given.
type handover struct {
	conns  chan net.Conn
	taken  chan struct{} // says that sipgo knows the last one
	closed chan struct{}
	given  bool
}

// give returns when sipgo knows the connection.
func (h *handover) give(ctx context.Context, conn net.Conn) error {
	select {
	case h.conns <- conn:
	case <-ctx.Done():
		_ = conn.Close()
		return context.Cause(ctx)
	case <-h.closed:
		_ = conn.Close()
		return net.ErrClosed
	}
	select {
	case <-h.taken:
		return nil
	case <-h.closed:
		return net.ErrClosed
	}
}

// Accept returns the next connection that is given.
func (h *handover) Accept() (net.Conn, error) {
	if h.given {
		select {
		case h.taken <- struct{}{}:
		case <-h.closed:
		}
	}
	select {
	case conn := <-h.conns:
		h.given = true
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close does nothing: the dialer closes it.
func (h *handover) Close() error { return nil }

// Addr is no address: nobody connects here.
func (h *handover) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }
