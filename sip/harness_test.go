package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait of these tests. It is less than firstRead and
// writeTimeout: what ends by those is not what a test waits for.
const patience = 9 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

// testOffer and testAnswer stand for session descriptions, which this room
// never reads.
const (
	testOffer  = "v=0\r\no=caller 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"
	testAnswer = "v=0\r\no=gateway 1 1 IN IP4 127.0.0.1\r\ns=-\r\n"
)

// media is a Negotiator that notes what it is asked.
type media struct {
	mu       sync.Mutex
	offers   []string
	answers  []string
	refuse   error         // what Negotiate returns
	hold     chan struct{} // Negotiate waits for it, when not nil
	panicked bool          // Negotiate panics
}

func (m *media) Negotiate(offer []byte) ([]byte, error) {
	m.mu.Lock()
	m.offers = append(m.offers, string(offer))
	refuse, hold, panicked := m.refuse, m.hold, m.panicked
	n := len(m.offers)
	m.mu.Unlock()
	if panicked {
		panic("an offer that nobody foresaw")
	}
	if hold != nil {
		<-hold
	}
	if refuse != nil {
		return nil, refuse
	}
	return fmt.Appendf(nil, "%sa=version:%d\r\n", testAnswer, n), nil
}

func (m *media) Description() []byte { return []byte(testAnswer) }

func (m *media) Answered(answer []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = append(m.answers, string(answer))
	if strings.Contains(string(answer), "unusable") {
		return errors.New("no codec in common")
	}
	return nil
}

func (m *media) heard() (offers, answers []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.offers...), append([]string(nil), m.answers...)
}

// testServer is a Server on free loopback ports with a handler that answers
// all numbers but 404, and waits for the end.
type testServer struct {
	*Server
	media  *media
	calls  chan *Call // each call, when its handler starts
	causes chan error // why each call's context ended
}

// serveTest starts a server for a test. handler may be nil.
func serveTest(t *testing.T, change func(*Server), handler Handler) *testServer {
	t.Helper()
	return serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}, {"tcp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "test", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/30")}, Country: "DE"}},
	}, change, handler)
}

// serveOptions is serveTest with options of the test's own.
func serveOptions(t *testing.T, o Options, change func(*Server), handler Handler) *testServer {
	t.Helper()
	var ids atomic.Int64
	o.NewID = func() string { return fmt.Sprintf("call-%d", ids.Add(1)) }
	s, err := Listen(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, media: &media{}, calls: make(chan *Call, 4096), causes: make(chan error, 4096)}
	if change != nil {
		change(s)
	}
	if handler == nil {
		handler = ts.answerAll
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(context.WithoutCancel(t.Context()), func(ctx context.Context, c *Call) {
			ts.calls <- c
			defer func() { ts.causes <- context.Cause(ctx) }()
			handler(ctx, c)
		})
	}()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ts
}

func (ts *testServer) answerAll(ctx context.Context, c *Call) {
	if len(c.Callees) > 0 && c.Callees[0].User == "404" {
		_ = c.Refuse(480, 0)
		return
	}
	if strings.Contains(string(c.Offer), "no codec") {
		_ = c.Refuse(488, 0)
		return
	}
	if err := c.Answer([]byte(testAnswer), ts.media); err != nil {
		return
	}
	<-ctx.Done()
}

func (ts *testServer) addr(network string) netip.AddrPort { return ts.bound(network) }

// call waits for the next call.
func (ts *testServer) call(t *testing.T) *Call { t.Helper(); return next(t, ts.calls, "a call") }

// ended waits for the next end of a call and checks why.
func (ts *testServer) ended(t *testing.T, want error) {
	t.Helper()
	if got := next(t, ts.causes, "the end of a call"); !errors.Is(got, want) {
		t.Errorf("the call ended with %v, want %v", got, want)
	}
}

func next[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
	}
	panic("unreachable")
}

// settle waits until something is true.
func settle(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came true")
		}
	}
}

// rawPeer is a UDP peer that says what it is told to, byte for byte.
type rawPeer struct {
	t    *testing.T
	conn *net.UDPConn
	to   netip.AddrPort
	told map[string]bool // NOTIFYs that were answered
}

// message is a SIP message, taken apart just enough.
type message struct {
	start   string
	headers map[string][]string // names in lower case
	body    string
	text    string
}

func newRawPeer(t *testing.T, ts *testServer, from string) *rawPeer {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from+":0")))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadBuffer(4 << 20)
	t.Cleanup(func() { _ = conn.Close() })
	return &rawPeer{t: t, conn: conn, to: ts.addr("udp"), told: map[string]bool{}}
}

func (p *rawPeer) addr() string { return p.conn.LocalAddr().String() }

// send writes a message; its lines may end with \n alone.
func (p *rawPeer) send(msg string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort([]byte(msg), p.to); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next message, or false when none came in time.
func (p *rawPeer) read(wait time.Duration) (message, bool) {
	p.t.Helper()
	buf := make([]byte, 65536)
	_ = p.conn.SetReadDeadline(time.Now().Add(wait))
	n, _, err := p.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return message{}, false
	}
	return parseMessage(string(buf[:n])), true
}

// expect skips messages until one starts with start and has the CSeq method.
func (p *rawPeer) expect(start, method string) message {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		m, ok := p.read(time.Until(deadline))
		if ok && strings.HasPrefix(m.start, start) && strings.HasSuffix(m.get("cseq"), method) {
			return m
		}
		if ok && !strings.HasPrefix(m.start, "SIP/2.0 100") {
			p.t.Logf("skipped %q (%s)", m.start, m.get("cseq"))
		}
	}
	p.t.Fatalf("%s %s did not come", start, method)
	return message{}
}

func parseMessage(text string) message {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	m := message{start: lines[0], headers: map[string][]string{}, body: body, text: text}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		name = strings.ToLower(name)
		m.headers[name] = append(m.headers[name], strings.TrimSpace(value))
	}
	return m
}

func (m message) get(name string) string {
	if v := m.headers[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (m message) toTag() string {
	_, tag, _ := strings.Cut(m.get("to"), ";tag=")
	return tag
}

// rawCall builds the requests of one call.
type rawCall struct {
	peer    *rawPeer
	id      string
	user    string // who is called
	branch  string
	seq     int
	toTag   string
	contact string   // "" is the peer's own
	extra   []string // further header lines
	body    string
}

var rawIDs atomic.Int64

func (p *rawPeer) newCall() *rawCall {
	n := rawIDs.Add(1)
	return &rawCall{peer: p, id: fmt.Sprintf("raw-%d", n), user: "+4930123456", branch: fmt.Sprintf("z9hG4bKraw%d", n), seq: 1, body: testOffer}
}

// text is a request of the call.
func (c *rawCall) text(method string) string {
	contact := c.contact
	if contact == "" {
		contact = "<sip:caller@" + c.peer.addr() + ">"
	}
	to := "<sip:" + c.user + "@127.0.0.1>"
	if c.toTag != "" {
		to += ";tag=" + c.toTag
	}
	lines := []string{
		method + " sip:" + c.user + "@127.0.0.1 SIP/2.0",
		"Via: SIP/2.0/UDP " + c.peer.addr() + ";branch=" + c.branch + ";rport",
		"Max-Forwards: 70",
		"From: \"Caller\" <sip:+4940999@127.0.0.1>;tag=from-" + c.id,
		"To: " + to,
		"Call-ID: " + c.id,
		fmt.Sprintf("CSeq: %d %s", c.seq, method),
	}
	if method != "BYE" && method != "CANCEL" {
		lines = append(lines, "Contact: "+contact)
	}
	lines = append(lines, c.extra...)
	body := c.body
	if method != "INVITE" && method != "UPDATE" && method != "ACK" && method != "PRACK" {
		body = ""
	}
	if body != "" && !strings.Contains(strings.Join(c.extra, "\n"), "Content-Type") {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
	return strings.Join(lines, "\r\n")
}

func (c *rawCall) send(method string) { c.peer.t.Helper(); c.peer.send(c.text(method)) }

// next starts a new transaction within the call.
func (c *rawCall) next() *rawCall {
	c.seq++
	c.branch = fmt.Sprintf("z9hG4bKraw%d", rawIDs.Add(1))
	return c
}

// ack sends the ACK of a 2xx, with a body when our answer is due.
func (c *rawCall) ack(body string) {
	c.peer.t.Helper()
	a := *c
	a.branch, a.body = fmt.Sprintf("z9hG4bKraw%d", rawIDs.Add(1)), body
	a.send("ACK")
}

// establish places the call up to the ACK.
func (c *rawCall) establish() message {
	c.peer.t.Helper()
	c.send("INVITE")
	ok := c.peer.expect("SIP/2.0 200", "INVITE")
	c.toTag = ok.toTag()
	c.ack("")
	return ok
}

// bye hangs up and waits for the response.
func (c *rawCall) bye() message {
	c.peer.t.Helper()
	c.next().send("BYE")
	return c.peer.expect("SIP/2.0 200", "BYE")
}
