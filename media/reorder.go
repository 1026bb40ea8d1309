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
	crowd     int       // packets of its format that came soon after a pause that it ended, itself included
	span      int64     // ms, from the pause's end to the last of these
	payload   []byte    // valid until the stage it is given to returns
}

const (
	reorderWindow   = 200  // ms a missing packet is waited for, by the arrival of later ones
	reorderSlots    = 128  // sequence numbers in sight; 200 ms of 2.5 ms packets are 80
	reorderHeadroom = 32   // of them may lie before the first packet that came
	reorderDropout  = 3000 // packets that may be lost at once (RFC 3550 A.1, MAX_DROPOUT)
	reorderAfresh   = 8    // old numbers in a row that mean a new start
	reorderPause    = 500  // ms without a packet, after which it matters …
	reorderPace     = 500  // … how many come within so many ms
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

// tally counts what did not come as it should.
type tally struct{ lost, late, duplicates int }

// reorder puts packets in the order of their sequence numbers (RFC 3550 §5.1).
// It never looks at a clock: a missing packet is given up when a later one has
// waited for it for reorderWindow by the arrival of packets, or at the end.
// The start of a stream is held for as long, for its first packet may come
// second; what follows a pause is held for reorderPace, to see whether the pace
// of it shows a stall that is being caught up with, or a caller who was silent.
type reorder struct {
	next func(*packet) error // the stage behind
	tally

	slots    [reorderSlots]slot
	held     int
	begun    bool // a source is known
	running  bool // expected is the number of a packet of this source
	source   uint32
	expected uint16
	missing  int   // given up since the last packet passed on
	now      int64 // ms, the latest arrival seen
	heard    int64 // ms, the arrival of the packet before
	resumed  int64 // ms, the end of a pause whose nature is not known yet, or 0

	former  uint32 // the source before this one
	changed int64  // ms, when this one took over

	stray   [reorderAfresh]slot // numbers in a row, out of the order expected
	strays  int
	before  tally  // without the strays
	skipped bool   // the source started over with other numbers …
	left    uint16 // … and this was expected before
}

// push takes a packet as it came. Its payload may be changed afterwards.
func (r *reorder) push(p *packet) error {
	r.now = max(r.now, p.arrival)
	if !r.begun || p.source != r.source {
		return r.change(p)
	}
	if p.arrival-r.heard > reorderPause {
		if r.resumed > 0 { // the pause before: no more will follow it
			if err := r.release(true); err != nil {
				return err
			}
		}
		r.resumed = p.arrival
	}
	r.heard = p.arrival
	ahead := int(int16(p.sequence - r.expected)) // the wrap included
	s := &r.slots[p.sequence%reorderSlots]
	if ahead == 0 && r.held == 0 && r.running && r.resumed == 0 { // nearly every packet: no copy
		r.strays = 0
		return r.pass(s, p)
	}
	for ahead >= reorderSlots && ahead < reorderDropout && r.held > reorderSlots/2 { // a bunch: the first can wait no longer
		if err := r.releaseFirst(); err != nil {
			return err
		}
		ahead = int(int16(p.sequence - r.expected))
	}
	if ahead < 0 || ahead >= reorderSlots {
		return r.astray(p, ahead)
	}
	r.strays = 0
	if s.state == slotHeld {
		r.duplicates++
	} else {
		s.hold(p)
		r.held++
	}
	return r.release(false)
}

// end passes on everything that is still held.
func (r *reorder) end() error {
	if err := r.release(true); err != nil {
		return err
	}
	if r.strays == 0 || int16(r.stray[0].sequence-r.expected) < 0 {
		return nil
	}
	if err := r.startOver(); err != nil { // the first packets after much was lost
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
		r.before.late++ // it is no stray
		return nil
	}
	if err := r.release(true); err != nil {
		return err
	}
	r.former, r.changed = r.source, p.arrival
	if !r.begun {
		r.former = p.source
	}
	r.begun, r.strays, r.skipped = true, 0, false
	r.start(p)
	return nil
}

// astray takes a packet that is not of those expected: one too late, one come
// twice, or one of a source that started over or of which much was lost. Some in
// a row mean the latter; fewer where they are far off (RFC 3550 A.1, bad_seq).
func (r *reorder) astray(p *packet, ahead int) error {
	if r.strays == 0 || p.sequence != r.stray[r.strays-1].sequence+1 {
		r.strays, r.before = 0, r.tally
	}
	r.stray[r.strays].hold(p)
	r.strays++
	s := &r.slots[p.sequence%reorderSlots]
	enough := 2
	if ahead < 0 && ahead > -reorderSlots {
		enough = reorderAfresh
	}
	switch {
	case enough == 2 || s.sequence != p.sequence || s.state == slotUnknown:
		r.late++
	case s.state == slotMissed:
		s.state = slotPassed
		r.lost--
		r.late++
	default:
		r.duplicates++
	}
	if r.strays < enough {
		return r.release(false)
	}
	lost := r.lost
	if err := r.release(true); err != nil {
		return err
	}
	r.before.lost += r.lost - lost // these stay lost
	return r.startOver()
}

// startOver begins again with the strays, which are counted anew.
func (r *reorder) startOver() error {
	n := r.strays
	r.tally, r.strays = r.before, 0
	r.skipped, r.left = true, r.expected
	r.start(&r.stray[0].packet)
	for i := 1; i < n; i++ {
		if err := r.push(&r.stray[i].packet); err != nil {
			return err
		}
	}
	return nil
}

// start begins a run of sequence numbers with p.
func (r *reorder) start(p *packet) {
	for i := range r.slots {
		r.slots[i].state = slotUnknown
	}
	r.source, r.running = p.source, false
	r.heard, r.resumed = p.arrival, 0
	r.expected = p.sequence - reorderHeadroom
	r.slots[p.sequence%reorderSlots].hold(p)
	r.held = 1
}

// release passes on what is due: what follows without a hole, and what has
// waited long enough for those before it; or all of it.
func (r *reorder) release(all bool) error {
	if r.resumed > 0 && !all && r.now-r.resumed < reorderPace {
		return nil
	}
	for r.held > 0 {
		s := r.first()
		if s.sequence != r.expected && !all && r.now-s.arrival < reorderWindow {
			return nil
		}
		if err := r.releaseFirst(); err != nil {
			return err
		}
	}
	r.resumed = 0
	return nil
}

// releaseFirst passes on the held packet that comes first.
func (r *reorder) releaseFirst() error {
	s := r.first()
	if r.resumed > 0 && s.arrival >= r.resumed { // not one from before the pause
		r.pace(&s.packet)
		r.resumed = 0
	}
	r.skip(s.sequence)
	r.held--
	return r.pass(s, &s.packet)
}

// pace writes down how fast packets came from the end of a pause on.
func (r *reorder) pace(p *packet) {
	for i := range r.slots {
		if s := &r.slots[i]; s.state == slotHeld && s.format == p.format && s.arrival >= r.resumed {
			p.crowd++
			p.span = max(p.span, s.arrival-r.resumed)
		}
	}
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
		if gone := to - r.left; r.skipped && gone < reorderDropout {
			r.lost += int(gone)
			r.missing += int(gone)
		}
		r.expected, r.running, r.skipped = to, true, false
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
