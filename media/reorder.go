package media

// packet is one RTP packet of the audio stream on its way through the stages
// of rendering.
type packet struct {
	source    uint32 // SSRC
	sequence  uint16
	timestamp uint32
	marker    bool
	arrival   int64     // ms since the tape began
	format    *decoding // what its payload type meant when it came
	missing   int       // packets that never came between the one before and this one
	payload   []byte    // valid until the stage it is given to returns
}

const (
	reorderWindow   = 200  // ms a missing packet is waited for, by the arrival of later ones
	reorderSlots    = 128  // sequence numbers in sight; 200 ms of 2.5 ms packets are 80
	reorderHeadroom = 32   // of them may lie before the first packet that came
	reorderDropout  = 3000 // packets that may be lost at once (RFC 3550 A.1, MAX_DROPOUT)
)

// slotState is what is known of a sequence number in sight.
type slotState byte

const (
	slotUnknown slotState = iota
	slotHeld              // came, waits for those before it
	slotPassed            // came and went on
	slotMissed            // did not come in time
)

// slot is one sequence number in sight. The packet's payload buffer is the
// slot's own and is used again.
type slot struct {
	packet
	state slotState
}

// reorder puts packets in the order of their sequence numbers (RFC 3550 §5.1).
// It never looks at a clock: a missing packet is given up when a later one has
// waited for it for reorderWindow by the arrival of packets, or at the end.
// The start of a stream is held for as long, for its first packet may come
// second.
type reorder struct {
	next func(*packet) error // the stage behind

	slots    [reorderSlots]slot
	held     int
	begun    bool // a source is known
	running  bool // expected is the number of a packet of this source
	source   uint32
	expected uint16
	now      int64 // ms, the latest arrival seen
	missing  int   // given up since the last packet passed on

	resumed bool   // the source started over with other sequence numbers …
	resume  uint16 // … and this was expected before
	stray   slot   // a packet far off, kept until another one follows it

	former  uint32 // the source before this one
	changed int64  // ms, when this one took over

	lost, late, duplicates int
}

// push takes a packet as it came. Its payload may be changed afterwards.
func (r *reorder) push(p *packet) error {
	r.now = max(r.now, p.arrival)
	if !r.begun || p.source != r.source {
		return r.change(p)
	}
	ahead := int(int16(p.sequence - r.expected)) // the wrap included
	if ahead <= -reorderSlots || ahead >= reorderSlots {
		return r.offside(p)
	}
	if ahead == 0 && r.held == 0 && r.running { // nearly every packet: no copy
		return r.pass(&r.slots[p.sequence%reorderSlots], p)
	}
	s := &r.slots[p.sequence%reorderSlots]
	switch {
	case ahead >= 0 && s.state != slotHeld:
		s.hold(p)
		r.held++
	case s.state == slotMissed && s.sequence == p.sequence:
		s.state = slotPassed
		r.lost--
		r.late++
	case s.sequence == p.sequence:
		r.duplicates++
	default:
		r.late++
	}
	return r.release(false)
}

// end passes on everything that is still held.
func (r *reorder) end() error {
	if err := r.release(true); err != nil {
		return err
	}
	if r.stray.state != slotHeld {
		return nil
	}
	if int16(r.stray.sequence-r.expected) < 0 {
		r.late++
		return nil
	}
	if err := r.startOver(); err != nil {
		return err
	}
	return r.release(true)
}

// change lets another source take over at once. What the former one still had
// on its way counts as late for as long as the window, lest two sources that
// overlap be laid end to end.
func (r *reorder) change(p *packet) error {
	if r.begun && p.source == r.former && p.arrival-r.changed < reorderWindow {
		r.late++
		return nil
	}
	if err := r.release(true); err != nil {
		return err
	}
	if r.stray.state == slotHeld {
		r.late++
	}
	r.stray.state = slotUnknown
	r.former, r.changed = r.source, p.arrival
	if !r.begun {
		r.former = p.source
	}
	r.begun, r.resumed = true, false
	r.start(p)
	return nil
}

// offside takes a packet far from what is expected. Two in a row mean that the
// source started over, or that much was lost; one alone means nothing (RFC
// 3550 A.1, bad_seq).
func (r *reorder) offside(p *packet) error {
	if r.stray.state != slotHeld || p.sequence != r.stray.sequence+1 {
		if r.stray.state == slotHeld {
			r.late++
		}
		r.stray.hold(p)
		return nil
	}
	if err := r.release(true); err != nil {
		return err
	}
	if err := r.startOver(); err != nil {
		return err
	}
	return r.push(p)
}

// startOver begins again with the stray packet.
func (r *reorder) startOver() error {
	r.resumed, r.resume = true, r.expected
	r.stray.state = slotUnknown
	r.start(&r.stray.packet)
	return r.release(false)
}

// start begins a run of sequence numbers with p.
func (r *reorder) start(p *packet) {
	for i := range r.slots {
		r.slots[i].state = slotUnknown
	}
	r.source, r.running = p.source, false
	r.expected = p.sequence - reorderHeadroom
	r.slots[p.sequence%reorderSlots].hold(p)
	r.held = 1
}

// release passes on what is due: what follows without a hole, and what has
// waited long enough for those before it; or all of it.
func (r *reorder) release(all bool) error {
	for r.held > 0 {
		s := r.first()
		if s.sequence != r.expected && !all && r.now-s.arrival < reorderWindow {
			return nil
		}
		r.skip(s.sequence)
		r.held--
		if err := r.pass(s, &s.packet); err != nil {
			return err
		}
	}
	return nil
}

// first finds the held packet that comes first.
func (r *reorder) first() *slot {
	for at := r.expected; ; at++ {
		if s := &r.slots[at%reorderSlots]; s.state == slotHeld {
			return s
		}
	}
}

// skip gives up what lies before the packet numbered to.
func (r *reorder) skip(to uint16) {
	if !r.running { // nothing was expected yet, or not with these numbers
		if gone := to - r.resume; r.resumed && gone < reorderDropout {
			r.lost += int(gone)
			r.missing += int(gone)
		}
		r.expected, r.running, r.resumed = to, true, false
		return
	}
	for ; r.expected != to; r.expected++ {
		s := &r.slots[r.expected%reorderSlots]
		s.state, s.sequence = slotMissed, r.expected
		r.lost++
		r.missing++
	}
}

// pass gives p, whose place is s, to the next stage.
func (r *reorder) pass(s *slot, p *packet) error {
	s.state, s.sequence = slotPassed, p.sequence
	r.expected = p.sequence + 1
	p.missing, r.missing = r.missing, 0
	return r.next(p)
}

// hold keeps a copy of p.
func (s *slot) hold(p *packet) {
	buffer := append(s.payload[:0], p.payload...)
	s.packet, s.state = *p, slotHeld
	s.payload = buffer
}
