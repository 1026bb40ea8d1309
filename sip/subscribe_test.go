package sip

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// mailboxes are a Lamps with the mailboxes 101 and 102.
type mailboxes struct {
	mu       sync.Mutex
	messages map[string]Messages
	watchers map[chan string]string
	fail     error // of Messages
	away     error // of Mailbox
}

func newMailboxes() *mailboxes {
	return &mailboxes{messages: map[string]Messages{"101": {New: 1, Old: 2}, "102": {}}, watchers: map[chan string]string{}}
}

func (m *mailboxes) Mailbox(w Watcher) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return "", m.away
	}
	for _, c := range w.Callees {
		if _, ok := m.messages[c.User]; ok {
			return c.User, nil
		}
	}
	return "", nil
}

func (m *mailboxes) Messages(_ context.Context, mailbox string) (Messages, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.messages[mailbox], m.fail
}

func (m *mailboxes) Watch(ctx context.Context, mailbox string) <-chan string {
	ch := make(chan string, 8)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[ch] = mailbox
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, ch)
	})
	return ch
}

// set changes what waits in a mailbox, and tells those who watch it.
func (m *mailboxes) set(mailbox string, now Messages) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages[mailbox] = now
	for ch, watched := range m.watchers {
		if watched == mailbox {
			ch <- "note"
		}
	}
}

func serveLamps(t *testing.T) (*testServer, *mailboxes) {
	t.Helper()
	lamps := newMailboxes()
	return serveTest(t, func(s *Server) { s.lamps = lamps }, nil), lamps
}

// newSubscription is a SUBSCRIBE to a mailbox that is yet to be sent.
func (p *rawPeer) newSubscription(mailbox string, lines ...string) *rawCall {
	c := p.newCall()
	c.user, c.extra = mailbox, append([]string{"Event: message-summary"}, lines...)
	return c
}

// subscribe sends the SUBSCRIBE and returns its answer.
func (c *rawCall) subscribe(code string) message {
	c.peer.t.Helper()
	c.send("SUBSCRIBE")
	answer := c.peer.expect("SIP/2.0 "+code, "SUBSCRIBE")
	if code == "200" {
		c.toTag = answer.toTag()
	}
	return answer
}

// notified waits for the next NOTIFY that is no copy and answers it.
func (p *rawPeer) notified(code string) message {
	p.t.Helper()
	n := p.expect("NOTIFY", "NOTIFY")
	for p.told[n.text] {
		n = p.expect("NOTIFY", "NOTIFY")
	}
	p.told[n.text] = true
	lines := []string{"SIP/2.0 " + code}
	for _, name := range []string{"via", "from", "to", "call-id", "cseq"} {
		for _, value := range n.headers[name] {
			lines = append(lines, name+": "+value)
		}
	}
	p.send(strings.Join(append(lines, "Content-Length: 0", "", ""), "\r\n"))
	return n
}

// tells checks what a NOTIFY says.
func (m message) tells(t *testing.T, state, messages string) {
	t.Helper()
	if got := m.get("subscription-state"); !strings.HasPrefix(got, state) {
		t.Errorf("the state is %q, want %q", got, state)
	}
	waiting := "yes"
	if strings.HasPrefix(messages, "0/") {
		waiting = "no"
	}
	if !strings.Contains(m.body, "Messages-Waiting: "+waiting+"\r\n") || !strings.Contains(m.body, "\r\nVoice-Message: "+messages+" (0/0)\r\n") {
		t.Errorf("the body says %q, want %s", m.body, messages)
	}
}

// A subscriber hears at once what there is, then each change, again when it
// refreshes, and for the last time when it ends the subscription (RFC 6665
// section 4.2.2, RFC 3842 section 3).
func TestSubscription(t *testing.T) {
	t.Parallel()
	ts, lamps := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	c := p.newSubscription("101", "Accept: application/simple-message-summary", "Expires: 600")
	answer := c.subscribe("200")
	if answer.get("expires") != "600" || answer.get("contact") == "" {
		t.Errorf("granted %q by %q", answer.get("expires"), answer.get("contact"))
	}
	first := p.notified("200 OK")
	first.tells(t, "active;expires=600", "1/2")
	for name, want := range map[string]string{
		"event": "message-summary", "content-type": "application/simple-message-summary", "call-id": c.id,
		"from": "<sip:101@127.0.0.1>;tag=" + c.toTag, "to": `"Caller" <sip:+4940999@127.0.0.1>;tag=from-` + c.id, "cseq": "1 NOTIFY",
	} {
		if got := first.get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(first.body, "Message-Account: sip:101@127.0.0.1\r\n") || !strings.HasPrefix(first.start, "NOTIFY sip:caller@"+p.addr()) {
		t.Errorf("it says\n%s", first.text)
	}

	lamps.set("101", Messages{New: 2, Old: 2})
	p.notified("200 OK").tells(t, "active", "2/2")
	lamps.set("101", Messages{Old: 4})
	last := p.notified("200 OK")
	last.tells(t, "active", "0/4")

	c.next().subscribe("200")
	p.notified("200 OK").tells(t, "active;expires=600", "0/4")

	c.extra[len(c.extra)-1] = "Expires: 0"
	if answer := c.next().subscribe("200"); answer.get("expires") != "0" {
		t.Errorf("granted %q", answer.get("expires"))
	}
	p.notified("200 OK").tells(t, "terminated;reason=timeout", "0/4")
	lamps.set("101", Messages{New: 9})
	if m, heard := p.read(300 * time.Millisecond); heard && !p.told[m.text] {
		t.Errorf("after the end: %s", m.text)
	}
	c.next().subscribe("481")
	if got := ts.Stats(); got.Subscriptions != 0 || got.Notified != 5 || got.Unnotified != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestSubscribeRefused(t *testing.T) {
	t.Parallel()
	ts, _ := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	for name, tt := range map[string]struct {
		user, code string
		lines      []string
		header     string
	}{
		"no such mailbox": {"404", "480", []string{"Event: message-summary"}, ""},
		"no event":        {"101", "489", nil, "allow-events"},
		"another event":   {"101", "489", []string{"Event: presence"}, "allow-events"},
		"another body":    {"101", "406", []string{"Event: message-summary", "Accept: application/pidf+xml"}, "accept"},
		"too short":       {"101", "423", []string{"Event: message-summary", "Expires: 5"}, "min-expires"},
		"no number":       {"101", "400", []string{"Event: message-summary", "Expires: soon"}, ""},
		"an extension":    {"101", "420", []string{"Event: message-summary", "Require: eventlist"}, "unsupported"},
	} {
		c := p.newCall()
		c.user, c.extra = tt.user, tt.lines
		answer := c.subscribe(tt.code)
		if tt.header != "" && answer.get(tt.header) == "" {
			t.Errorf("%s: %s without %s", name, tt.code, tt.header)
		}
	}
	c := p.newSubscription("101")
	c.toTag = strings.Repeat("0", 32)
	c.subscribe("481")
	if got := ts.Stats().Subscriptions; got != 0 {
		t.Errorf("%d subscriptions", got)
	}
}

// While nobody knows whether there is a mailbox, a subscriber is told to come
// back, and not that there is none.
func TestSubscribeWhileTheDirectoryIsAway(t *testing.T) {
	t.Parallel()
	ts, lamps := serveLamps(t)
	lamps.mu.Lock()
	lamps.away = context.DeadlineExceeded
	lamps.mu.Unlock()
	p := newRawPeer(t, ts, "127.0.0.1")
	for _, mailbox := range []string{"101", "404"} {
		if answer := p.newSubscription(mailbox).subscribe("503"); answer.get("retry-after") != "10" {
			t.Errorf("Retry-After %q", answer.get("retry-after"))
		}
	}
}

// Who is no trunk hears nothing, and who forks its SUBSCRIBE has one subscription.
func TestSubscribersAreTrunks(t *testing.T) {
	t.Parallel()
	ts, _ := serveLamps(t)
	stranger := newRawPeer(t, ts, "127.0.0.9")
	stranger.newSubscription("101").send("SUBSCRIBE")
	if m, heard := stranger.read(300 * time.Millisecond); heard {
		t.Errorf("a stranger hears %s", m.text)
	}
	p := newRawPeer(t, ts, "127.0.0.1")
	c := p.newSubscription("101")
	c.subscribe("200")
	p.notified("200 OK")
	fork := *c
	fork.branch, fork.toTag = c.branch+"-2", ""
	fork.send("SUBSCRIBE")
	p.expect("SIP/2.0 482", "SUBSCRIBE")
	if got := ts.Stats().Subscriptions; got != 1 {
		t.Errorf("%d subscriptions", got)
	}
}

// A subscriber that forgot its subscription, or asks for what it would get, is
// not told any more.
func TestSubscriptionIsDropped(t *testing.T) {
	t.Parallel()
	ts, lamps := serveLamps(t)
	for _, code := range []string{"481 Subscription Does Not Exist", "405 Method Not Allowed"} {
		p := newRawPeer(t, ts, "127.0.0.1")
		p.newSubscription("101").subscribe("200")
		p.notified(code)
		lamps.set("101", Messages{New: 50})
		if m, heard := p.read(300 * time.Millisecond); heard && !p.told[m.text] {
			t.Errorf("after %s: %s", code, m.text)
		}
	}
	if got := ts.Stats(); got.Subscriptions != 0 || got.Unnotified != 2 {
		t.Errorf("stats %+v", got)
	}
}

// A gateway that stops tells its subscribers when to come back; one that drains
// takes no new ones.
func TestSubscriptionsEndWithTheGateway(t *testing.T) {
	t.Parallel()
	ts, _ := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	p.newSubscription("101").subscribe("200")
	p.notified("200 OK")
	ts.Drain()
	if answer := p.newSubscription("101").subscribe("503"); answer.get("retry-after") == "" {
		t.Error("no Retry-After")
	}
	closed := make(chan error, 1)
	go func() { closed <- ts.Close() }()
	p.notified("200 OK").tells(t, "terminated;reason=probation;retry-after=30", "1/2")
	if err := next(t, closed, "the end"); err != nil {
		t.Error(err)
	}
}

// Who does not refresh is told that it is over.
func TestSubscriptionExpires(t *testing.T) {
	t.Parallel()
	ts, lamps := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	c := p.newSubscription("101", "Expires: 60")
	c.subscribe("200")
	p.notified("200 OK").tells(t, "active;expires=60", "1/2")
	tg, ok := parseTag(c.toTag)
	if !ok {
		t.Fatalf("the tag is %q", c.toTag)
	}
	b := ts.subscriptions.find(tg)
	b.mu.Lock()
	b.until = time.Now()
	b.mu.Unlock()
	lamps.set("101", Messages{New: 5, Old: 2})
	p.notified("200 OK").tells(t, "terminated;reason=timeout", "5/2")
}

// Over a connection the NOTIFY comes by that of the SUBSCRIBE, whatever name the
// subscriber has for itself (RFC 5923, RFC 7118 section 5.1).
func TestSubscribeByConnection(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	o := ca.securely()
	o.Lamps = newMailboxes()
	ts := serveOptions(t, o, nil, nil)
	for network, tt := range map[string]struct {
		dial    func() (net.Conn, error)
		contact string
		write   func(io.Writer, []byte) error
		read    func(io.ReadWriter) ([]byte, error)
	}{
		"tcp": {
			func() (net.Conn, error) {
				return (&net.Dialer{}).DialContext(t.Context(), "tcp", ts.addr("tcp").String())
			}, "127.0.0.1:5060;transport=tcp", writeStream, readStream,
		},
		"tls": {
			func() (net.Conn, error) {
				return ca.dialTLS(ts, "tls", "127.0.0.9", ca.issue("sbc.example", nil))
			}, "sbc.example;transport=tls", writeStream, readStream,
		},
		"ws": {
			func() (net.Conn, error) { return dialWS(t, ts, func(d *ws.Dialer) { d.Header = nil }) },
			"df7jal23ls0d.invalid;transport=ws", wsutil.WriteClientText, wsutil.ReadServerText,
		},
	} {
		t.Run(network, func(t *testing.T) {
			conn, err := tt.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(patience))
			p := &rawPeer{t: t, conn: listenUDP(t, "127.0.0.1:0")}
			c := p.newSubscription("101")
			c.contact = "<sip:phone@" + tt.contact + ">"
			text := strings.ReplaceAll(c.text("SUBSCRIBE"), "SIP/2.0/UDP "+p.addr(), "SIP/2.0/"+strings.ToUpper(network)+" phone.invalid")
			if err := tt.write(conn, []byte(text)); err != nil {
				t.Fatal(err)
			}
			var heard strings.Builder
			for !strings.Contains(heard.String(), "Voice-Message: 1/2") {
				message, err := tt.read(conn)
				if err != nil {
					t.Fatalf("%v after\n%s", err, heard.String())
				}
				heard.Write(message)
			}
			if got := heard.String(); !strings.HasPrefix(got, "SIP/2.0 200") || !strings.Contains(got, "\r\nVia: SIP/2.0/"+strings.ToUpper(network)+" "+ts.addr(network).String()) {
				t.Errorf("heard\n%s", got)
			}
		})
	}
}

func writeStream(conn io.Writer, b []byte) error { _, err := conn.Write(b); return err }

func readStream(conn io.ReadWriter) ([]byte, error) {
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return buf[:n], err
}

// What a Lamps does in panic costs that subscription alone.
func TestPanicInLamps(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, func(s *Server) { s.lamps = panicking{newMailboxes()} }, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	p.newSubscription("101").subscribe("200")
	for end := time.Now().Add(patience); ts.Stats().Panics == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing panicked")
		}
	}
	call := p.newCall()
	call.establish()
	call.bye()
}

type panicking struct{ *mailboxes }

func (panicking) Messages(context.Context, string) (Messages, error) {
	panic("a mailbox nobody foresaw")
}
