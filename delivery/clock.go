package delivery

import "time"

// Clock tells the time of day, and goes on evenly when somebody sets the
// machine's clock: deadlines that are kept on disk must neither all fall due
// at once nor never. It is right as of its making.
type Clock struct{ made time.Time }

// NewClock takes the machine's time as it stands.
func NewClock() Clock { return Clock{time.Now()} }

// Now is the time of day, without a monotonic reading.
func (c Clock) Now() time.Time { return c.made.Add(time.Since(c.made)).Round(0) }
