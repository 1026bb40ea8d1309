package sip

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// TestMalformed: a request that can be told from the next gets an answer,
// which repeats what it must.
func TestMalformed(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	for _, tt := range []struct {
		name, old, with string // the change
		datagram        bool   // it breaks the frame of a stream
	}{
		{"scalar02", "CSeq: 1 OPTIONS", "CSeq: 36893488147419103232 OPTIONS", false},
		{"CSeq without a number", "CSeq: 1 OPTIONS", "CSeq: OPTIONS", false},
		{"Max-Forwards", "Max-Forwards: 70", "Max-Forwards: 7x", false},
		{"From", "<sip:+4940999@", "<", false},
		{"From without an end", "@127.0.0.1>;tag=from", "@127.0.0.1;tag=from", false},
		{"To", "To: <sip:", "To: <", false},
		{"empty Call-ID", "Call-ID: ", "Call-ID: \r\nX-Call-ID: ", false},
		{"Record-Route", "Max", "Record-Route: <sip:a;lr>, <:>\r\nMax", false},
		{"ltgtruri", "OPTIONS sip:+4930123456@127.0.0.1", "OPTIONS <sip:+4930123456@127.0.0.1>", true},
		{"port that is none", "OPTIONS sip:+4930123456@127.0.0.1", "OPTIONS sip:+4930123456@127.0.0.1:50x", true},
		{"clerr", "Content-Length: 0", "Content-Length: 9999", true},
		{"clerr, compact", "Content-Length: 0", "l  : 1", true},
		{"ncl", "Content-Length: 0", "Content-Length: -999", true},
		{"no number", "Content-Length: 0", "Content-Length: 99999999999999999999", true},
		{"lwsruri", "OPTIONS sip:+4930123456@127.0.0.1 ", "OPTIONS sip:+4930123456@127.0.0.1; lr ", true},
		{"lwsstart", "OPTIONS sip:+4930123456@127.0.0.1 ", "OPTIONS  sip:+4930123456@127.0.0.1  ", true},
		{"trws", "127.0.0.1 SIP/2.0\r\n", "127.0.0.1 SIP/2.0  \r\n", true},
	} {
		check := func(t *testing.T, c *rawCall, m message) {
			t.Helper()
			if !strings.HasPrefix(m.start, "SIP/2.0 400 ") {
				t.Errorf("%s", m.start)
			}
			sent := parseMessage(strings.Replace(c.text("OPTIONS"), tt.old, tt.with, 1))
			for _, name := range []string{"from", "call-id", "cseq"} {
				if got, want := m.get(name), sent.get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if !strings.HasPrefix(m.get("to"), sent.get("to")) {
				t.Errorf("to: %q", m.get("to"))
			}
		}
		t.Run(tt.name, func(t *testing.T) {
			c := p.newCall()
			text := strings.Replace(c.text("OPTIONS"), tt.old, tt.with, 1)
			if text == c.text("OPTIONS") {
				t.Fatal("nothing was changed")
			}
			p.send(text)
			m, ok := p.read(patience)
			if !ok {
				t.Fatal("no answer by UDP")
			}
			check(t, c, m)
			if tt.datagram {
				return
			}
			s := newStream(t, ts)
			c = s.peer.newCall()
			s.send(strings.Replace(c.text("OPTIONS"), tt.old, tt.with, 1), s.peer.newCall().text("OPTIONS"))
			first, second := s.read(), s.read() // served at once: either may be first
			if first.get("call-id") != c.id && tt.name != "empty Call-ID" || strings.HasPrefix(first.start, "SIP/2.0 200") {
				first, second = second, first
			}
			check(t, c, first)
			if !strings.HasPrefix(second.start, "SIP/2.0 200") {
				t.Errorf("the next on the connection: %s", second.start)
			}
		})
	}
}

// TestBrokenStream: without a length there is no next message.
func TestBrokenStream(t *testing.T) {
	ts := serveTest(t, nil, nil)
	s := newStream(t, ts)
	s.send(strings.Replace(s.peer.newCall().text("OPTIONS"), "Content-Length: 0", "Content-Length: x", 1))
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(s.conn); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// TestParserLists: the words sipgo says at a comma are those that are waited for.
func TestParserLists(t *testing.T) {
	msg, err := newParser().ParseSIP([]byte("OPTIONS sip:gw SIP/2.0\r\n" +
		"v: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b;branch=z9hG4bK2\r\nRecord-Route: <sip:c;lr>,<sip:d;lr>\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(msg.GetHeaders("via")); n != 2 {
		t.Errorf("%d Vias", n)
	}
	if routes := recordRoutes(msg); len(routes) != 2 || routes[1].Host != "d" {
		t.Errorf("routes %v", routes)
	}
}

// TestResponseGoesHome: where a request came from is not for it to say.
func TestResponseGoesHome(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p, victim := newRawPeer(t, ts, "127.0.0.1"), newRawPeer(t, ts, "127.0.0.2")
	_, port, _ := net.SplitHostPort(victim.addr())
	_, own, _ := net.SplitHostPort(p.addr())
	for _, forged := range []string{"received=127.0.0.2;rport=" + port, "rport=" + port, "received=127.0.0.2;rport"} {
		p.send(strings.Replace(p.newCall().text("OPTIONS"), ";rport", ";"+forged, 1))
		m := p.expect("SIP/2.0 200", "OPTIONS")
		if via := m.get("via"); !strings.Contains(via, "rport="+own) || !strings.Contains(via, "received=127.0.0.1") {
			t.Errorf("%s: Via %s", forged, via)
		}
	}
	if m, ok := victim.read(20 * time.Millisecond); ok {
		t.Errorf("another got %s", m.start)
	}
}

// FuzzExpose: a datagram keeps its length and what was sound stays as it was.
func FuzzExpose(f *testing.F) {
	for _, line := range []string{"OPTIONS sip:a SIP/2.0", "OPTIONS  sip:a;  lr SIP/2.0 ", "   ", " a b c d", "a  b", "SIP/2.0 200 Very OK"} {
		f.Add([]byte(fmt.Sprintf("%s\r\nContent-Length: 5\r\nl:0\r\n\r\nabc", line)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		msg, _ := newParser().ParseSIP([]byte(before))
		req, sound := msg.(*sipmsg.Request)
		sound = sound && validate(req) == nil
		expose(b)
		if len(b) != len(before) || sound && string(b) != before {
			t.Errorf("%q became %q", before, b)
		}
	})
}
