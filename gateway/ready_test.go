package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The store is asked once a second, however often peers ask, and one that does
// not answer is not ready.
func TestReadinessAsksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, fault := 0, error(nil)
		r := readiness{ask: func(ctx context.Context) error {
			asked++
			if fault != nil {
				<-ctx.Done()
			}
			return fault
		}}
		for range 100 {
			if !r.now() {
				t.Fatal("not ready")
			}
		}
		fault = errors.New("no space left on device")
		if !r.now() || asked != 1 {
			t.Errorf("asked %d times within a second", asked)
		}
		time.Sleep(readyFor)
		began := time.Now()
		if r.now() || asked != 2 || time.Since(began) != readyWithin {
			t.Errorf("ready on a full disk, after %v, asked %d times", time.Since(began), asked)
		}
	})
}
