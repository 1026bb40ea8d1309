package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, where a test has started this binary anew, the
// program itself: so that a gateway can be killed without the test.
func TestMain(m *testing.M) {
	if os.Getenv("AFTERBEEP_TEST_MAIN") != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
