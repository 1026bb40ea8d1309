package media

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func TestPortsTakeEach(t *testing.T) {
	for _, r := range []PortRange{{20000, 20000}, {20001, 20004}, {20000, 20127}, {20000, 20131}, {19999, 20270}} {
		t.Run(r.String(), func(t *testing.T) {
			p := newPorts(r)
			seen := map[uint16]bool{}
			for range r.pairs() {
				i, ok := p.take()
				if !ok {
					t.Fatalf("no port after %d of %d", len(seen), r.pairs())
				}
				port := p.port(i)
				if port%2 != 0 || port < r.First || port > r.Last || seen[port] {
					t.Errorf("port %d: odd, outside, or given twice", port)
				}
				seen[port] = true
			}
			if i, ok := p.take(); ok {
				t.Errorf("port %d beyond the last", p.port(i))
			}
			if got, want := p.stats(), (PortStats{Used: r.pairs()}); got != want {
				t.Errorf("stats %+v, want %+v", got, want)
			}
		})
	}
}

func TestPortsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(PortRange{20000, 20005})
		first, _ := p.take()
		p.free(p.port(first))
		if got, want := p.stats(), (PortStats{Resting: 1, Free: 2}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		time.Sleep(portRest - time.Nanosecond)
		second, _ := p.take()
		third, _ := p.take()
		if second == first || third == first {
			t.Error("the port was given again before its rest was over, while others were free")
		}
		p.free(p.port(second))
		if i, ok := p.take(); !ok || i != first {
			t.Errorf("port %d, %v: no port is free, so the one that has rested longest is given", i, ok)
		}
		if got, want := p.stats(), (PortStats{Used: 2, Resting: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		time.Sleep(portRest)
		if i, ok := p.take(); !ok || i != second {
			t.Error("the port was not given again after its rest")
		}
		if _, ok := p.take(); ok {
			t.Error("a port in use was given")
		}
	})
}

func TestPortsSkipOccupied(t *testing.T) {
	r := PortRange{21000, 21003}
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 21000})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, other)
	p := newPorts(r)
	s, err := p.open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, s)
	if port := s.addr.Port(); port != 21002 {
		t.Errorf("port %d, want the one that is not occupied", port)
	}
	if _, err := p.open(loopback); !errors.Is(err, ErrNoPort) {
		t.Errorf("error %v, want ErrNoPort", err)
	}
	if s := p.stats(); s.Skipped == 0 || s.Used != 1 || s.Free != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestPortsForeignAddress(t *testing.T) {
	p := newPorts(PortRange{21004, 21005})
	if _, err := p.open(netip.MustParseAddr("192.0.2.1")); err == nil || errors.Is(err, ErrNoPort) {
		t.Errorf("error %v, want the one of the socket", err)
	}
	if s := p.stats(); s.Used != 0 {
		t.Errorf("stats %+v: the port leaked", s)
	}
}

func TestPortsConcurrent(t *testing.T) {
	p := newPorts(PortRange{20000, 20999})
	var wg sync.WaitGroup
	taken := make(chan int, 500)
	for range 500 {
		wg.Go(func() {
			if i, ok := p.take(); ok {
				taken <- i
			}
		})
	}
	wg.Wait()
	close(taken)
	seen := map[int]bool{}
	for i := range taken {
		seen[i] = true
	}
	if len(seen) != 500 {
		t.Errorf("%d different ports for 500 calls", len(seen))
	}
}
