package channel

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// mostRefused is how many bad codes a chat is told of in a minute: whoever
// tries many is not worth the sends.
const mostRefused = 5

// mayRefuse says whether a chat is told once more that a code is not good.
func mayRefuse(ctx context.Context, m delivery.Memory, chat string) (bool, error) {
	for n := range mostRefused {
		key := "refused code " + chat + " " + strconv.Itoa(n)
		added, err := m.Add(ctx, delivery.Entry{Key: key, Value: []byte("said"), For: time.Minute})
		if err != nil {
			return false, fmt.Errorf("keeping that a code was refused: %w", err)
		}
		if added {
			return true, nil
		}
	}
	return false, nil
}
