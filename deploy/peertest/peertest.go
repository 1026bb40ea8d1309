// Package peertest is for tests alone: it says when a program is missing that they
// talk to, and finds ports of 127.0.0.1 for such programs to listen at.
package peertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
)

// Needs ends a test of which a program is missing: see Missing.
func Needs(tb testing.TB, programs ...string) {
	tb.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			Missing(tb, program)
		}
	}
}

// Missing ends a test that lacks something to talk to or to work on: it fails
// in CI, and is skipped on a laptop.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	text := what + " is missing: bash deploy/test.sh installs it"
	if os.Getenv("CI") != "" {
		tb.Fatal(text)
	}
	tb.Skip(text)
}

// Ports of a test's peers lie below those that Linux gives to clients (32768
// and up) and below those that the tests' gateways record at: 20000 to 29999
// where a test does not say.
const (
	lowestPort  = 10_000
	highestPort = 19_999
)

// Address is a port of 127.0.0.1 as Ports gives it.
func Address(tb testing.TB) netip.AddrPort {
	tb.Helper()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(Ports(tb, 1)))
}

// Ports is the first of n ports in a row, for UDP and TCP, and even. They are
// the test's own until it ends, among all processes that take their ports here:
// also while nothing listens at them yet, or between two starts of a program.
func Ports(tb testing.TB, n int) int {
	tb.Helper()
	for range 100 {
		first := lowestPort + 2*rand.IntN((highestPort-lowestPort-n)/2) //nolint:gosec // no secret
		if reserve(tb, first, n) {
			return first
		}
	}
	tb.Fatalf("no %d ports in a row are free", n)
	return 0
}

// reserve takes ports for the test, or none of them.
func reserve(tb testing.TB, first, n int) bool {
	tb.Helper()
	var held []net.Listener
	for port := first; port < first+n; port++ {
		// The name of a socket in Linux' abstract namespace: nobody else can take
		// it, and it ends with the process.
		l, err := new(net.ListenConfig).Listen(tb.Context(), "unix", fmt.Sprintf("@afterbeep test port %d", port))
		if err == nil {
			held = append(held, l)
		}
		if err != nil || !free(tb, port) {
			for _, l := range held {
				_ = l.Close()
			}
			return false
		}
	}
	tb.Cleanup(func() {
		for _, l := range held {
			_ = l.Close()
		}
	})
	return true
}

// free tells whether no other program listens at a port.
func free(tb testing.TB, port int) bool {
	tb.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	conn, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", address)
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
