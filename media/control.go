package media

import (
	"net/netip"
	"time"
)

const (
	// controlBuffer holds what comes between two looks, bytes: some twenty
	// packets, of which a peer sends one.
	controlBuffer = 16 << 10
	// controlLooks bounds how many batches one look takes.
	controlLooks = 4
)

// control is the port for RTCP that comes apart from RTP: the odd one that
// follows (RFC 3550 §11). Nothing of a recording hangs on it, so nobody waits
// for what comes: it is looked at when a report of ours is due, which goes out
// there.
type control struct {
	receiver *receiver
	socket   *socket
	peer     netip.AddrPort // where its RTCP came from
}

// apart says whether RTCP has a port of its own. By ICE it has the RTP port,
// and DTLS would make keys for it by a handshake of its own (RFC 5764 §4.1).
func (a *agreement) apart() bool {
	dtls := a.protected != nil && a.protected.certificates != nil
	return a.control.IsValid() && !a.mux && !dtls && !a.ice.checked()
}

// openControl opens the port for RTCP where one was agreed on. Where it is
// another program's, or out of the range, reports go out from the RTP port.
func (r *recorder) openControl() {
	l := r.leg
	if r.control != nil || !r.agreed.apart() || l.port >= l.engine.options.Ports.Last {
		return
	}
	s, err := listen(netip.AddrPortFrom(l.engine.options.Address, l.port+1), controlBuffer)
	if err != nil {
		l.engine.log.Debug("no port for RTCP", "port", l.port+1, "error", err)
		return
	}
	r.control = &control{receiver: newReceiver(s, l.engine.batches, time.Now()), socket: s}
}

func (r *recorder) closeControl() {
	if r.control != nil {
		_ = r.control.socket.Close()
	}
}

// hearControl takes what has come to the port for RTCP.
func (r *recorder) hearControl(now time.Time) {
	if r.control == nil {
		return
	}
	for range controlLooks {
		n, err := r.control.receiver.receive(now, r.controlled)
		if n == 0 || err != nil {
			return
		}
	}
}

// controlled takes a packet that came to the port for RTCP: from where the peer
// said, or from where its audio comes, as NAT may give it any port. Where audio
// is encrypted the key says whose it is.
func (r *recorder) controlled(d datagram) {
	l := r.leg
	d.source = netip.AddrPortFrom(d.source.Addr().Unmap(), d.source.Port())
	theirs := d.source == r.agreed.control || d.source.Addr() == l.latch.source.Addr()
	if r.agreed.protected != nil && theirs {
		var shown proof
		d.packet, shown = l.opener.openControl(d.packet)
		theirs = shown == genuine
	}
	switch {
	case !theirs:
		l.counts.foreign.Add(1)
	case !isControl(d.packet):
		l.counts.invalid.Add(1)
	default:
		l.counts.control.Add(1)
		r.control.peer = d.source
		r.reports.hear(d.packet, d.arrival)
	}
}
