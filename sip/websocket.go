package sip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// maxMessage is the largest message of a WebSocket, in bytes: sipgo's buffer.
const maxMessage = 32768

// subprotocol is what WebSocket calls SIP (RFC 7118 section 4.1).
const subprotocol = "sip"

// formality is the handshake that sipgo is shown after the real one.
const formality = "GET / HTTP/1.1\r\nHost: afterbeep\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"

// webSocket is a connection on which SIP travels in WebSocket messages (RFC
// 7118). sipgo shakes hands with one peer at a time, drops binary messages and
// later fragments, and answers neither ping nor close. So all that is done
// here, and sipgo is shown a handshake that cannot fail and each message in
// one frame of text.
type webSocket struct {
	net.Conn
	in bytes.Buffer // what sipgo reads next

	mu     sync.Mutex
	opened bool         // sipgo answered the formality
	out    bytes.Buffer // a frame that sipgo writes piece by piece
}

// upgrade does the WebSocket handshake of a server (RFC 6455 section 4.2).
// Browsers name the web page that connects: only pages of origins may, or any
// page that somebody at a trunk's address opens could call.
func upgrade(conn net.Conn, origins []string) (net.Conn, error) {
	asked := false // for SIP
	upgrader := ws.Upgrader{
		Protocol: func(p []byte) bool { asked = asked || string(p) == subprotocol; return string(p) == subprotocol },
		OnHeader: func(key, value []byte) error {
			if strings.EqualFold(string(key), "Origin") && !slices.Contains(origins, string(value)) {
				return refuseUpgrade(http.StatusForbidden, fmt.Sprintf("sip.origins does not name the web page %q", value))
			}
			return nil
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !asked {
				return nil, refuseUpgrade(http.StatusBadRequest, "the WebSocket subprotocol must be sip")
			}
			return nil, nil
		},
	}
	if _, err := upgrader.Upgrade(conn); err != nil {
		return nil, err
	}
	w := &webSocket{Conn: conn}
	w.in.WriteString(formality)
	return w, nil
}

// refuseUpgrade answers a handshake with an HTTP status and says why.
func refuseUpgrade(status int, why string) error {
	return ws.RejectConnectionError(ws.RejectionStatus(status), ws.RejectionReason(why))
}

// Read yields each message in one frame. io.EOF says that the peer went, or
// sent what is no WebSocket.
func (w *webSocket) Read(b []byte) (int, error) {
	for w.in.Len() == 0 {
		message, err := w.next()
		if err != nil {
			return 0, ended(err)
		}
		// A mask of zeros: what a client sends must have one (RFC 6455 section 5.1).
		_ = ws.WriteHeader(&w.in, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: int64(len(message))})
		w.in.Write(message)
	}
	return w.in.Read(b)
}

// next reads a message, text or binary (RFC 7118 section 5.2), and answers what
// WebSocket itself asks meanwhile.
func (w *webSocket) next() ([]byte, error) {
	control := wsutil.ControlFrameHandler(controlWriter{w}, ws.StateServerSide)
	frames := wsutil.Reader{Source: w.Conn, State: ws.StateServerSide, MaxFrameSize: maxMessage, OnIntermediate: control}
	for {
		header, err := frames.NextFrame()
		if err != nil {
			return nil, err
		}
		if header.OpCode.IsControl() {
			if err := control(header, &frames); err != nil {
				return nil, err
			}
			continue
		}
		message, err := io.ReadAll(io.LimitReader(&frames, maxMessage+1))
		if err == nil && len(message) > maxMessage {
			err = wsutil.ErrFrameTooLarge
		}
		return message, err
	}
}

// controlWriter writes frames of WebSocket's own between those of sipgo.
type controlWriter struct{ *webSocket }

func (c controlWriter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Write(b)
}

// Write takes what sipgo writes, in pieces, and sends each frame as a whole.
func (w *webSocket) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Write(b)
	if !w.opened {
		if w.opened = bytes.Contains(w.out.Bytes(), []byte("\r\n\r\n")); w.opened {
			w.out.Reset()
		}
		return len(b), nil
	}
	rest := bytes.NewReader(w.out.Bytes())
	header, err := ws.ReadHeader(rest)
	if err != nil || int64(rest.Len()) < header.Length {
		return len(b), nil // more is to come
	}
	frame := w.out.Next(w.out.Len() - rest.Len() + int(header.Length))
	if _, err := w.Conn.Write(frame); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ended makes every way in which a peer goes one that sipgo does not complain
// of, unless the network has something to say.
func ended(err error) error {
	if _, network := errors.AsType[*net.OpError](err); err == nil || network {
		return err
	}
	return io.EOF
}
