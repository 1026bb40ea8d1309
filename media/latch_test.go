package media

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func TestLatch(t *testing.T) {
	var (
		remote   = netip.MustParseAddrPort("198.51.100.1:4000")
		behind   = netip.MustParseAddrPort("198.51.100.1:61000") // the same address, another port: NAT
		trunk    = netip.MustParseAddrPort("203.0.113.5:5000")
		stranger = netip.MustParseAddrPort("192.0.2.66:4000")
		moved    = netip.MustParseAddrPort("198.51.100.2:4000") // where a re-offer moves to
		from     = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		begun    = time.Unix(1_000_000, 0)
	)
	type step struct {
		after   time.Duration // since the step before
		source  netip.AddrPort
		reoffer netip.AddrPort // instead of a packet: the peer's new address
		allowed bool
		latched netip.AddrPort
	}
	tests := map[string][]step{
		"the address offered":     {{source: remote, allowed: true, latched: remote}},
		"any port of it":          {{source: behind, allowed: true, latched: behind}, {source: remote, latched: behind}},
		"a network of the trunk":  {{source: trunk, allowed: true, latched: trunk}, {source: behind, latched: trunk}},
		"a stranger first":        {{source: stranger}, {source: remote, allowed: true, latched: remote}},
		"a stranger later":        {{source: remote, allowed: true, latched: remote}, {source: stranger, latched: remote}},
		"the peer moves":          {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {source: moved, allowed: true, latched: moved}, {source: remote, latched: moved}},
		"moves, stragglers":       {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {source: remote, allowed: true}, {source: moved, allowed: true, latched: moved}},
		"moves in word only":      {{source: trunk, allowed: true, latched: trunk}, {reoffer: moved}, {source: trunk, allowed: true}, {after: latchPatience, source: trunk, allowed: true, latched: trunk}},
		"stays where it was":      {{source: remote, allowed: true, latched: remote}, {reoffer: remote}, {source: remote, allowed: true, latched: remote}},
		"two re-offers in a row":  {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {reoffer: moved}, {source: remote, allowed: true}, {source: moved, allowed: true, latched: moved}},
		"a stranger after moving": {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {source: stranger}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			var l latch
			now, remote := begun, remote
			for i, s := range steps {
				now = now.Add(s.after)
				if s.reoffer.IsValid() {
					remote = s.reoffer
					if err := l.rearm(nil, now); err != nil {
						t.Fatal(err)
					}
					continue
				}
				allowed := l.allows(s.source, remote, from)
				if allowed {
					l.take(s.source, remote, now)
				}
				if allowed != s.allowed || l.source != s.latched {
					t.Errorf("step %d: allowed %t, latched to %s; want %t, %s", i, allowed, l.source, s.allowed, s.latched)
				}
			}
		})
	}
}

// TestStranger has a second sender from 127.9.9.9 in mid-call, within the
// trunk's own network: the audio is unchanged and the counter goes up.
func TestStranger(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil), netip.MustParsePrefix("127.0.0.0/8"))
	stranger := newPhone(t, "127.9.9.9:0")
	stranger.to, stranger.seq = p.to, 10000
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 1)
	eventually(t, "the caller is latched", arrived(l, 1))
	stranger.send(0, strangersCounted)
	eventually(t, "the stranger is counted", func() bool { return l.Stats().Foreign == strangersCounted })
	if runtime.GOOS == "linux" { // from now on the kernel drops what it sends
		stranger.send(0, 100)
		p.send(0, 1)
		eventually(t, "the caller again", arrived(l, 2))
		if n := l.Stats().Foreign; n != strangersCounted {
			t.Errorf("%d packets of the stranger got through, want %d", n, strangersCounted)
		}
	}
	p.send(0, 10)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, int(l.Stats().Packets))
}

// TestStrangerOnEveryInterface has a socket bound to all addresses, which must
// not be connected: the kernel would fix its own address too, maybe to another
// one than the caller sends to.
func TestStrangerOnEveryInterface(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, func(o *Options) {
		o.Address, o.Advertise.Addr = netip.IPv4Unspecified(), loopback
	}))
	p.to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), l.port)
	stranger := newPhone(t, "127.9.9.9:0")
	stranger.to = p.to
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 5)
	eventually(t, "the caller is latched", arrived(l, 5))
	stranger.send(0, 2*strangersCounted)
	eventually(t, "the stranger is counted", func() bool { return l.Stats().Foreign == 2*strangersCounted })
	p.send(0, 5)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 10)
}

// TestLatchAfterReoffer moves the caller to another address, with a stranger
// having had the socket connected before.
func TestLatchAfterReoffer(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	stranger := newPhone(t, "127.9.9.9:0")
	stranger.to = p.to
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 5)
	eventually(t, "the first source", arrived(l, 5))
	stranger.send(0, 2*strangersCounted)

	moved := newPhone(t, "127.0.0.2:0")
	moved.to, moved.seq = p.to, 7
	if _, err := l.Negotiate(moved.offer("0 8")); err != nil {
		t.Fatal(err)
	}
	p.send(0, 2) // still under way from the old address
	eventually(t, "the stragglers", arrived(l, 7))
	moved.send(0, 5)
	eventually(t, "the new source", arrived(l, 12))
	foreign := l.Stats().Foreign
	p.send(0, 1)
	eventually(t, "the old source is a stranger now", func() bool { return l.Stats().Foreign == foreign+1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 12)
}

// TestRecordSurvivesRefusal has the kernel report ECONNREFUSED to the reader:
// the caller's port is closed for a moment while the beep comes.
func TestRecordSurvivesRefusal(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the socket is connected on Linux alone")
	}
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 5)
	eventually(t, "the first packets", arrived(l, 5))
	at := p.addr()
	if err := l.socket.connect(at); err != nil {
		t.Fatal(err)
	}
	_ = p.conn.Close()
	for range 3 {
		_, _ = l.socket.WriteToUDPAddrPort([]byte("nobody hears this"), at)
		time.Sleep(2 * time.Millisecond)
	}
	again := newPhone(t, at.String())
	again.to, again.seq = p.to, p.seq
	again.send(0, 5)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 10)
}
