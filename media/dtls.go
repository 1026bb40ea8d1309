package media

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
)

const (
	handshakeTime    = 20 * time.Second       // a handshake takes no longer
	flightInterval   = 250 * time.Millisecond // after which a lost flight is sent again, at first
	handshakesAtOnce = 4                      // of sources that are allowed; the rest wait
	associationRest  = 2 * time.Second        // in which another ClientHello is one that was resent
	queuedRecords    = 64                     // that one association holds at most
)

// secured is what a handshake made: the keys, and whose they are.
type secured struct {
	peer         *fingerprints
	ours, theirs *master
}

// associations are the DTLS associations of a leg, one for each source that
// has begun a handshake (RFC 5764 §5.1.2). The first whose certificate is the
// one in the session description has the keys. They belong to Record, but for
// what their goroutines leave.
type associations struct {
	leg     *Leg
	all     []*association
	running sync.WaitGroup
}

// association is a handshake, and then whatever a peer may resend of it.
type association struct {
	source netip.AddrPort
	peer   *fingerprints
	came   *packetio.Buffer
	stop   context.CancelFunc
	began  time.Time
	over   atomic.Bool
	agreed atomic.Bool // it has made keys
}

// take hands a datagram to the association of its source. A ClientHello begins
// one; first is for the source that the peer named, which waits for no other.
func (s *associations) take(d datagram, peer *fingerprints, first bool) {
	a := s.find(d.source, peer)
	if isClientHello(d.packet) && (a == nil || a.agreed.Load() && d.arrival.Sub(a.began) > associationRest) {
		if a != nil {
			a.stop()
			a.over.Store(true)
		}
		a = s.begin(d, peer, first)
	}
	if a != nil {
		_, _ = a.came.Write(d.packet, nil) // what does not fit is resent
	}
}

// find drops on its way what is over, and ends what is of a certificate that no
// longer counts: its keys are made, or never will be.
func (s *associations) find(source netip.AddrPort, peer *fingerprints) (found *association) {
	kept := s.all[:0]
	for _, a := range s.all {
		if a.peer != peer {
			a.stop()
		}
		if a.over.Load() || a.peer != peer {
			continue
		}
		kept = append(kept, a)
		if a.source == source {
			found = a
		}
	}
	clear(s.all[len(kept):])
	s.all = kept
	return found
}

func (s *associations) begin(d datagram, peer *fingerprints, first bool) *association {
	if len(s.all) >= handshakesAtOnce {
		if !first {
			return nil
		}
		s.all[0].stop()
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &association{source: d.source, peer: peer, came: packetio.NewBuffer(), stop: stop, began: d.arrival}
	a.came.SetLimitCount(queuedRecords)
	s.all = append(s.all, a)
	s.running.Go(func() { s.leg.handshake(ctx, a) })
	return a
}

// close ends them all and waits for them.
func (s *associations) close() {
	for _, a := range s.all {
		a.stop()
	}
	s.running.Wait()
	s.all = nil
}

// handshake runs an association to its end, which is that of its context or of
// the peer's interest.
func (l *Leg) handshake(ctx context.Context, a *association) {
	defer a.over.Store(true)
	defer a.stop()
	conn, err := l.engine.identity.serve(&recordConn{a.came, l.socket, a.source}, a.source, a.peer)
	if err != nil {
		l.engine.log.Warn("no DTLS handshake can be begun", "port", l.port, "error", err)
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close() //nolint:errcheck // its end is wanted, however it comes
	shaking, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := conn.HandshakeContext(shaking); err != nil {
		if ctx.Err() == nil {
			l.engine.log.Warn("DTLS handshake failed: the call stays silent", "port", l.port, "error", err)
		}
		return
	}
	s, err := keysOf(conn)
	if err != nil {
		l.engine.log.Warn("DTLS handshake without keys: the call stays silent", "port", l.port, "error", err)
		return
	}
	s.peer = a.peer
	a.agreed.Store(true)
	l.secured.Store(s)
	l.socket.wake()
	for nothing := make([]byte, maxPacket); err == nil; { // reading resends our last flight where it was lost
		_, err = conn.Read(nothing)
	}
}

// keysOf exports the keys of a handshake that we served (RFC 5764 §4.2).
func keysOf(conn *dtls.Conn) (*secured, error) {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, errors.New("the peer wants no SRTP (RFC 5764 §4.1)")
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, errors.New("it did not end")
	}
	for _, s := range suites() {
		if s.profile != srtp.ProtectionProfile(profile) {
			continue
		}
		config := srtp.Config{Profile: s.profile}
		if err := config.ExtractSessionKeysFromDTLS(&state, false); err != nil {
			return nil, fmt.Errorf("export keys: %w", err)
		}
		k := &config.Keys
		return &secured{
			ours:   &master{suite: s, secret: append(k.LocalMasterKey, k.LocalMasterSalt...)},
			theirs: &master{suite: s, secret: append(k.RemoteMasterKey, k.RemoteMasterSalt...)},
		}, nil
	}
	return nil, fmt.Errorf("profile %s was not offered", srtp.ProtectionProfile(profile))
}

// isDTLS tells a DTLS record from RTP and STUN (RFC 7983 §7).
func isDTLS(packet []byte) bool { return len(packet) >= 13 && packet[0] >= 20 && packet[0] <= 63 }

// isClientHello says whether a record begins a handshake (RFC 6347 §4.1, §4.2.2):
// type 22, epoch 0, message 1.
func isClientHello(record []byte) bool {
	return len(record) > 13 && record[0] == 22 && record[3] == 0 && record[4] == 0 && record[13] == 1
}

// recordConn is the leg's socket as one association sees it: what came from its
// source, and nothing else.
type recordConn struct {
	*packetio.Buffer
	socket *socket
	source netip.AddrPort
}

// ReadFrom waits for a datagram.
func (c *recordConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := c.Read(b, nil)
	return n, net.UDPAddrFromAddrPort(c.source), err
}

// WriteTo sends to the source, whatever to says.
func (c *recordConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	return c.socket.WriteToUDPAddrPort(b, c.source)
}

// LocalAddr is the leg's.
func (c *recordConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.socket.addr) }

// SetDeadline is that of reading: a datagram is sent at once or not at all.
func (c *recordConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline has nothing to do.
func (c *recordConn) SetWriteDeadline(time.Time) error { return nil }
