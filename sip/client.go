package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// ClientOptions say where a Client sends from.
type ClientOptions struct {
	// Local is bound for UDP. Port 0 takes a free one; the zero value binds
	// every address of the machine.
	Local netip.AddrPort
	// TLS is what servers are shown and trusted by.
	TLS ClientTLS
}

// ClientTLS are the files (PEM) with which a Client connects to TLS servers.
// The zero value trusts the system's CAs and shows no certificate.
type ClientTLS struct {
	CA               string // certificates that may sign the server's, beside the system's
	Certificate, Key string // what the server is shown, where it asks
}

// config reads the files.
func (t ClientTLS) config() (*tls.Config, error) {
	roots, err := systemRoots(t.CA)
	if err != nil || t.Certificate == "" {
		return sendTLS(roots, nil), err
	}
	own, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	return sendTLS(roots, func() *tls.Certificate { return &own }), err
}

// Client places calls: the test caller of the commands. One socket serves
// thousands of calls at once; calls by TCP to one address share a connection.
type Client struct {
	conn    *net.UDPConn
	local   netip.AddrPort
	stack   *stack
	serving sync.WaitGroup

	background background // requests whose answer nobody waits for

	mu      sync.Mutex
	dialogs map[string]*Dialog // by Call-ID
}

// Request is one call to place.
type Request struct {
	Offer     []byte              // SDP; without one the server offers, and the ACK carries no answer
	From      string              // who calls: a user part or a whole URI; "" is anonymous
	FromName  string              // display name
	To        string              // the URI of the To header; "" is the target
	Headers   map[string][]string // further headers, like Diversion
	Transport string              // udp, tcp, tls, ws or wss; "" is what the target's URI says, else udp
	Patience  time.Duration       // how long to wait for the first response; 0 is 32 s (RFC 3261 section 17.1.1.2)

	User, Password string // to log in with, where the server asks; without a user its 401 or 407 refuses the call
}

// StatusError is a final response other than 2xx.
type StatusError struct {
	Code   int
	Reason string
}

// Error reads like the status line: 480 Temporarily Unavailable.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, e.Reason))
}

// SilentError says that not even a provisional response came to an INVITE.
type SilentError struct {
	Addr string // where it was sent to
	Wait time.Duration
}

// Error names the address and the time.
func (e *SilentError) Error() string {
	return fmt.Sprintf("no answer from %s within %g s", e.Addr, e.Wait.Seconds())
}

// ClosedError says that the server closed the connection instead of answering.
type ClosedError struct{ Addr string }

// Error names the address.
func (e *ClosedError) Error() string { return e.Addr + " closed the connection" }

// ContactError says that a call was answered, but that the Contact of the
// answer leads nowhere from here, so that it is neither acknowledged nor ended.
type ContactError struct {
	Contact string // host and port
	Err     error
}

// Error names the Contact.
func (e *ContactError) Error() string {
	return fmt.Sprintf("the Contact %s cannot be reached: %v", e.Contact, e.Err)
}

// Unwrap returns the fault of the network.
func (e *ContactError) Unwrap() error { return e.Err }

// NewClient binds a socket.
func NewClient(o ClientOptions, log *slog.Logger) (*Client, error) {
	if !o.Local.IsValid() {
		o.Local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	send, err := o.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("the caller's certificates: %w", err)
	}
	conn, err := net.ListenUDP(family("udp", o.Local), net.UDPAddrFromAddrPort(o.Local))
	if err != nil {
		return nil, fmt.Errorf("bind the caller's socket: %w", err)
	}
	_ = conn.SetReadBuffer(socketBuffer) // the system's default works too, for fewer calls at once
	c := &Client{
		conn: conn, local: addrPortOf(conn.LocalAddr()), dialogs: make(map[string]*Dialog), background: newBackground(),
	}
	c.stack = newStack(slog.New(newQuietHandler(log.Handler())), send, hooks{
		arrived: func(sipmsg.Message) {}, request: c.request, stray: c.stray,
	}, sipmsg.WithTransactionLayerTerminateOnConnClose())
	c.stack.knows(conn)
	c.serving.Go(func() { _ = c.stack.transport.ServeUDP(conn) }) // ends when conn is closed
	return c, nil
}

// Addr is the address really bound.
func (c *Client) Addr() netip.AddrPort { return c.local }

// Close closes the socket. Calls that are still up end without a BYE.
func (c *Client) Close() error {
	c.background.stop()
	err := c.conn.Close()
	c.serving.Wait()
	return errors.Join(err, c.stack.close())
}

// Invite places a call and returns when it is answered and the ACK is sent. A
// refusal is a *StatusError, with ErrLogin where the server did not take the
// password, silence a *SilentError, a connection that the server closes a
// *ClosedError, and an ACK that cannot be sent a *ContactError. When ctx ends
// first a CANCEL is sent, and its cause returned.
func (c *Client) Invite(ctx context.Context, target string, r Request) (*Dialog, error) {
	d, err := c.prepare(ctx, target, r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.dialogs[d.peer.callID] = d
	c.mu.Unlock()
	login := credentials{user: r.User, password: r.Password}
	for range registerTries {
		res, err := c.call(ctx, d, r, &login)
		switch {
		case err == nil && res.IsSuccess():
			return d, nil
		case err == nil:
			err = login.again(res)
		}
		if err != nil {
			c.drop(d)
			return nil, err
		}
	}
	c.drop(d)
	return nil, errEndless
}

// drop forgets a call.
func (c *Client) drop(d *Dialog) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.dialogs, d.peer.callID)
}

// prepare finds out how the target is reached, and who is to call it.
func (c *Client) prepare(ctx context.Context, target string, r Request) (*Dialog, error) {
	uri, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	network, addr := hop(uri, "udp")
	if r.Transport != "" {
		network, addr = hop(sipmsg.Uri{Scheme: uri.Scheme, Host: uri.Host, Port: uri.Port}, r.Transport)
	}
	remote, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	d := &Dialog{client: c, done: make(chan struct{}), from: c.endpoint(network, remote.Addr()), server: remote.String()}
	if n, _ := networkOf(network); n.secure { // the certificate must carry the name that was called
		d.server = addr
	}
	d.from.sips = uri.Scheme == "sips"
	d.peer = peer{callID: sipmsg.GenerateTagN(24) + "@" + d.from.host, target: uri, network: network}
	return d, d.name(r, uri)
}

// invite builds the INVITE, with a login where one was asked for.
func (d *Dialog) invite(r Request, login *credentials) (*sipmsg.Request, error) {
	d.peer.seq++
	req := d.request(sipmsg.INVITE)
	req.SetDestination(d.server)
	req.AppendHeader(d.from.contact())
	req.AppendHeader(sipmsg.NewHeader("Allow", clientAllow))
	for name, values := range r.Headers {
		for _, v := range values {
			req.AppendHeader(sipmsg.NewHeader(name, v))
		}
	}
	if err := login.sign(req); err != nil {
		return nil, err
	}
	d.login = req.GetHeader(login.reply)
	describe(req, r.Offer)
	return req, nil
}

// parseTarget reads the URI of who is to be called.
func parseTarget(target string) (sipmsg.Uri, error) {
	uri, ok := sipURI(target)
	if !ok {
		return uri, fmt.Errorf("%q is not a SIP address: write it like sip:+4930123456@127.0.0.1:5060", target)
	}
	return uri, nil
}

// LocalFor is the address of this machine from which a target is reached.
// Nothing is sent.
func LocalFor(ctx context.Context, target string) (netip.Addr, error) {
	uri, err := parseTarget(target)
	if err != nil {
		return netip.Addr{}, err
	}
	_, addr := hop(uri, "udp")
	var dialer net.Dialer
	probe, err := dialer.DialContext(ctx, "udp", addr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s cannot be reached: %w", target, err)
	}
	defer func() { _ = probe.Close() }()
	return addrPortOf(probe.LocalAddr()).Addr(), nil
}

// name sets who calls whom.
func (d *Dialog) name(r Request, target sipmsg.Uri) error {
	from := r.From
	switch {
	case from == "":
		from = "sip:anonymous@anonymous.invalid"
	case !strings.Contains(from, ":"):
		from = "sip:" + from + "@" + net.JoinHostPort(d.from.host, "5060")
	}
	d.peer.local = &sipmsg.FromHeader{DisplayName: r.FromName}
	d.peer.remote = &sipmsg.ToHeader{Address: sipmsg.Uri{Scheme: target.Scheme, User: target.User, Host: target.Host, Port: target.Port}}
	if err := sipmsg.ParseUri(from, &d.peer.local.Address); err != nil {
		return fmt.Errorf("the caller's address is neither a user part nor a URI: %w", err)
	}
	d.peer.local.Params.Add("tag", sipmsg.GenerateTagN(12))
	if r.To == "" {
		return nil
	}
	if err := sipmsg.ParseUri(r.To, &d.peer.remote.Address); err != nil {
		return fmt.Errorf("the called address is not a URI: %w", err)
	}
	return nil
}

// endpoint is how a server reaches the client.
func (c *Client) endpoint(network string, server netip.Addr) endpoint {
	host := c.local.Addr()
	if host.IsUnspecified() {
		host = localAddr(server)
	}
	return endpoint{network: network, host: host.WithZone("").String(), port: int(c.local.Port())}
}
