package sip

// Acknowledged says whether the peer has shown that it got our 200 OK, by an
// ACK or a BYE. Where it has not by the end of the call, there was none: its
// INVITE had timed out (RFC 3261 section 17.1.1.2), and a proxy then goes on to
// another gateway.
func (c *Call) Acknowledged() bool {
	c.dialog.mu.Lock()
	defer c.dialog.mu.Unlock()
	return c.dialog.heardOK
}
