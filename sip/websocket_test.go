package sip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const origin = "https://phone.example.com"

// dialWS opens a WebSocket; change may make its handshake another.
func dialWS(t *testing.T, ts *testServer, change func(*ws.Dialer)) (net.Conn, error) {
	t.Helper()
	dialer := ws.Dialer{Protocols: []string{"other", "sip"}, Timeout: patience, Header: ws.HandshakeHeaderHTTP(http.Header{"Origin": {origin}})}
	if change != nil {
		change(&dialer)
	}
	conn, _, hs, err := dialer.Dial(t.Context(), "ws://"+ts.addr("ws").String()+"/any/path")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	if hs.Protocol != "sip" {
		t.Errorf("the protocol is %q", hs.Protocol)
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

func (a *testCA) webServer() *testServer {
	a.t.Helper()
	o := a.securely()
	o.Origins = []string{"https://other.example.com", origin}
	return serveOptions(a.t, o, nil, nil)
}

// wsOptions is an OPTIONS as a browser sends it, with padding.
func wsOptions(padding int) []byte {
	return []byte(strings.Join([]string{
		"OPTIONS sip:gw.example SIP/2.0", "Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK" + newBranch(),
		"From: <sip:peer@peer.invalid>;tag=1", "To: <sip:gw.example>", "Call-ID: " + newBranch(), "CSeq: 1 OPTIONS",
		"Max-Forwards: 70", "Subject: " + strings.Repeat("x", padding), "Content-Length: 0", "", "",
	}, "\r\n"))
}

// TestWebSocketFrames: what sipgo alone would not understand.
func TestWebSocketFrames(t *testing.T) {
	t.Parallel()
	ts := newTestCA(t).webServer()
	conn, err := dialWS(t, ts, nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := func(what string) {
		t.Helper()
		message, op, err := wsutil.ReadServerData(conn)
		if err != nil || op != ws.OpText || !bytes.HasPrefix(message, []byte("SIP/2.0 200 OK\r\n")) {
			t.Fatalf("%s: %v %q: %v", what, op, message, err)
		}
	}
	frame := func(fin bool, op ws.OpCode, payload []byte) {
		t.Helper()
		if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewFrame(op, fin, payload))); err != nil {
			t.Fatal(err)
		}
	}
	frame(true, ws.OpText, wsOptions(0))
	answered("text")
	frame(true, ws.OpBinary, wsOptions(0))
	answered("binary")
	frame(true, ws.OpText, wsOptions(20000))
	answered("a large message")

	whole := wsOptions(500)
	frame(false, ws.OpText, whole[:100])
	frame(true, ws.OpPing, []byte("still there?"))
	frame(false, ws.OpContinuation, whole[100:101])
	frame(true, ws.OpContinuation, whole[101:])
	pong, err := ws.ReadFrame(conn)
	if err != nil || pong.Header.OpCode != ws.OpPong || string(pong.Payload) != "still there?" {
		t.Fatalf("a ping between fragments: %+v %q: %v", pong.Header, pong.Payload, err)
	}
	answered("fragments")

	frame(true, ws.OpText, []byte("\r\n\r\n")) // RFC 5626 section 3.5.1
	if message, _, err := wsutil.ReadServerData(conn); err != nil || string(message) != "\r\n" {
		t.Errorf("a keep-alive: %q, %v", message, err)
	}
	frame(true, ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye"))
	end, err := ws.ReadFrame(conn)
	if err != nil || end.Header.OpCode != ws.OpClose {
		t.Errorf("the answer to a close: %+v: %v", end.Header, err)
	}
	settle(t, func() bool { return ts.proven.count() == 0 })
}

// TestWebSocketTooLarge: a message that sipgo could not take ends the
// connection, in one frame or in many.
func TestWebSocketTooLarge(t *testing.T) {
	t.Parallel()
	ts := newTestCA(t).webServer()
	for name, frames := range map[string][]ws.Frame{
		"one":  {ws.NewFrame(ws.OpText, true, make([]byte, maxMessage+1))},
		"many": {ws.NewFrame(ws.OpText, false, make([]byte, maxMessage)), ws.NewFrame(ws.OpContinuation, true, make([]byte, 1))},
	} {
		conn, err := dialWS(t, ts, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			_ = ws.WriteFrame(conn, ws.MaskFrame(f)) // it may be closed meanwhile
		}
		if said, err := io.ReadAll(conn); len(said) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
}

func TestWebSocketRefused(t *testing.T) {
	t.Parallel()
	ts := newTestCA(t).webServer()
	for name, tt := range map[string]struct {
		change func(*ws.Dialer)
		status int // 0: it is let in
	}{
		"a page that is named": {nil, 0},
		"no page":              {func(d *ws.Dialer) { d.Header = nil }, 0},
		"another page": {func(d *ws.Dialer) {
			d.Header = ws.HandshakeHeaderHTTP(http.Header{"origin": {"https://evil.example"}})
		}, http.StatusForbidden},
		"no SIP":     {func(d *ws.Dialer) { d.Protocols = []string{"chat"} }, http.StatusBadRequest},
		"no wish":    {func(d *ws.Dialer) { d.Protocols = nil }, http.StatusBadRequest},
		"from 127.9": {from("127.0.0.9"), -1},
	} {
		_, err := dialWS(t, ts, tt.change)
		var status ws.StatusError
		switch {
		case tt.status == 0 && err != nil, tt.status > 0 && (!errors.As(err, &status) || int(status) != tt.status), tt.status < 0 && (err == nil || errors.As(err, &status)):
			t.Errorf("%s: %v, want %d", name, err, tt.status)
		}
	}
}

// TestSecureWebSocket: a trunk is known by its certificate over wss:// too.
func TestSecureWebSocket(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	ts := ca.webServer()
	for name, tt := range map[string]struct {
		own    pair
		served bool
	}{"right": {ca.issue("sbc.example", nil), true}, "wrong": {ca.issue("nobody.example", nil), false}} {
		conn, err := ca.dialTLS(ts, "wss", "127.0.0.9", tt.own)
		if err == nil {
			dialer := ws.Dialer{Protocols: []string{"sip"}}
			_, _, err = dialer.Upgrade(conn, &url.URL{Scheme: "wss", Host: "gw.example"})
		}
		if (err == nil) != tt.served {
			t.Fatalf("%s: %v", name, err)
		}
		if !tt.served {
			continue
		}
		if err := wsutil.WriteClientText(conn, bytes.Replace(wsOptions(0), []byte("2.0/WS "), []byte("2.0/WSS "), 1)); err != nil {
			t.Fatal(err)
		}
		if message, _, err := wsutil.ReadServerData(conn); err != nil || !bytes.HasPrefix(message, []byte("SIP/2.0 200 OK\r\n")) {
			t.Errorf("%s: %q, %v", name, message, err)
		}
		if trunk := ts.trunkAt("wss", addrPortOf(conn.LocalAddr())); trunk == nil || trunk.Name != "sbc" {
			t.Errorf("%s: it is %+v", name, trunk)
		}
	}
}

// from makes a WebSocket come from another address.
func from(addr string) func(*ws.Dialer) {
	return func(d *ws.Dialer) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
		d.NetDial = func(ctx context.Context, network, to string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, to)
		}
	}
}

// oneWay is a connection that was said all of something, and hears nothing.
type oneWay struct {
	net.Conn
	said *bytes.Reader
}

func (c oneWay) Read(b []byte) (int, error) { return c.said.Read(b) }

func (oneWay) Write(b []byte) (int, error) { return len(b), nil }

// FuzzWebSocket: whatever a peer sends, sipgo reads frames it understands, each
// of no more than it takes.
func FuzzWebSocket(f *testing.F) {
	for _, frames := range [][]ws.Frame{
		{ws.NewFrame(ws.OpText, true, wsOptions(0))},
		{ws.NewFrame(ws.OpBinary, false, []byte("OPTI")), ws.NewFrame(ws.OpPing, true, []byte("?")), ws.NewFrame(ws.OpContinuation, true, []byte("ONS"))},
		{ws.NewFrame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusGoingAway, "bye"))},
		{ws.NewFrame(ws.OpText, true, nil), ws.NewFrame(ws.OpContinuation, true, nil)},
	} {
		var said bytes.Buffer
		for _, frame := range frames {
			if err := ws.WriteFrame(&said, ws.MaskFrame(frame)); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(said.Bytes())
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		w := &webSocket{Conn: oneWay{said: bytes.NewReader(said)}, opened: true}
		for {
			header, err := ws.ReadHeader(w)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || !header.Fin || header.OpCode != ws.OpText || !header.Masked || header.Mask != [4]byte{} || header.Length > maxMessage {
				t.Fatalf("%+v: %v", header, err)
			}
			if _, err := io.CopyN(io.Discard, w, header.Length); err != nil {
				t.Fatal(err)
			}
		}
	})
}
