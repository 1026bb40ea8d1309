package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// phone is a caller that speaks SIP by the byte, so that each response is seen
// as it comes.
type phone struct {
	t    testing.TB
	conn net.Conn
	id   string
	to   string
}

func newPhone(tb testing.TB, gateway netip.AddrPort, number string) *phone {
	tb.Helper()
	return newPhoneOver(tb, "udp", gateway, number)
}

func newPhoneOver(tb testing.TB, network string, gateway netip.AddrPort, number string) *phone {
	tb.Helper()
	conn, err := net.Dial(network, gateway.String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &phone{t: tb, conn: conn, id: delivery.NewID(), to: fmt.Sprintf("<sip:%s@%s>", number, gateway)}
}

// send sends a request outside a dialog, or with the tag of a response's To
// within one.
func (p *phone) send(method, tag string, seq int, body string) {
	p.t.Helper()
	to := p.to
	if tag != "" {
		to += ";tag=" + tag
	}
	contentType := ""
	if body != "" {
		contentType = "Content-Type: application/sdp\r\n"
	}
	branch := p.id
	if method == "ACK" || method == "BYE" {
		branch += method
	}
	_, err := fmt.Fprintf(p.conn, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:030555@pbx.example>;tag=%s\r\n"+
		"To: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:pbx@%s>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, strings.Trim(p.to, "<>"), strings.ToUpper(p.conn.LocalAddr().Network()), p.conn.LocalAddr(), branch, p.id, to, p.id, seq, method, p.conn.LocalAddr(), contentType, len(body), body)
	if err != nil {
		p.t.Fatal(err)
	}
}

// receive is the status and the To tag of the next response.
func (p *phone) receive() (status int, tag string) {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 2048)
	n, err := p.conn.Read(b)
	if err != nil {
		p.t.Fatal(err)
	}
	text := string(b[:n])
	if _, err := fmt.Sscanf(text, "SIP/2.0 %d", &status); err != nil {
		p.t.Fatalf("not a response: %s", text)
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "To:"); ok {
			_, tag, _ = strings.Cut(strings.TrimSpace(rest), "tag=")
		}
	}
	return status, tag
}

// final is the next response that is not provisional.
func (p *phone) final() (status int, tag string) {
	p.t.Helper()
	for status < 200 {
		status, tag = p.receive()
	}
	return status, tag
}

const sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"

// call calls, hangs up when it is answered, and says what the answer was.
func (p *phone) call() int {
	p.t.Helper()
	p.send("INVITE", "", 1, sdp)
	status, tag := p.final()
	p.send("ACK", tag, 1, "")
	if status == 200 {
		p.send("BYE", tag, 2, "")
		if status, _ := p.final(); status != 200 {
			p.t.Errorf("the BYE is answered %d", status)
		}
	}
	return status
}
