package sip

// Acknowledged says whether the peer has shown that it got our 200 OK, by an
// ACK or a BYE. Where it has not by the end of the call, there was none: the
// peer had given the INVITE up and gone on, to another gateway most likely
// (RFC 3261 section 16.7), as proxies do after some seconds of silence.
func (c *Call) Acknowledged() bool {
	c.dialog.mu.Lock()
	defer c.dialog.mu.Unlock()
	return c.dialog.heardOK
}
