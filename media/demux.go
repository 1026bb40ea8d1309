package media

import (
	"bytes"
	"net/netip"
	"time"
)

const (
	settling     = 10 * time.Millisecond // between looks while a handshake or checks go on
	settlingTime = 10 * time.Second      // after which they have failed, or need no haste
	earlyPackets = 100                   // held while the keys are made, two seconds of them
)

// demux has a datagram go where its first byte says (RFC 7983 §7).
func (r *recorder) demux(d datagram) {
	d.source = netip.AddrPortFrom(d.source.Addr().Unmap(), d.source.Port())
	a := r.agreed
	switch {
	case a.ice.checked() && isSTUN(d.packet):
		r.check(d)
	case a.protected != nil && a.protected.certificates != nil && isDTLS(d.packet):
		r.shake(d)
	default:
		r.media(d)
	}
}

// remote is where the peer says that its audio comes from.
func (r *recorder) remote() netip.AddrPort {
	if to := r.leg.destination(r.agreed); to.IsValid() {
		return to
	}
	return r.agreed.remote
}

// known says whether a source may be the caller's, by its address or because it
// showed the password of a check.
func (r *recorder) known(s stream) bool {
	l := r.leg
	return l.latch.allows(s, r.remote(), l.from) || r.agreed.ice.checked() && !l.latch.source.IsValid() && l.checks.passed(s.source)
}

// stranger counts a packet that is not the caller's.
func (r *recorder) stranger(d datagram) {
	l := r.leg
	l.latch.stranger(l.socket, r.remote(), d.arrival, l.engine.log)
	l.counts.foreign.Add(1)
}

// check answers a connectivity check.
func (r *recorder) check(d datagram) {
	reply, nominated := r.leg.checks.answer(d.packet, d.source, r.agreed.ice)
	switch {
	case reply == nil && d.source == r.leg.latch.source: // an indication, which keeps its NAT open
		r.leg.counts.invalid.Add(1)
		return
	case reply == nil:
		r.stranger(d)
		return
	}
	_, _ = r.leg.socket.WriteToUDPAddrPort(reply, d.source) // a lost one is asked for again
	if nominated && r.leg.destination(r.agreed) != d.source {
		r.leg.nominated.Store(&d.source)
	}
	if nominated && !r.settled() {
		r.hurry = d.arrival.Add(settlingTime) // a handshake comes next
	}
}

// shake hands a DTLS record on, if its source may be the caller's: whose
// certificate it is shows only at the end of a handshake.
func (r *recorder) shake(d datagram) {
	s := stream{source: d.source}
	switch {
	case d.source == r.leg.checks.control: // RTCP apart from RTP has keys of its own (RFC 5764 §4.1), and goes without reports
		return
	case !r.known(s) && !r.leg.checks.passed(d.source):
		r.stranger(d)
		return
	}
	r.leg.associations.take(d, r.agreed.protected.certificates, d.source == r.remote())
}

// settled says whether nothing has to happen before audio can come.
func (r *recorder) settled() bool {
	a := r.agreed
	return !r.locked && (!a.ice.checked() || r.leg.nominated.Load() != nil)
}

// rekey has packets opened with the keys in force, and those that came before
// them opened now.
func (r *recorder) rekey() {
	_, theirs := r.leg.keys(r.agreed)
	r.locked = r.agreed.protected != nil && theirs == nil
	if r.locked {
		return
	}
	if err := r.leg.opener.use(theirs); err != nil {
		r.leg.engine.log.Error("audio cannot be decrypted", "port", r.leg.port, "error", err)
		return
	}
	early := r.early
	r.early = nil
	for _, d := range early {
		r.media(d)
	}
}

// opened is a packet decrypted; nil for one that is not proven to be the
// caller's.
func (r *recorder) opened(d datagram, s stream) []byte {
	l := r.leg
	var plain []byte
	var shown proof
	if isControl(d.packet) && !r.agreed.known.has(d.packet[1]&0x7f) {
		plain, shown = l.opener.openControl(d.packet)
	} else {
		plain, shown = l.opener.open(d.packet)
	}
	switch {
	case shown == genuine:
		return plain
	case r.locked && r.known(s):
		if len(r.early) < earlyPackets {
			d.packet = bytes.Clone(d.packet)
			r.early = append(r.early, d)
		}
	case s.source == l.latch.source || !l.latch.source.IsValid() && r.known(s):
		l.counts.invalid.Add(1)
	case shown == forged:
		r.stranger(d)
	default: // a copy of what the caller sent proves nothing against anybody
		l.counts.foreign.Add(1)
	}
	return nil
}

// straggler is a packet of before a re-offer that ended the encryption, opened
// with the key from before; any other packet is as it was.
func (r *recorder) straggler(d datagram) []byte {
	o := &r.leg.opener
	if o.former == nil || d.arrival.Sub(r.leg.latch.armed) > latchPatience {
		return d.packet
	}
	if plain, shown := o.open(d.packet); shown == genuine {
		return plain
	}
	return d.packet
}

// look releases the kernel's filter where the caller may have moved behind it,
// which a key or a password would show.
func (r *recorder) look(now time.Time) {
	l := r.leg
	if !l.latch.connected || r.agreed.protected == nil && !r.agreed.ice.checked() || now.Sub(r.heard) < latchPatience {
		return
	}
	if err := l.latch.release(l.socket); err != nil {
		l.engine.log.Warn("an RTP port stays bound to a source that is silent", "port", l.port, "error", err)
	}
}

// tell sends a report on what came to a peer that has sent something; with bye
// the last one, if the peer knows us at all (RFC 3550 §6.3.7).
func (r *recorder) tell(now time.Time, bye bool) {
	r.reports.schedule(now)
	r.hearControl(now)
	l, to, out := r.leg, r.agreed.control, r.leg.socket
	switch {
	case r.agreed.mux && l.latch.source.IsValid():
		to = l.latch.source // RFC 4961: a NAT lets through what goes back where it came from
	case r.agreed.mux:
		to = r.remote()
	case r.agreed.protected != nil && r.agreed.protected.certificates != nil:
		return // its keys would be of a handshake of its own (RFC 5764 §4.1)
	case r.agreed.ice.checked():
		to = l.checks.control
	case r.control != nil && r.agreed.apart():
		out = r.control.socket
		if r.control.peer.IsValid() {
			to = r.control.peer // as above
		}
	}
	said := l.said.Load()
	if !to.IsValid() || !l.latch.source.IsValid() && !bye || bye && said == nil && r.reports.sent == 0 {
		return
	}
	packet, err := r.reports.compose(l.ssrc, said, now, bye)
	if err != nil {
		l.engine.log.Warn("no RTCP report can be written", "port", l.port, "error", err)
		return
	}
	if _, err := l.send(out, packet, to); err == nil {
		r.reports.sent++
	}
}
