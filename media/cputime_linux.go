package media

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the processor time of this thread. Between two readings the
// goroutine may have been moved to another thread, so a difference can be
// nonsense, even negative; over so short a piece as a frame that is rare.
func cpuTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
