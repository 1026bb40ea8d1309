package media

import "time"

// Positions in a note count in ticks: samples of 48 kHz, of which those of
// every rate here are whole multiples.
const (
	tickRate = 48000
	tickMs   = tickRate / 1000

	timelineDoubts = 8 // packets in a row with timestamps of twice the rate are not by chance

	timelineFrame     = 20 * tickMs  // gaps known by arrival alone are rounded to frames …
	timelineJitter    = 60 * tickMs  // … and below this they are the network's doing
	timelineTolerance = 500 * tickMs // timestamp and arrival may differ by so much, and a tenth of the silence
)

// timeline says where in the note a packet belongs. RTP timestamps are believed
// as long as arrival bears them out, and against it where a sender or network
// that stalled catches up. Where they jump, where source or clock change,
// what comes continues at once or after as long a gap as arrival shows.
type timeline struct {
	begun     bool
	source    uint32
	clock     int    // Hz
	timestamp uint32 // that would continue the last packet without a gap
	end       int64  // ticks, where the last packet ends
	length    int64  // ticks, of the last packet
	arrival   int64  // ms, of the last packet
	twice     bool   // its timestamps count at twice the clock
	doubts    int    // packets in a row that claim a gap as long as themselves, which is not made yet …
	doubted   int64  // … and ms, the arrival before the first of them
	lead      int64  // ticks by which positions ran ahead of arrival at most: those of the packets that travelled fastest
}

// at is where p belongs by its timestamp; ok is false where that says nothing.
// It may lie before the end.
func (t *timeline) at(p *packet) (position int64, ok bool) {
	if p.source != t.source || p.format.ClockRate != t.clock {
		return 0, false
	}
	delta := int64(int32(p.timestamp - t.timestamp)) // the wrap included
	position = t.end + int64(t.doubts)*t.length + delta*tickRate/t.rate()
	gap := position - t.end
	lost := p.missing > 0 && gap == int64(p.missing)*t.length // the number says so too
	return position, lost || position <= t.latest(p.arrival)
}

// rate is how many timestamp units a second has.
func (t *timeline) rate() int64 {
	if t.twice {
		return 2 * int64(t.clock)
	}
	return int64(t.clock)
}

// doubtful says whether p claims a gap as long as itself where its number and
// its arrival show none. Some senders count timestamps at twice the rate, those
// of G.722 by its 16 kHz (RFC 3551 §4.5.2 says 8), and every packet is like that.
func (t *timeline) doubtful(p *packet, position, length int64) bool {
	n := int64(t.doubts + 1)
	if p.missing > 0 || length != t.length || position != t.end+n*length {
		return false
	}
	since := t.doubted
	if t.doubts == 0 {
		since = t.arrival
	}
	return (p.arrival-since)*tickMs < n*length*3/2+timelineFrame/2
}

// latest is how far a note can have come by that arrival.
func (t *timeline) latest(arrival int64) int64 {
	silence := max(0, arrival-t.arrival) * tickMs
	return arrival*tickMs + t.lead + timelineTolerance + silence/10
}

// stood says whether the sender's clock stood still in a pause: the position
// lies long before what arrival shows, and what follows comes no faster than it
// was spoken. Where it does, a sender or network that stalled is catching up,
// and nobody was silent.
func (t *timeline) stood(p *packet, position, length int64) bool {
	silence := (p.arrival-t.arrival)*tickMs - t.length
	ahead := int64(p.crowd-1)*length - p.span*tickMs
	return ahead <= timelineJitter && position-t.end < silence-silence/10-timelineTolerance
}

// after is where p belongs by its arrival, from the end on.
func (t *timeline) after(p *packet) int64 {
	gap := (p.arrival-t.arrival)*tickMs - t.length
	if gap < timelineJitter {
		return t.end
	}
	return t.end + (gap+timelineFrame/2)/timelineFrame*timelineFrame
}

// place lays down p, which lasts length ticks, and says how long the gap
// before it is. It changes nothing and ok is false if p would end after limit.
func (t *timeline) place(p *packet, length, limit int64) (gap int64, ok bool) {
	next := timeline{
		begun: true, source: p.source, clock: p.format.ClockRate,
		length: length, arrival: p.arrival,
	}
	var position int64
	believed := false
	if t.begun {
		position, believed = t.at(p)
		next.twice = t.twice && p.source == t.source && next.clock == t.clock
		switch {
		case !believed || position < t.end || t.stood(p, position, length):
			position, believed = t.after(p), false
		case length > 0 && t.doubtful(p, position, length):
			position = t.end
			next.doubt(t)
		}
	}
	next.end = position + length
	if next.end > limit {
		return 0, false
	}
	next.lead = position - p.arrival*tickMs
	if believed {
		next.lead = max(next.lead, t.lead)
	}
	next.timestamp = p.timestamp + uint32(length*next.rate()/tickRate)
	gap = position - t.end
	*t = next
	return gap, true
}

// doubt counts one more doubtful packet after those of before; the last of them
// settles it.
func (t *timeline) doubt(before *timeline) {
	t.doubts, t.doubted = before.doubts+1, before.doubted
	if t.doubts == 1 {
		t.doubted = before.arrival
	}
	if t.doubts == timelineDoubts {
		t.doubts, t.twice = 0, true
	}
}

// duration converts ticks.
func duration(ticks int64) time.Duration {
	return time.Duration(ticks) * time.Second / tickRate
}
