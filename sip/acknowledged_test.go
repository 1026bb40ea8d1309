package sip

import "testing"

// Whether the peer got our 200 OK is told by its ACK, or by a BYE that comes
// without one.
func TestAcknowledged(t *testing.T) {
	for _, tt := range []struct {
		name  string
		peer  func(c *rawCall)
		cause error
		want  bool
	}{
		{"ACK and BYE", func(c *rawCall) { c.establish(); c.bye() }, ErrCallerHungUp, true},
		{"BYE alone", func(c *rawCall) {
			c.send("INVITE")
			c.toTag = c.peer.expect("SIP/2.0 200", "INVITE").toTag()
			c.bye()
		}, ErrCallerHungUp, true},
		{"neither", func(c *rawCall) { c.send("INVITE") }, ErrNoACK, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ts := serveTest(t, quick, nil)
			tt.peer(newRawPeer(t, ts, "127.0.0.1").newCall())
			call := ts.call(t)
			ts.ended(t, tt.cause)
			if got := call.Acknowledged(); got != tt.want {
				t.Errorf("acknowledged: %v, want %v", got, tt.want)
			}
		})
	}
}
