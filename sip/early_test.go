package sip

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stream is a TCP peer that says what it is told to.
type stream struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	peer *rawPeer // names the calls
}

func newStream(t *testing.T, ts *testServer) *stream {
	t.Helper()
	conn, err := net.Dial("tcp", ts.addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &stream{t, conn, bufio.NewReader(conn), newRawPeer(t, ts, "127.0.0.1")}
}

// send writes requests in one piece.
func (s *stream) send(requests ...string) {
	s.t.Helper()
	all := strings.ReplaceAll(strings.Join(requests, ""), "SIP/2.0/UDP "+s.peer.addr(), "SIP/2.0/TCP "+s.conn.LocalAddr().String())
	if _, err := io.WriteString(s.conn, all); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the next message that is no 100.
func (s *stream) read() message {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteString(line)
	}
	m := parseMessage(b.String())
	n, _ := strconv.Atoi(m.get("content-length"))
	body := make([]byte, n)
	if _, err := io.ReadFull(s.r, body); err != nil {
		s.t.Fatal(err)
	}
	if strings.HasPrefix(m.start, "SIP/2.0 100") {
		return s.read()
	}
	return m
}

// TestLastWords: an ACK and a BYE count although the connection is closed
// right behind them.
func TestLastWords(t *testing.T) {
	ts := serveTest(t, nil, nil)
	for i := range 20 {
		s := newStream(t, ts)
		c := s.peer.newCall()
		if i%2 == 1 { // a late offer, whose answer is in the ACK
			c.body = ""
		}
		s.send(c.text("INVITE"))
		c.toTag = s.read().toTag()
		ack, bye := *c, *c
		ack.branch += "ack"
		ack.body = testOffer
		s.send(ack.text("ACK"), bye.next().text("BYE"))
		_ = s.conn.Close()
		ts.ended(t, ErrCallerHungUp)
	}
	if _, answers := ts.media.heard(); len(answers) != 10 {
		t.Errorf("%d answers of 10 late offers were heard", len(answers))
	}
}

// TestEarlyCancel: a CANCEL that overtook its INVITE ends it.
func TestEarlyCancel(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	for i := range 150 {
		c := p.newCall()
		why := ErrCancelled
		cancel := c.text("CANCEL")
		if i%2 == 1 {
			why = ErrElsewhere
			cancel = strings.Replace(cancel, "Content-Length", "Reason: SIP;cause=200\r\nContent-Length", 1)
		}
		p.send(cancel)
		c.send("INVITE")
		m := message{}
		for !strings.HasSuffix(m.get("cseq"), "INVITE") || strings.HasPrefix(m.start, "SIP/2.0 100") {
			m, _ = p.read(patience)
		}
		if !strings.HasPrefix(m.start, "SIP/2.0 487") {
			t.Fatalf("%s", m.start)
		}
		c.toTag = m.toTag()
		c.send("ACK")
		ts.ended(t, why)
	}
	for m, ok := p.read(50 * time.Millisecond); ok; m, ok = p.read(50 * time.Millisecond) {
		if strings.HasPrefix(m.start, "SIP/2.0 200") && strings.HasSuffix(m.get("cseq"), "INVITE") {
			t.Fatalf("a cancelled call was answered: %s", m.text)
		}
	}
	if n := ts.Stats().Answered; n != 0 {
		t.Errorf("%d calls answered", n)
	}
}

func TestOrphansAreBounded(t *testing.T) {
	start := time.Unix(1e9, 0)
	table := newDialogs(32 * time.Second)
	for i := range uint64(2 * maxOrphans) {
		table.cancel(tag{i, 1}, ErrCancelled, start)
	}
	if len(table.early) != maxOrphans {
		t.Errorf("%d orphans", len(table.early))
	}
	table.arrive(tag{0, 1}, start.Add(orphanKeep)) // too late
	table.arrive(tag{1, 1}, start.Add(orphanKeep-1))
	for request, want := range map[uint64]error{0: nil, 1: ErrCancelled} {
		if d, _ := table.find(tag{request, 1}); !errors.Is(d.cause, want) {
			t.Errorf("INVITE %d: %v, want %v", request, d.cause, want)
		}
	}
	for i := range uint64(3) {
		table.cancel(tag{9997 + i, 1}, ErrCancelled, start.Add(orphanKeep))
	}
	if len(table.early) != 3 {
		t.Errorf("%d orphans when the old ones are over", len(table.early))
	}
}

// TestWithinDialog: INFO and OPTIONS keep the order of a dialog, and end with it.
func TestWithinDialog(t *testing.T) {
	stay := make(chan struct{})
	ts := serveTest(t, nil, func(_ context.Context, c *Call) {
		_ = c.Answer([]byte(testAnswer), &media{})
		<-stay
	})
	defer close(stay)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	say := func(method string, seq, code int) {
		t.Helper()
		c.next().seq = seq
		c.send(method)
		c.peer.expect(fmt.Sprintf("SIP/2.0 %d ", code), method)
	}
	for i, method := range []string{"INFO", "OPTIONS"} {
		say(method, 10+i, 200)
		say(method, 5, 500)
	}
	say("BYE", 20, 200)
	for i, method := range []string{"INFO", "OPTIONS", "UPDATE"} {
		say(method, 30+i, 481)
	}
}

// TestCloseIsQuick: peers that answer no BYE and send no ACK hold nothing up.
func TestCloseIsQuick(t *testing.T) {
	t.Parallel() // it takes byeGrace
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		_ = c.Answer([]byte(testAnswer), &media{})
		if strings.HasPrefix(c.Callees[0].User, "hangup") {
			_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
		}
		<-ctx.Done()
	})
	p := newRawPeer(t, ts, "127.0.0.1")
	for _, user := range []string{"hangup", "hangup-unacknowledged", "stay", "stay-unacknowledged"} {
		c := p.newCall()
		c.user = user
		c.send("INVITE")
		c.toTag = p.expect("SIP/2.0 200", "INVITE").toTag()
		if !strings.HasSuffix(user, "unacknowledged") {
			c.ack("")
		}
	}
	start := time.Now()
	if err := ts.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second { // well below 64*T1
		t.Errorf("Close took %v", took)
	}
}
