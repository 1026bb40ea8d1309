package sip

import (
	"context"
	"time"
)

// background runs what outlives its caller: requests of ours that are resent
// until they are answered.
type background struct {
	run   func(limit time.Duration, task func(context.Context)) bool // false after stop
	stop  func()                                                     // ends all tasks and waits for them
	ended <-chan struct{}                                            // closed by stop
}

func newBackground() background {
	root, cancel := context.WithCancel(context.Background())
	tasks := &gate{}
	return background{
		run: func(limit time.Duration, task func(context.Context)) bool {
			if !tasks.enter() {
				return false
			}
			go func() {
				defer tasks.leave()
				ctx, done := context.WithTimeout(root, limit)
				defer done()
				task(ctx)
			}()
			return true
		},
		stop: func() {
			tasks.shut()
			cancel()
			_ = tasks.wait(context.Background()) // they end with root
		},
		ended: root.Done(),
	}
}
