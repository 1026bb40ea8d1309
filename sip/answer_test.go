package sip

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// clockedConn notes when messages are written.
type clockedConn struct {
	start  time.Time
	writes []time.Duration
}

func (c *clockedConn) WriteMsg(sipmsg.Message) error {
	c.writes = append(c.writes, time.Since(c.start))
	return nil
}
func (c *clockedConn) LocalAddr() net.Addr    { return &net.UDPAddr{} }
func (c *clockedConn) Ref(int) int            { return 1 }
func (c *clockedConn) TryClose() (int, error) { return 1, nil }
func (c *clockedConn) Close() error           { return nil }

// TestResendSchedule: RFC 3261 section 13.3.1.4 with T1 = 0.5 s and T2 = 4 s.
func TestResendSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &clockedConn{start: time.Now()}
		d := &dialog{line: line{server: &Server{t1: t1}}, phase: accepted}
		d.mu.Lock()
		if err := d.accept(sipmsg.NewResponse(200, "OK"), conn, 1, false); err != nil {
			t.Fatal(err)
		}
		d.mu.Unlock()
		time.Sleep(64*t1 - time.Millisecond)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reply.acked = true // before the wait is over

		var want []time.Duration
		for _, ms := range []int{0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500} {
			want = append(want, time.Duration(ms)*time.Millisecond)
		}
		if !slices.Equal(conn.writes, want) {
			t.Errorf("the 200 was sent at %v, want %v", conn.writes, want)
		}
	})
}
