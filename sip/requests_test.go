package sip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChecks: what is refused before it is served, and how.
func TestChecks(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	over := map[string]bool{} // what comes of earlier cases is a copy
	replace := func(old, with string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, with, 1) }
	}
	for _, tt := range []struct {
		name, method string
		change       func(string) string
		code         int
		header, want string // of the response
	}{
		{"unknown method", "SING", nil, 501, "allow", allAllowed},
		{"REGISTER", "REGISTER", nil, 405, "allow", allAllowed},
		{"REFER", "REFER", nil, 403, "", ""},
		{"OPTIONS", "OPTIONS", nil, 200, "accept", "application/sdp, multipart/*"},
		{"BYE of nothing", "BYE", nil, 481, "", ""},
		{"INFO of nothing", "INFO", nil, 481, "", ""},
		{"UPDATE of nothing", "UPDATE", nil, 481, "", ""},
		{"INVITE of nothing", "INVITE", replace("@127.0.0.1>\r\nCall-ID", "@127.0.0.1>;tag=unknown\r\nCall-ID"), 481, "", ""},
		{"preconditions", "INVITE", replace("Max", "Require: 100rel, precondition\r\nMax"), 420, "unsupported", "precondition"},
		{"unknown extensions", "OPTIONS", replace("Max", "Require: timer, foo\r\nRequire: bar\r\nMax"), 420, "unsupported", "foo, bar"},
		{"supported extension", "INVITE", replace("Max", "Supported: 100rel, precondition\r\nMax"), 200, "", ""},
		{"body that is not SDP", "INVITE", replace("application/sdp", "application/unknown"), 415, "accept", "application/sdp, multipart/*"},
		{"body that may be ignored", "INVITE", replace("Type: application/sdp", "Type: application/x-extra\r\nContent-Disposition: session;handling=optional"), 200, "", ""},
		{"encoded body", "INVITE", replace("Max", "Content-Encoding: gzip\r\nMax"), 415, "accept-encoding", "identity"},
		{"no SDP accepted", "INVITE", replace("Max", "Accept: text/nobodyKnowsThis\r\nMax"), 406, "", ""},
		{"CSeq of another method", "OPTIONS", replace("1 OPTIONS", "1 INVITE"), 400, "", ""},
		{"no Contact", "INVITE", replace("Contact: ", "X-Contact: "), 400, "", ""},
		{"no From tag", "INVITE", replace(";tag=from-", ";x="), 400, "", ""},
		{"no Call-ID", "INVITE", replace("Call-ID: ", "X-Call-ID: "), 400, "", ""},
		{"two Call-IDs", "INVITE", replace("Max", "i: another\r\nMax"), 400, "", ""},
		{"two lengths", "INVITE", replace("Max", "Content-Length: 0\r\nMax"), 400, "", ""},
		{"version 7", "INVITE", replace(" SIP/2.0\r\n", " SIP/7.0\r\n"), 505, "", ""},
		{"unknown scheme", "OPTIONS", replace("OPTIONS sip:", "OPTIONS nobody:"), 416, "", ""},
		{"escaped headers", "INVITE", replace("@127.0.0.1 SIP", "@127.0.0.1?Route=%3Csip:x%3E SIP"), 400, "", ""},
		{"no hops left", "INVITE", replace("Max-Forwards: 70", "Max-Forwards: 0"), 200, "", ""},
		{"branch without a name", "OPTIONS", func(s string) string {
			before, after, _ := strings.Cut(s, ";branch=")
			return before + ";branch=z9hG4bK" + after[strings.Index(after, ";rport"):]
		}, 200, "", ""},
		{"white space", "INVITE", replace(";tag=from-", " ; TAG  =  from-"), 200, "", ""},
		{"480", "INVITE", replace("INVITE sip:+4930123456", "INVITE sip:404"), 480, "", ""},
		{"488", "INVITE", func(s string) string {
			head, _, _ := strings.Cut(s, "\r\nContent-Length")
			return head + "\r\nContent-Length: 13\r\n\r\nv=0\r\nno codec"
		}, 488, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := p.newCall()
			c.peer = &rawPeer{t: t, conn: p.conn, to: p.to}
			text := c.text(tt.method)
			if tt.change != nil {
				text = tt.change(text)
			}
			c.peer.send(text)
			var m message
			for m.start == "" || strings.HasPrefix(m.start, "SIP/2.0 100") || over[m.get("call-id")] {
				var ok bool
				if m, ok = c.peer.read(patience); !ok {
					t.Fatal("no response")
				}
			}
			if !strings.HasPrefix(m.start, fmt.Sprintf("SIP/2.0 %d ", tt.code)) {
				t.Fatalf("%s, want %d", m.start, tt.code)
			}
			if m.get(tt.header) != tt.want {
				t.Errorf("%s: %q, want %q", tt.header, m.get(tt.header), tt.want)
			}
			over[c.id] = true
			c.toTag = m.toTag()
			switch {
			case tt.code == 200 && tt.method == "INVITE":
				c.ack("")
				c.bye()
			case tt.method == "INVITE":
				c.peer.send(strings.NewReplacer("INVITE sip", "ACK sip", "1 INVITE", "1 ACK").Replace(text))
			}
		})
	}
}

func TestMultipart(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p := newRawPeer(t, ts, "127.0.0.1")
	part := func(headers, body string) string { return headers + "\r\n\r\n" + body }
	multi := func(boundary string, parts ...string) string {
		return "--" + boundary + "\r\n" + strings.Join(parts, "\r\n--"+boundary+"\r\n") + "\r\n--" + boundary + "--\r\n"
	}
	sdp := part("Content-Type: application/sdp", testOffer)
	isup := part("Content-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal;handling=optional", "\x01\x00\xff")
	picture := part("Content-Type: image/png", "png")
	nested := func(parts ...string) string {
		return part("Content-Type: multipart/alternative;boundary=inner", multi("inner", parts...))
	}
	deep := sdp
	for i := range maxNesting {
		deep = part(fmt.Sprintf("Content-Type: multipart/mixed;boundary=deep%d", i), multi(fmt.Sprintf("deep%d", i), deep))
	}
	for _, tt := range []struct {
		name  string
		parts []string
		code  int
		offer string
	}{
		{"ISUP and SDP", []string{isup, sdp}, 200, testOffer},
		{"a picture and SDP", []string{picture, sdp}, 200, testOffer},
		{"nested", []string{isup, nested(picture, sdp)}, 200, testOffer},
		{"optional parts alone", []string{isup, nested(isup)}, 200, ""},
		{"a picture alone", []string{isup, picture}, 415, ""},
		{"a picture, nested", []string{isup, nested(isup, picture)}, 415, ""},
		{"too deep", []string{deep}, 415, ""},
		{"too many", append(slices.Repeat([]string{isup}, maxParts), sdp), 415, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := p.newCall()
			c.peer = &rawPeer{t: t, conn: p.conn, to: p.to}
			c.extra = []string{`Content-Type: multipart/mixed;boundary="frontier"`}
			c.body = multi("frontier", tt.parts...)
			c.send("INVITE")
			m := c.peer.expect(fmt.Sprintf("SIP/2.0 %d ", tt.code), "INVITE")
			c.toTag, c.extra = m.toTag(), nil
			if tt.code != 200 {
				c.send("ACK")
				return
			}
			c.ack("")
			if got := ts.call(t).Offer; string(got) != tt.offer {
				t.Errorf("offer %q, want %q", got, tt.offer)
			}
			c.bye()
		})
	}
}

// TestRefusalsAlike: nobody learns from a refusal which mailboxes there are.
func TestRefusalsAlike(t *testing.T) {
	ts := serveTest(t, nil, func(_ context.Context, c *Call) { _ = c.Refuse(480, 0) })
	p := newRawPeer(t, ts, "127.0.0.1")
	seen := map[string]bool{}
	for i := range 50 {
		c := p.newCall()
		c.user = fmt.Sprintf("+4930%06d", i)
		c.send("INVITE")
		m := p.expect("SIP/2.0 480", "INVITE")
		for m.get("call-id") != c.id { // a copy of the last
			m = p.expect("SIP/2.0 480", "INVITE")
		}
		seen[strings.NewReplacer(c.user, "USER", m.toTag(), "TAG", c.id, "ID", c.branch, "BRANCH").Replace(m.text)] = true
		c.toTag = m.toTag()
		c.send("ACK")
	}
	if len(seen) != 1 {
		t.Errorf("%d different refusals", len(seen))
	}
}

func TestStrangers(t *testing.T) {
	ts := serveTest(t, nil, nil)
	p := newRawPeer(t, ts, "127.0.0.9")
	for _, method := range []string{"INVITE", "OPTIONS", "REGISTER"} {
		p.newCall().send(method)
	}
	if m, ok := p.read(100 * time.Millisecond); ok {
		t.Errorf("a stranger was told %s", m.start)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", ts.addr("tcp").String())
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("a stranger's connection was served")
		}
	}
	settle(t, func() bool { return ts.Stats().Strangers >= 3 })
}

func TestDrain(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.establish()
	ts.Drain()
	for _, method := range []string{"INVITE", "OPTIONS"} {
		other := c.peer.newCall()
		other.send(method)
		m := c.peer.expect("SIP/2.0 503", method)
		if m.get("retry-after") != "30" {
			t.Errorf("%s: Retry-After %q", method, m.get("retry-after"))
		}
		if method == "INVITE" {
			other.toTag = m.toTag()
			other.send("ACK")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := ts.Wait(ctx); err == nil {
		t.Error("Wait returned during a call")
	}
	if n := ts.Active(); n != 1 {
		t.Errorf("%d active", n)
	}
	c.next().send("INVITE") // the call in progress goes on
	c.peer.expect("SIP/2.0 200", "INVITE")
	c.ack("")
	c.bye()
	if err := ts.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		if c.Callees[0].User != "ringing" {
			_ = c.Answer([]byte(testAnswer), &media{})
		}
		<-ctx.Done()
	})
	p := newRawPeer(t, ts, "127.0.0.1")
	p.newCall().establish()
	ringing := p.newCall()
	ringing.user = "ringing"
	ringing.send("INVITE")
	ts.call(t)
	ts.call(t)
	closed := make(chan error, 1)
	go func() { closed <- ts.Close() }()
	seen := map[string]bool{}
	for len(seen) < 2 {
		m, ok := p.read(patience)
		switch {
		case !ok:
			t.Fatalf("got only %v", seen)
		case strings.HasPrefix(m.start, "BYE "):
			p.send(okTo(m))
			seen["BYE"] = true
		case strings.HasPrefix(m.start, "SIP/2.0 503"):
			seen["503"] = true
		}
	}
	if err := next(t, closed, "Close"); err != nil {
		t.Error(err)
	}
	ts.ended(t, ErrShutdown)
	ts.ended(t, ErrShutdown)
}

func TestListenErrors(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.LocalAddr().(*net.UDPAddr).AddrPort()
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"taken":     {Options{Listen: []ListenAddress{{"udp", addr}}}, "udp://" + addr.String() + " cannot be bound"},
		"tls":       {Options{Listen: []ListenAddress{{"tls", addr}}}, "needs sip.tls.certificate"},
		"sctp":      {Options{Listen: []ListenAddress{{"sctp", addr}}}, "must be udp, tcp, tls"},
		"no file":   {Options{TLS: TLS{Certificate: "testdata/none.pem"}}, "at least one address"},
		"nothing":   {Options{}, "at least one address"},
		"advertise": {Options{Advertise: "sip://x"}, "expected a host or host:port"},
		"port":      {Options{Advertise: "x:99999"}, "1 to 65535"},
	} {
		if _, err := Listen(tt.o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestAdvertise(t *testing.T) {
	bound := netip.MustParseAddrPort("127.0.0.1:5070")
	for text, want := range map[string]string{
		"":                     "<sip:127.0.0.1:5070>",
		"198.51.100.7":         "<sip:198.51.100.7:5070>",
		"sip.example.com:5080": "<sip:sip.example.com:5080>",
		"2001:db8::1":          "<sip:[2001:db8::1]:5070>",
		"[2001:db8::1]:5090":   "<sip:[2001:db8::1]:5090>",
	} {
		a, err := parseAdvertised(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		s := &Server{hearing: hearing{advertise: a}}
		if got := s.endpoint("udp", loopback, bound).contact().Value(); got != want {
			t.Errorf("%q: Contact %s, want %s", text, got, want)
		}
	}
	s := &Server{}
	if got := s.endpoint("tcp", loopback, netip.MustParseAddrPort("0.0.0.0:5060")).contact().Value(); got != "<sip:127.0.0.1:5060;transport=tcp>" {
		t.Errorf("unspecified: Contact %s", got)
	}
}

// TestReceived: the Via of a response tells where the request came from
// (RFC 3261 section 18.2.1, RFC 3581).
func TestReceived(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	c.peer.send(strings.Replace(c.text("OPTIONS"), "UDP "+c.peer.addr(), "UDP pbx.example.com", 1))
	via := c.peer.expect("SIP/2.0 200", "OPTIONS").get("via")
	_, port, _ := net.SplitHostPort(c.peer.addr())
	if !strings.Contains(via, "received=127.0.0.1") || !strings.Contains(via, "rport="+port) {
		t.Errorf("Via: %s", via)
	}
}

// TestLargeResponse: many Record-Routes make a response of several kilobytes.
func TestLargeResponse(t *testing.T) {
	ts := serveTest(t, nil, nil)
	c := newRawPeer(t, ts, "127.0.0.1").newCall()
	for i := range 40 {
		c.extra = append(c.extra, fmt.Sprintf("Record-Route: <sip:proxy-with-a-long-name-%d.example.com;lr;ftag=%s>", i, c.id))
	}
	ok := c.establish()
	if len(ok.headers["record-route"]) != 40 {
		t.Errorf("%d Record-Routes", len(ok.headers["record-route"]))
	}
	c.extra = nil
	c.bye()
}
