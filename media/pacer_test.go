package media

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
)

// wire is a connection that remembers what was sent and when.
type wire struct {
	packets []rtp.Packet
	at      []time.Time
	stall   map[int]time.Duration // how long the nth write takes
	err     error
}

func (w *wire) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	time.Sleep(w.stall[len(w.at)])
	if w.err != nil {
		return 0, w.err
	}
	var packet rtp.Packet
	if err := packet.Unmarshal(slices.Clone(b)); err != nil {
		return 0, err
	}
	w.packets, w.at = append(w.packets, packet), append(w.at, time.Now())
	return len(b), nil
}

// sequence is the order in which packets went out, from 0.
func (w *wire) sequence() []int {
	var order []int
	for _, p := range w.packets {
		order = append(order, int(p.SequenceNumber-w.packets[0].SequenceNumber))
	}
	return order
}

// runPacer runs a pacer until stop or the end of the test.
func runPacer(tb testing.TB) (p *Pacer, stop context.CancelFunc) {
	tb.Helper()
	ctx, stop := context.WithCancel(tb.Context())
	p = NewPacer()
	go p.Run(ctx)
	tb.Cleanup(func() {
		stop()
		<-p.ended
	})
	return p, stop
}

func TestPacerPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := runPacer(t)
		w := &wire{}
		s := Stream{
			Conn: w, PayloadType: 9, ClockRate: 8000, SSRC: 7, Sequence: 65534, Timestamp: 1<<32 - 160,
			Frames: [][]byte{{1}, {2, 2}, {3}}, Count: 5,
		}
		got := p.Start(s).Result()
		if got.Sent != 5 || got.Lost != 0 || got.Failed != 0 || got.Err != nil {
			t.Errorf("%+v", got)
		}
		for i, packet := range w.packets {
			want := rtp.Header{
				Version: 2, Marker: i == 0, PayloadType: 9, SSRC: 7,
				SequenceNumber: s.Sequence + uint16(i), Timestamp: s.Timestamp + uint32(i)*160,
			}
			h := packet.Header
			if h.Marker != want.Marker || h.SequenceNumber != want.SequenceNumber || h.Timestamp != want.Timestamp ||
				h.PayloadType != 9 || h.SSRC != 7 || !slices.Equal(packet.Payload, s.Frames[i%3]) {
				t.Errorf("packet %d: %v % x, want %v", i, h, packet.Payload, want)
			}
		}
		if got.Last.Sub(got.First) != 80*time.Millisecond {
			t.Errorf("it took %v", got.Last.Sub(got.First))
		}
		if !slices.IsSortedFunc(w.at, time.Time.Compare) || time.Since(got.Last) != 20*time.Millisecond {
			t.Errorf("done %v after the last packet, want 20ms", time.Since(got.Last))
		}
	})
}

func TestPacerSpreadsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := runPacer(t)
		const streams, packets = 1000, 10
		wires := make([]*wire, streams)
		playing := make([]*Playing, streams)
		for i := range wires {
			wires[i] = &wire{}
			playing[i] = p.Start(Stream{Conn: wires[i], ClockRate: 8000, Frames: [][]byte{{0}}, Count: packets})
		}
		inSlot := map[time.Duration]int{}
		for i, s := range playing {
			if got := s.Result(); got.Sent != packets {
				t.Fatalf("stream %d: %+v", i, got)
			}
			for n, at := range wires[i].at {
				if at.Sub(wires[i].at[0]) != time.Duration(n)*20*time.Millisecond {
					t.Fatalf("stream %d: packet %d came %v after the first", i, n, at.Sub(wires[i].at[0]))
				}
			}
			inSlot[time.Duration(wires[i].at[0].UnixNano())%(20*time.Millisecond)]++
		}
		for slot := range pacerSlots {
			if got := inSlot[time.Duration(slot)*pacerStep]; got != streams/pacerSlots {
				t.Errorf("%d of %d streams have slot %d", got, streams, slot)
			}
		}
		if got := p.Stats(); got != (PacerStats{Sent: streams * packets}) {
			t.Errorf("%+v", got)
		}
	})
}

// A turn that took too long is made up for, counted, and delays nothing after.
func TestPacerCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := runPacer(t)
		w := &wire{stall: map[int]time.Duration{3: 70 * time.Millisecond}}
		got := p.Start(Stream{Conn: w, ClockRate: 8000, Frames: [][]byte{{0}}, Count: 10}).Result()
		if got.Sent != 10 || got.Last.Sub(got.First) != 180*time.Millisecond {
			t.Errorf("%d packets in %v, want 10 in 180ms", got.Sent, got.Last.Sub(got.First))
		}
		// Packets 4, 5 and 6 were due 20, 40 and 60 ms into the 70.
		if got := p.Stats(); got.Late != 3 || got.Worst != 50*time.Millisecond {
			t.Errorf("%+v, want 3 late by up to 50 ms", got)
		}
	})
}

func TestPacerFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults map[int]Fault
		want   []int
		lost   int
	}{
		{"none", nil, []int{0, 1, 2, 3, 4}, 0},
		{"lost", map[int]Fault{1: Lose, 2: Lose}, []int{0, 3, 4}, 2},
		{"duplicate", map[int]Fault{2: Duplicate}, []int{0, 1, 2, 2, 3, 4}, 0},
		{"swapped", map[int]Fault{1: Swap}, []int{0, 2, 1, 3, 4}, 0},
		{"swapped with a lost one", map[int]Fault{1: Swap, 2: Lose}, []int{0, 1, 3, 4}, 1},
		{"two in a row", map[int]Fault{1: Swap, 2: Swap}, []int{0, 1, 3, 2, 4}, 0},
		{"the last", map[int]Fault{4: Swap}, []int{0, 1, 2, 3, 4}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := runPacer(t)
				w := &wire{}
				fault := func(n int) Fault { return c.faults[n] }
				got := p.Start(Stream{Conn: w, ClockRate: 8000, Frames: [][]byte{{0}}, Count: 5, Fault: fault}).Result()
				if !slices.Equal(w.sequence(), c.want) || got.Sent != len(c.want) || got.Lost != c.lost {
					t.Errorf("%v, %+v; want %v, %d lost", w.sequence(), got, c.want, c.lost)
				}
			})
		})
	}
}

func TestPacerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := runPacer(t)
		endless := Stream{Conn: &wire{}, ClockRate: 8000, Frames: [][]byte{{0}}, Count: 1 << 30}
		first, second := p.Start(endless), p.Start(endless)
		time.Sleep(101 * time.Millisecond)
		first.Stop()
		if got := first.Result(); got.Sent != 6 || got.Err != nil {
			t.Errorf("stopped by itself: %+v", got)
		}
		select {
		case <-second.Done():
			t.Error("the other stream stopped too")
		default:
		}
		stop()
		if got := second.Result(); !errors.Is(got.Err, ErrPacerEnded) {
			t.Errorf("stopped with the pacer: %+v", got)
		}
		if got := p.Start(endless).Result(); !errors.Is(got.Err, ErrPacerEnded) || got.Sent != 0 {
			t.Errorf("started after the end: %+v", got)
		}
	})
}

func TestPacerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := runPacer(t)
		refused := errors.New("refused")
		got := p.Start(Stream{Conn: &wire{err: refused}, ClockRate: 8000, Frames: [][]byte{{0}}, Count: 5}).Result()
		if got.Failed != 5 || !errors.Is(got.Err, refused) || got.Sent != 0 {
			t.Errorf("refused: %+v", got)
		}
		got = p.Start(Stream{Conn: &wire{err: net.ErrClosed}, ClockRate: 8000, Frames: [][]byte{{0}}, Count: 5}).Result()
		if got.Failed != 1 || !errors.Is(got.Err, net.ErrClosed) {
			t.Errorf("closed: %+v", got)
		}
		if got := p.Start(Stream{Conn: &wire{}, Count: 5}).Result(); got.Sent != 0 || got.Err != nil {
			t.Errorf("no frames: %+v", got)
		}
	})
}

// A pacer that has nothing to send sleeps, and begins afresh afterwards.
func TestPacerSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := runPacer(t)
		for range 2 {
			time.Sleep(time.Hour)
			s := p.Start(Stream{Conn: &wire{}, ClockRate: 8000, Frames: [][]byte{{0}}, Count: 3})
			begun := time.Now()
			if got := s.Result(); got.First.Sub(begun) > 20*time.Millisecond {
				t.Errorf("the first packet came after %v", got.First.Sub(begun))
			}
		}
		if got := p.Stats(); got != (PacerStats{Sent: 6}) {
			t.Errorf("%+v", got)
		}
	})
}

// udp is a socket on loopback.
func udp(tb testing.TB) *net.UDPConn {
	tb.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestPacerOverUDP(t *testing.T) {
	from, to := udp(t), udp(t)
	p, _ := runPacer(t)
	s := p.Start(Stream{
		Conn: from, To: to.LocalAddr().(*net.UDPAddr).AddrPort(), ClockRate: 8000,
		Frames: [][]byte{make([]byte, 160)}, Count: 5,
	})
	b := make([]byte, 1500)
	for i := range 5 {
		if err := to.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := to.Read(b); err != nil || n != 172 {
			t.Fatalf("packet %d: %d bytes, %v", i, n, err)
		}
	}
	if got := s.Result(); got.Sent != 5 {
		t.Errorf("%+v", got)
	}
}

// One turn of the wheel: 1,000 streams, a packet each.
func BenchmarkPacer(b *testing.B) {
	from, to := udp(b), udp(b)
	p := NewPacer()
	for range 1000 {
		p.add(&Playing{
			held: -1, header: rtp.Header{Version: 2},
			stream: Stream{
				Conn: from, To: to.LocalAddr().(*net.UDPAddr).AddrPort(), ClockRate: 8000,
				Frames: [][]byte{make([]byte, 160)}, Count: 1 << 30,
			},
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		for range pacerSlots {
			p.turn(time.Now())
		}
	}
}

func TestPacerDoesNotAllocate(t *testing.T) {
	p := NewPacer()
	p.add(&Playing{
		held: -1, header: rtp.Header{Version: 2},
		stream: Stream{Conn: nowhere{}, ClockRate: 8000, Frames: [][]byte{make([]byte, 160)}, Count: 1 << 30},
	})
	allocs := testing.AllocsPerRun(100, func() {
		for range pacerSlots {
			p.turn(time.Now())
		}
	})
	if allocs != 0 || p.Stats().Sent < 100 {
		t.Errorf("%v allocations a packet", allocs)
	}
}

// nowhere takes everything.
type nowhere struct{}

func (nowhere) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }
