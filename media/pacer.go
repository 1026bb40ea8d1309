package media

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

const (
	pacerStep  = time.Millisecond
	pacerSlots = 20                   // of a step each, so that a stream has its turn every 20 ms
	pacerLate  = 5 * time.Millisecond // a packet sent longer than this after its time is late
)

// Pacer sends many streams on time from one goroutine. The millisecond in
// which a stream has its turn is the one with the fewest others; the schedule
// is absolute, so that a turn which comes late is made up for and delays
// nothing after it. A packet costs no allocation.
type Pacer struct {
	start chan *Playing
	ended chan struct{} // closed when Run has returned

	sent, late, worst atomic.Int64

	// The rest belongs to Run.
	slots   [pacerSlots][]*Playing
	slot    int // whose turn is next
	playing int
	packet  []byte
}

// NewPacer makes a pacer; nothing is sent unless Run runs.
func NewPacer() *Pacer {
	return &Pacer{
		start:  make(chan *Playing),
		ended:  make(chan struct{}),
		packet: make([]byte, 1500),
	}
}

// PacerStats is what a pacer did so far.
type PacerStats struct {
	Sent  int64         // packets
	Late  int64         // of them, sent more than 5 ms after their time
	Worst time.Duration // by how much the latest was late
}

// Stats may be called at any time, from any goroutine.
func (p *Pacer) Stats() PacerStats {
	return PacerStats{Sent: p.sent.Load(), Late: p.late.Load(), Worst: time.Duration(p.worst.Load())}
}

// Start begins to send a stream within 20 ms. It waits for Run to take it up;
// after Run has returned the stream is over at once, with [ErrPacerEnded].
func (p *Pacer) Start(s Stream) *Playing {
	playing := &Playing{
		stream: s,
		done:   make(chan struct{}),
		held:   -1,
		header: rtp.Header{Version: 2, PayloadType: s.PayloadType, SSRC: s.SSRC},
	}
	select {
	case p.start <- playing:
	case <-p.ended:
		playing.finish(ErrPacerEnded)
	}
	return playing
}

// ErrPacerEnded is why a stream was not played to its end.
var ErrPacerEnded = errors.New("media: the pacer has ended")

// Run sends until ctx is done, and sleeps while there is nothing to send. It
// is to be run once.
func (p *Pacer) Run(ctx context.Context) {
	defer close(p.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due time.Time // the time of the next turn
	for {
		select {
		case <-ctx.Done():
			p.abandon()
			return
		case s := <-p.start:
			if p.playing == 0 {
				due = time.Now()
				timer.Reset(0)
			}
			p.add(s)
		case <-timer.C:
			for range pacerSlots { // not more, so that ctx and start are not starved
				if p.playing == 0 || time.Until(due) > 0 {
					break
				}
				p.turn(due)
				due = due.Add(pacerStep)
			}
			if p.playing > 0 {
				timer.Reset(time.Until(due))
			}
		}
	}
}

// add gives a stream the emptiest slot, of several the next.
func (p *Pacer) add(s *Playing) {
	best := p.slot
	for i := range pacerSlots {
		if at := (p.slot + i) % pacerSlots; len(p.slots[at]) < len(p.slots[best]) {
			best = at
		}
	}
	p.slots[best] = append(p.slots[best], s)
	p.playing++
}

// turn sends a packet of each stream in the slot that is due.
func (p *Pacer) turn(due time.Time) {
	now := time.Now()
	before := p.sent.Load()
	streams := p.slots[p.slot]
	kept := streams[:0]
	for _, s := range streams {
		if p.step(s, now) {
			kept = append(kept, s)
			continue
		}
		s.finish(nil)
		p.playing--
	}
	clear(streams[len(kept):])
	p.slots[p.slot] = kept
	p.slot = (p.slot + 1) % pacerSlots
	if lag, sent := now.Sub(due), p.sent.Load()-before; lag > pacerLate && sent > 0 {
		p.late.Add(sent)
		p.worst.Store(max(p.worst.Load(), int64(lag)))
	}
}

// step sends the next packet of a stream, or what its fault makes of it. It
// says no when the stream is over: 20 ms after its last packet, when that one
// has been played.
func (p *Pacer) step(s *Playing, now time.Time) (more bool) {
	n := s.next
	over := n >= s.stream.packets() || s.stopped.Load()
	fault := NoFault
	if !over && s.stream.Fault != nil {
		fault = s.stream.Fault(n)
	}
	held := s.held
	s.held = -1
	switch {
	case over:
	case fault == Lose:
		s.played.Lost++
	case fault == Swap:
		s.held = n
	case fault == Duplicate:
		p.send(s, n, now)
		p.send(s, n, now)
	default:
		p.send(s, n, now)
	}
	if held >= 0 {
		p.send(s, held, now)
	}
	s.next++
	return !over && !errors.Is(s.played.Err, net.ErrClosed)
}

// send sends packet n of a stream, a part of a turn that began at now.
func (p *Pacer) send(s *Playing, n int, now time.Time) {
	h := &s.header
	h.Marker = n == 0 // a talkspurt begins (RFC 3551 §4.1)
	h.SequenceNumber = s.stream.Sequence + uint16(n)
	h.Timestamp = s.stream.Timestamp + uint32(n)*uint32(s.stream.ClockRate/50)
	size, err := h.MarshalTo(p.packet)
	if err == nil {
		p.packet = append(p.packet[:size], s.stream.Frames[n%len(s.stream.Frames)]...)
		_, err = s.stream.Conn.WriteToUDPAddrPort(p.packet, s.stream.To)
	}
	if err != nil {
		s.played.Failed++
		if s.played.Err == nil {
			s.played.Err = err
		}
		return
	}
	if s.played.Sent == 0 {
		s.played.First = now
	}
	s.played.Last = now
	s.played.Sent++
	p.sent.Add(1)
}

// abandon ends every stream that has not ended itself.
func (p *Pacer) abandon() {
	for _, streams := range p.slots {
		for _, s := range streams {
			s.finish(ErrPacerEnded)
		}
	}
	p.slots, p.playing = [pacerSlots][]*Playing{}, 0
}

// Playing is a stream on its way.
type Playing struct {
	stream  Stream
	header  rtp.Header
	next    int // the packet whose turn is next
	held    int // the one that waits for its successor, or -1
	played  Played
	stopped atomic.Bool
	done    chan struct{}
}

// Played is what became of a stream.
type Played struct {
	Sent, Lost, Failed int       // packets: sent, lost by a fault, refused by the connection
	First, Last        time.Time // when the first and the last were sent
	Err                error     // the first refusal, or ErrPacerEnded
}

// Stop ends the stream within 20 ms.
func (s *Playing) Stop() { s.stopped.Store(true) }

// Done is closed when the stream is over.
func (s *Playing) Done() <-chan struct{} { return s.done }

// Result waits until the stream is over.
func (s *Playing) Result() Played {
	<-s.done
	return s.played
}

func (s *Playing) finish(err error) {
	if s.played.Err == nil {
		s.played.Err = err
	}
	close(s.done)
}
