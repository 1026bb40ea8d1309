package sip

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestByeBehindNAT: where the caller's Contact leads nowhere, our BYE comes by
// the connection of the call.
func TestByeBehindNAT(t *testing.T) {
	t.Parallel()
	ts := serveTest(t, nil, func(ctx context.Context, c *Call) {
		if c.Answer([]byte(testAnswer), &media{}) == nil {
			_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
		}
	})
	conn, err := net.Dial("tcp", ts.addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	say := func(method, to, body string) {
		t.Helper()
		_, err := fmt.Fprintf(conn, "%s sip:1@gw SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.5;branch=z9hG4bK%s\r\nFrom: <sip:a@nat>;tag=1\r\nTo: %s\r\nCall-ID: nat\r\n"+
			"CSeq: 1 %s\r\nMax-Forwards: 70\r\nContact: <sip:a@127.0.0.77:1;transport=tcp>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			method, newBranch(), to, method, len(body), body)
		if err != nil {
			t.Fatal(err)
		}
	}
	say("INVITE", "<sip:1@gw>", testOffer)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		to, found := strings.CutPrefix(lines.Text(), "To: ")
		if found && strings.Contains(to, "tag=") {
			say("ACK", to, "")
		}
		if strings.HasPrefix(lines.Text(), "BYE sip:a@127.0.0.77:1;transport=tcp ") {
			return
		}
	}
	t.Error("no BYE came")
}
