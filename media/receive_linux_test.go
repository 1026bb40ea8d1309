package media

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTestReceiver makes a receiver and a phone that sends to it.
func newTestReceiver(t *testing.T) (*receiver, *phone) {
	t.Helper()
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	return newReceiver(l.socket, l.engine.batches, time.Now()), p
}

// TestArrivalIsTheKernels sends packets while the receiver sleeps: they arrive
// when they were sent, not when they are fetched.
func TestArrivalIsTheKernels(t *testing.T) {
	r, p := newTestReceiver(t)
	eventually(t, "the kernel stamps what comes", func() bool { // only from a while after it was asked to
		p.send(0, 1)
		time.Sleep(10 * time.Millisecond)
		fetched, stamped := time.Now(), false
		if _, err := r.receive(fetched, func(d datagram) { stamped = d.arrival.Before(fetched) }); err != nil {
			t.Fatal(err)
		}
		return stamped
	})
	type span struct{ from, to time.Time }
	var sent []span
	for range 2 * batchSize {
		from := time.Now()
		p.send(0, 1)
		sent = append(sent, span{from, time.Now()})
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	var got []datagram
	for len(got) < len(sent) {
		if _, err := r.receive(time.Now(), func(d datagram) { got = append(got, d) }); err != nil {
			t.Fatal(err)
		}
	}
	const clocks = time.Millisecond // the wall clock and the monotonic one are read one after the other
	for i, s := range sent {
		if at := got[i].arrival; at.Before(s.from.Add(-clocks)) || at.After(s.to.Add(clocks)) {
			t.Errorf("packet %d arrived %s after it was sent, sending took %s", i, at.Sub(s.from), s.to.Sub(s.from))
		}
	}
}

// TestArrivalWhenTheClockIsSet has the wall clock differ from the kernel's stamp
// by more than can be.
func TestArrivalWhenTheClockIsSet(t *testing.T) {
	empty := time.Now()
	now := empty.Add(100 * time.Millisecond)
	r := &receiver{empty: empty}
	for name, tt := range map[string]struct{ age, want time.Duration }{
		"not set":         {30 * time.Millisecond, 30 * time.Millisecond},
		"set back":        {-time.Hour, 0},
		"set forward":     {time.Hour, 100 * time.Millisecond},
		"fetched at once": {0, 0},
	} {
		s := stamp{header: unix.Cmsghdr{Level: unix.SOL_SOCKET, Type: unix.SCM_TIMESTAMPNS}}
		s.time = unix.NsecToTimespec(now.Add(-tt.age).UnixNano())
		if got := now.Sub(r.arrival(&s, now)); got != tt.want {
			t.Errorf("%s: arrived %s ago, want %s", name, got, tt.want)
		}
	}
	if got := r.arrival(&stamp{}, now); !got.Equal(now) {
		t.Errorf("without a stamp: arrived %s ago, want now", now.Sub(got))
	}
}

// TestDoze looks at how long the receiver waits, in turns.
func TestDoze(t *testing.T) {
	r, p := newTestReceiver(t)
	look := func() int {
		if _, err := r.receive(time.Now(), func(datagram) {}); err != nil {
			t.Fatal(err)
		}
		return r.doze
	}
	var dozes []int
	for range 6 {
		dozes = append(dozes, look())
	}
	p.send(0, batchSize+1)
	dozes = append(dozes, look(), look())
	if want := []int{1, 2, 4, 8, 12, 12, 0, 1}; !slices.Equal(dozes, want) {
		t.Errorf("dozes of %v turns, want %v", dozes, want)
	}

	r.doze = longestDoze
	begun := time.Now()
	r.socket.wake()
	if _, err := r.receive(begun.Add(time.Minute), func(datagram) {}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 10*turn {
		t.Errorf("it dozed for %s after a wake", took)
	}
}

// TestQueueHoldsADoze sends what may come within the longest doze, tenfold.
func TestQueueHoldsADoze(t *testing.T) {
	r, p := newTestReceiver(t)
	const count = 10 * longestDoze
	p.send(0, count)
	n := 0
	for range count {
		got, err := r.receive(time.Now(), func(datagram) {})
		if err != nil {
			t.Fatal(err)
		}
		n += got
	}
	if n != count {
		t.Errorf("%d packets of %d were kept", n, count)
	}
}

func TestSocketClosed(t *testing.T) {
	r, p := newTestReceiver(t)
	if err := r.socket.Close(); err != nil {
		t.Fatal(err)
	}
	_, errReceive := r.receive(time.Now(), func(datagram) {})
	_, errSend := r.socket.WriteToUDPAddrPort([]byte("late"), p.addr())
	for what, err := range map[string]error{
		"receive": errReceive, "send": errSend,
		"connect": r.socket.connect(p.addr()), "close": r.socket.Close(),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: error %v, want net.ErrClosed", what, err)
		}
	}
}

func TestSendAllocatesNothing(t *testing.T) {
	r, p := newTestReceiver(t)
	packet, to := p.packet(0), p.addr()
	if n := testing.AllocsPerRun(100, func() { _, _ = r.socket.WriteToUDPAddrPort(packet, to) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
