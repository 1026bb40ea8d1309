package shared

import (
	"context"
	"fmt"
	"time"
)

// Take asks for n sends through a channel that all machines together send
// through rate times a second, a second's worth at once. It grants some of
// them, and says how long it is until the next.
func (s *Shared) Take(ctx context.Context, channel string, rate float64, n int) (granted int, wait time.Duration, err error) {
	if rate <= 0 {
		return 0, 0, fmt.Errorf("a rate of %g a second: expected more than 0", rate)
	}
	value, err := s.run(ctx, ShardOf(channel), s.scripts.take, channel, rate, n)
	if err != nil {
		return 0, 0, fmt.Errorf("the rate of channel %s: %w", channel, err)
	}
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return 0, 0, fmt.Errorf("the rate of channel %s: %w: %w", channel, ErrUncertain, errAnswer)
	}
	got, _ := pair[0].(int64)
	ms, _ := pair[1].(int64)
	return int(got), time.Duration(ms) * time.Millisecond, nil
}
