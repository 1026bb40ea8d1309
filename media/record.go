package media

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Why a recording ended by itself.
var (
	ErrNoRTP   = errors.New("media: no audio came")
	ErrTooLong = errors.New("media: the recording reached its maximum duration")
)

const (
	recordSpan  = time.Second          // a record goes to the tape after this time
	recordSize  = 48 << 10             // or when it holds so many bytes
	recordStart = 12 << 10             // a second of G.711 fits: its record never grows
	maxPacket   = 2048                 // bytes; what is longer is no audio packet of any network
	rtpHeader   = 12                   // bytes, without contributing sources
	quiet       = 5 * time.Millisecond // that ends the draining of a socket
	drainLimit  = 1024                 // packets that draining takes at most, more than the socket holds

	// No call fills the disk: a tape takes so many bytes, and so many more for
	// each second since it began. G.711 needs 9 kB a second, Opus at its most,
	// 510 kbit/s in packets of 2.5 ms, 75 kB, and some send each packet twice.
	tapeBurst = 2 << 20
	tapeRate  = 160_000
)

// Record writes every packet of the call to tape, beginning with those that
// came since Open, until ctx ends; then what has arrived by now is still
// written, and the result is nil. It ends by itself with ErrNoRTP when nothing
// valid came for Options.NoRTP, not counting the time on hold, with ErrTooLong
// at Options.MaxDuration, both after what has arrived, and with the tape's
// error. A socket error, such as ECONNREFUSED, ends nothing. Record sends the
// beep and the RTCP reports, and answers what else comes to the port: DTLS
// handshakes and ICE's checks.
//
// A record goes to the tape once a second, or when it holds 48 kB. The first
// one begins with the formats; they are repeated when the peer offers again,
// and when what came before turns out to be another's. Packets beyond what
// audio can be are counted and left out.
func (l *Leg) Record(ctx context.Context, tape Tape) error {
	ctx, cancel := context.WithCancel(ctx)
	var beep sync.WaitGroup
	beep.Go(func() { l.beep(ctx) })
	defer beep.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, l.socket.wake)()

	r := newRecorder(l, tape)
	defer l.associations.close()
	defer r.closeControl()
	why := r.run(ctx)
	r.tell(time.Now(), true)
	r.flush(time.Now())
	if l.latch.source.IsValid() {
		l.engine.ports.leave(l.port, l.latch.stream)
	}
	return cmp.Or(why, r.failed)
}

// recorder is one run of Record. All that it holds belongs to its goroutine.
type recorder struct {
	leg      *Leg
	receiver *receiver
	tape     Tape
	agreed   *agreement // as far as it has been taken note of

	record  []byte    // entries not yet on the tape
	taken   int64     // bytes of packets, on the tape and in the record
	began   time.Time // the tape's zero
	flushed time.Time // when the last record was due
	heard   time.Time // the last valid packet, or the end of a hold
	failed  error     // what the tape said first; it ends the recording

	keys    *secured // the last DTLS handshake that has been taken note of
	locked  bool     // packets come encrypted, and the keys are not there yet
	early   []datagram
	hurry   time.Time // until when to look often, for what must happen before audio comes
	reports reporter
	control *control // nil where RTCP comes with RTP
}

func newRecorder(l *Leg, tape Tape) *recorder {
	now := time.Now()
	r := &recorder{
		leg: l, receiver: newReceiver(l.socket, l.engine.batches, now), tape: tape, agreed: l.agreed.Load(),
		record: make([]byte, 0, recordStart),
		began:  now, flushed: now, heard: now,
	}
	r.formats(now)
	r.hurry = now.Add(settlingTime)
	r.reports.schedule(now)
	r.openControl()
	r.rekey()
	return r
}

// run reads until ctx ends, which is nil, or something else ends the recording.
func (r *recorder) run(ctx context.Context) error {
	for {
		now := time.Now()
		if r.agreed.paused {
			r.heard = now
		}
		if r.failed == nil && now.Sub(r.flushed) >= recordSpan {
			r.flush(now)
			r.look(now)
		}
		if !now.Before(r.reports.due) {
			r.tell(now, false)
		}
		switch {
		case r.failed != nil:
			return r.failed
		case now.Sub(r.began) >= r.leg.engine.options.MaxDuration:
			r.drain()
			return ErrTooLong
		case now.Sub(r.heard) >= r.leg.engine.options.NoRTP:
			// After a time in which the machine stood still, packets wait in the socket.
			if r.drain(); time.Since(r.heard) >= r.leg.engine.options.NoRTP {
				return ErrNoRTP
			}
		}
		// Who ends ctx wakes the receiver next, and a wake is kept: nothing is missed.
		select {
		case <-ctx.Done():
			r.drain()
			return nil
		default:
		}
		// Of all errors closing alone ends it: after ECONNREFUSED, or a network that is gone for a moment, audio may still come.
		if _, err := r.read(r.next(now)); errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("media: record: %w", err)
		}
	}
}

// next is when the reader must look up, whatever comes: at most a second ahead,
// so that packets need not touch the deadline.
func (r *recorder) next(now time.Time) time.Time {
	next := r.flushed.Add(recordSpan)
	for _, t := range [...]time.Time{
		r.began.Add(r.leg.engine.options.MaxDuration),
		r.heard.Add(r.leg.engine.options.NoRTP),
		r.reports.due,
	} {
		if t.Before(next) {
			next = t
		}
	}
	if now.Before(r.hurry) && now.Add(settling).Before(next) && !r.settled() {
		return now.Add(settling)
	}
	return next
}

// drain reads what has arrived: a BYE may overtake the last packets. It ends
// when nothing came for a few milliseconds, or at once when the leg is closed.
func (r *recorder) drain() {
	until := time.Now().Add(quiet)
	for count := 0; count < drainLimit && r.failed == nil; {
		n, err := r.read(until)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case n > 0:
			until = time.Now().Add(quiet)
		case err == nil && !time.Now().Before(until):
			return
		}
		count += max(n, 1)
	}
}

// read waits for packets, not beyond until, and keeps those that came. The
// error is the socket's.
func (r *recorder) read(until time.Time) (n int, err error) {
	n, err = r.receiver.receive(until, r.keep)
	r.adopt()
	return n, err
}

// adopt takes note of a new agreement, if there is one: the formats go to the
// tape, and the source may change.
func (r *recorder) adopt() {
	a, keys := r.leg.agreed.Load(), r.leg.secured.Load()
	if a == r.agreed {
		if keys != r.keys {
			r.keys = keys
			r.rekey()
		}
		return
	}
	now := time.Now()
	r.keys, r.hurry = keys, now.Add(settlingTime)
	r.agreed, r.heard = a, now
	r.formats(now)
	r.openControl()
	if r.control != nil {
		r.control.peer = netip.AddrPort{}
	}
	if err := r.leg.latch.rearm(r.leg.socket, now); err != nil {
		r.leg.engine.log.Warn("an RTP port stays bound to the source before the re-offer", "port", r.leg.port, "error", err)
	}
	r.rekey()
}

// formats writes the formats in force to the record.
func (r *recorder) formats(now time.Time) {
	r.add(entryFormat, appendFormats(nil, r.agreed.received()), now)
}

// keep takes a datagram in.
func (r *recorder) keep(d datagram) {
	r.adopt()
	if r.failed == nil {
		r.demux(d)
	}
}

// media puts a packet into the record, if it is the caller's audio.
func (r *recorder) media(d datagram) {
	c, latch := &r.leg.counts, &r.leg.latch
	s := streamOf(d.packet, d.source)
	encrypted := r.agreed.protected != nil
	switch {
	case encrypted:
		if d.packet = r.opened(d, s); d.packet == nil {
			return
		}
	case !r.known(s):
		r.stranger(d)
		return
	default:
		d.packet = r.straggler(d)
	}
	switch r.agreed.classify(d.packet) {
	case isRTCP:
		c.control.Add(1)
		r.reports.hear(d.packet, d.arrival)
		return
	case isInvalid:
		c.invalid.Add(1)
		return
	case isEmpty: // a sign of life, which latches nothing
		r.heard = d.arrival
		if s.source != latch.source {
			c.invalid.Add(1)
			return
		}
	case isRTP:
		if encrypted {
			latch.prove(s, d.arrival)
		} else if latch.take(s, r.remote(), d.arrival) {
			r.anew(d.arrival)
		}
		r.reports.take(d.packet, d.arrival, r.agreed.rate(d.packet[1]&0x7f))
	}
	r.heard = d.arrival
	if r.excessive(d) {
		return
	}
	r.add(entryAudio, d.packet, d.arrival)
	if c.packets.Add(1) == 1 {
		c.first.Store(d.arrival.UnixNano())
	}
	c.bytes.Add(uint64(len(d.packet)))
	c.last.Store(d.arrival.UnixNano())
}

// excessive says whether a packet is beyond what audio can be, and counts it.
func (r *recorder) excessive(d datagram) bool {
	size := entryHeader + int64(len(d.packet))
	if r.taken+size <= tapeBurst+d.arrival.Sub(r.began).Milliseconds()*tapeRate/1000 {
		r.taken += size
		return false
	}
	if r.leg.counts.excess.Add(1) == 1 {
		r.leg.engine.log.Warn("more comes to an RTP port than audio can be: the rest is left out", "port", r.leg.port)
	}
	return true
}

// anew has all that was recorded forgotten, as another's voice: what is on the
// tape already by an entry, for a tape only grows and may be rendered by now.
func (r *recorder) anew(now time.Time) {
	c := &r.leg.counts
	c.foreign.Add(c.packets.Swap(0))
	c.bytes.Store(0)
	r.record = r.record[:0]
	r.add(entryAnew, nil, now)
	r.formats(now)
}

// add appends an entry to the record; one that is full goes to the tape first.
func (r *recorder) add(kind entryKind, body []byte, now time.Time) {
	if len(r.record)+entryHeader+len(body) > recordSize {
		r.flush(now)
	}
	r.record = appendEntry(r.record, kind, uint32(now.Sub(r.began).Milliseconds()), body)
}

// flush puts the record on the tape. One that the tape would not take stays,
// and is tried once more at the end.
func (r *recorder) flush(now time.Time) {
	r.flushed = now
	if len(r.record) == 0 {
		return
	}
	if err := r.tape.Append(r.record); err != nil {
		r.failed = cmp.Or(r.failed, fmt.Errorf("media: write to the tape: %w", err))
		return
	}
	r.record = r.record[:0]
}

type packetKind int

const (
	isRTP packetKind = iota
	isEmpty
	isRTCP
	isInvalid
)

// classify tells an RTP packet of an agreed format from one with nothing in it,
// from RTCP (RFC 5761 §4) and from what is neither.
func (a *agreement) classify(p []byte) packetKind {
	if len(p) < 8 || len(p) == maxPacket || p[0]>>6 != 2 {
		return isInvalid
	}
	if !a.known.has(p[1] & 0x7f) {
		if isControl(p) {
			return isRTCP
		}
		return isInvalid
	}
	header := rtpHeader + 4*int(p[0]&0x0f) // contributing sources
	if p[0]&0x10 != 0 {                    // an extension (RFC 3550 §5.3.1), its length in words
		header += 4
		if len(p) >= header {
			header += 4 * int(binary.BigEndian.Uint16(p[header-2:]))
		}
	}
	if len(p) < header {
		return isInvalid
	}
	if p[0]&0x20 != 0 { // padding, its last byte says how much, itself included (RFC 3550 §5.1)
		padding := int(p[len(p)-1])
		if padding == 0 {
			return isEmpty
		}
		header += padding
	}
	if len(p) <= header {
		return isEmpty
	}
	return isRTP
}
