package sip

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// maxQueued is what waits for a peer that does not read, beside what the system
	// keeps, in bytes: over one connection 200 calls a second are told as much in
	// two seconds, for which a busy proxy may well look elsewhere.
	maxQueued = 1 << 20
	lastWords = time.Second // for what is queued when a connection closes
)

// errNotReading is why a connection with a full queue takes nothing more.
var errNotReading = errors.New("the peer does not read")

// queuedConn is a connection to which a write never waits: dialogs write under
// their lock, which the end of the call needs too. What is written is queued,
// and sent by a goroutine that ends with the queue. A peer that does not read
// within patience, or lets the queue run full, loses the connection: half a
// message may be on its way. Whoever writes next gets the error.
type queuedConn struct {
	net.Conn
	patience time.Duration

	mu      sync.Mutex
	queue   []byte
	sending bool
	failed  error // why nothing more is taken
}

// Write queues b.
func (c *queuedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	if len(c.queue)+len(b) > maxQueued {
		c.failed = errNotReading
		_ = c.Conn.Close() // the error says why
		return 0, c.failed
	}
	c.queue = append(c.queue, b...)
	if !c.sending {
		c.sending = true
		go c.send()
	}
	return len(b), nil
}

// send empties the queue. A connection that was closed meanwhile closes after.
func (c *queuedConn) send() {
	for {
		b := c.next()
		if b == nil {
			return
		}
		if _, err := c.Conn.Write(b); err != nil {
			c.fail(err)
		}
	}
}

// next takes what is queued, nil when that is nothing.
func (c *queuedConn) next() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.queue
	c.queue = nil
	if len(b) > 0 {
		patience := c.patience
		if c.failed != nil {
			patience = lastWords
		}
		_ = c.Conn.SetWriteDeadline(time.Now().Add(patience)) // where it fails, so does the write
		return b
	}
	c.sending = false
	if c.failed != nil {
		_ = c.Conn.Close() // the peer has it all
	}
	return nil
}

// fail drops what is queued, and the connection.
func (c *queuedConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed, c.queue = err, nil
	_ = c.Conn.Close() // err says why
}

// Close lets what is queued out, for a moment, and closes the connection then.
func (c *queuedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return nil
	}
	c.failed = net.ErrClosed
	if c.sending {
		return c.Conn.SetWriteDeadline(time.Now().Add(lastWords))
	}
	return c.Conn.Close()
}

// SetDeadline sets that of reads: a write does not wait, and TLS, which sets one
// when it closes, would cut off what is queued.
func (c *queuedConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: see SetDeadline.
func (c *queuedConn) SetWriteDeadline(time.Time) error { return nil }
