package delivery

import "time"

// Clock tells the time of day, and goes on evenly when somebody sets the
// machine's clock: deadlines that are kept on disk must neither all fall due
// at once nor never. It is right as of its making.
type Clock struct {
	wall func() time.Time
	made time.Time // by the wall
	from time.Time // with a monotonic reading
}

// ClockOn takes the time of day from wall as it stands.
func ClockOn(wall func() time.Time) Clock {
	return Clock{wall: wall, made: wall().Round(0), from: time.Now()}
}

// Now is the time of day, without a monotonic reading.
func (c Clock) Now() time.Time { return c.made.Add(time.Since(c.from)) }

// Wall is the time of day by the machine's clock, as it may have been set
// since.
func (c Clock) Wall() time.Time { return c.wall().Round(0) }
