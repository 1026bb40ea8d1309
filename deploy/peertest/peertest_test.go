package peertest

import (
	"fmt"
	"net"
	"testing"
)

func TestPorts(t *testing.T) {
	taken := make(map[int]bool)
	for range 50 {
		first := Ports(t, 3)
		if first%2 != 0 || first < lowestPort || first+2 > highestPort {
			t.Errorf("port %d", first)
		}
		for port := first; port < first+3; port++ {
			if taken[port] {
				t.Errorf("port %d is given twice", port)
			}
			taken[port] = true
		}
	}
	t.Run("anew", func(t *testing.T) {
		for port := range taken {
			if reserve(t, port, 1) {
				t.Errorf("port %d is given to another test", port)
			}
		}
	})
}

func TestPortsListenedAt(t *testing.T) {
	for range 20 {
		t.Run("", func(t *testing.T) {
			first := Ports(t, 2)
			for _, port := range []int{first, first + 1} {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				if free(t, port) {
					t.Errorf("port %d is free although somebody listens", port)
				}
			}
		})
	}
	t.Run("ended", func(t *testing.T) {
		var port int
		t.Run("one", func(t *testing.T) { port = Ports(t, 1) })
		if !reserve(t, port, 1) {
			t.Errorf("port %d is held beyond its test", port)
		}
	})
}
