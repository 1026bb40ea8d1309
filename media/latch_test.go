package media

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

func TestLatch(t *testing.T) {
	var (
		remote   = netip.MustParseAddrPort("198.51.100.1:4000")
		behind   = netip.MustParseAddrPort("198.51.100.1:61000") // the same address, another port: NAT
		trunk    = netip.MustParseAddrPort("203.0.113.5:5000")
		former   = netip.MustParseAddrPort("203.0.113.9:5000") // of the call before on this port
		stranger = netip.MustParseAddrPort("192.0.2.66:4000")
		moved    = netip.MustParseAddrPort("198.51.100.2:4000") // where a re-offer moves to
		from     = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		begun    = time.Unix(1_000_000, 0)
	)
	type step struct {
		after   time.Duration // since the step before
		source  netip.AddrPort
		ssrc    uint32
		reoffer netip.AddrPort // instead of a packet: the peer's new address
		allowed bool
		latched netip.AddrPort
		over    bool // what came before was another's
	}
	tests := map[string][]step{
		"the address offered":     {{source: remote, allowed: true, latched: remote}},
		"any port of it":          {{source: behind, allowed: true, latched: behind}, {source: trunk, latched: behind}},
		"the very one takes over": {{source: behind, allowed: true, latched: behind}, {source: remote, ssrc: 1, allowed: true, latched: remote, over: true}, {source: behind, latched: remote}},
		"the same stream does":    {{source: behind, allowed: true, latched: behind}, {source: remote, allowed: true, latched: remote}},
		"the one that changed":    {{source: trunk, allowed: true, latched: trunk}, {source: trunk, ssrc: 1, allowed: true, latched: trunk}, {source: remote, ssrc: 1, allowed: true, latched: remote}},
		"a network of the trunk":  {{source: trunk, allowed: true, latched: trunk}, {source: behind, latched: trunk}},
		"a stranger first":        {{source: stranger}, {source: remote, allowed: true, latched: remote}},
		"a stranger later":        {{source: remote, allowed: true, latched: remote}, {source: stranger, latched: remote}},
		"a stale stream":          {{source: former, ssrc: 7}, {source: trunk, allowed: true, latched: trunk}, {source: former, ssrc: 7, latched: trunk}},
		"its phone calls again":   {{source: former, ssrc: 8, allowed: true, latched: former}},
		"stale, but named":        {{source: former, ssrc: 7}, {reoffer: former}, {source: former, ssrc: 7, allowed: true, latched: former}, {reoffer: moved}, {source: former, ssrc: 7, allowed: true}},
		"the peer moves":          {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {source: moved, allowed: true, latched: moved}, {source: remote, latched: moved}},
		"moves, stragglers":       {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {source: remote, allowed: true}, {source: moved, allowed: true, latched: moved}},
		"moves in word only":      {{source: trunk, allowed: true, latched: trunk}, {reoffer: moved}, {source: trunk, allowed: true}, {after: latchPatience, source: trunk, allowed: true, latched: trunk}},
		"moves in word, at first": {{source: trunk, allowed: true, latched: trunk}, {reoffer: moved}, {after: latchPatience, source: trunk, allowed: true, latched: trunk}, {source: moved, ssrc: 1, allowed: true, latched: moved}},
		"stays where it was":      {{source: remote, allowed: true, latched: remote}, {reoffer: remote}, {source: remote, allowed: true, latched: remote}},
		"its NAT moves it":        {{source: remote, allowed: true, latched: remote}, {reoffer: remote}, {source: behind, allowed: true, latched: behind}},
		"two re-offers in a row":  {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {reoffer: moved}, {source: remote, allowed: true}, {source: moved, allowed: true, latched: moved}},
		"a stranger after moving": {{source: remote, allowed: true, latched: remote}, {reoffer: moved}, {source: stranger}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			l := latch{stale: stream{former, 7}}
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
				packet := stream{s.source, s.ssrc}
				allowed, over := l.allows(packet, remote, from), false
				if allowed {
					over = l.take(packet, remote, now)
				}
				if allowed != s.allowed || over != s.over || l.source != s.latched {
					t.Errorf("step %d: allowed %t, over %t, latched to %s; want %t, %t, %s", i, allowed, over, l.source, s.allowed, s.over, s.latched)
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

// TestTheNamedSourceTakesOver has another host of the trunk send before the
// caller does: nothing of it is heard, whether it is on the tape by then or not.
func TestTheNamedSourceTakesOver(t *testing.T) {
	t.Parallel()
	for name, flushed := range map[string]bool{"in memory": false, "on the tape": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPhone(t, "127.0.0.1:0")
			l := p.open(newTestEngine(t, nil), netip.MustParsePrefix("127.0.0.0/8"))
			other := newPhone(t, "127.0.0.7:0")
			other.to, other.seq, other.ssrc = p.to, 100, 9
			var tape memoryTape
			r := record(t, l, &tape)
			other.send(0, 7)
			eventually(t, "the other host", arrived(l, 7))
			if flushed {
				eventually(t, "its record", func() bool { return len(tape.audio(t)) == 7 })
			}
			p.send(0, 5)
			eventually(t, "the caller", func() bool { return l.Stats().Packets == 5 })
			other.send(0, 3)
			eventually(t, "the other host is a stranger", func() bool { return l.Stats().Foreign == 10 })
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			facts, sound := hear(t, tape.ended(), RenderOptions{})
			if facts.Packets != 5 || facts.Duration != 100*time.Millisecond || len(sound.pcm) != 800 {
				t.Errorf("%d packets are heard for %v, want the caller's 5", facts.Packets, facts.Duration)
			}
			if s := l.Stats(); s.Bytes != 5*172 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestEmptyPacketsLatchNothing has another host of the trunk probe the port.
func TestEmptyPacketsLatchNothing(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil), netip.MustParsePrefix("127.0.0.0/8"))
	other := newPhone(t, "127.0.0.7:0")
	other.to = p.to
	empty := other.packet(0)[:rtpHeader]
	var tape memoryTape
	r := record(t, l, &tape)
	other.sendRaw(empty)
	eventually(t, "the probe", func() bool { return l.Stats().Invalid == 1 })
	behind := newPhone(t, "127.0.0.1:0") // the caller's NAT
	behind.to = p.to
	behind.send(0, 2)
	eventually(t, "the caller", arrived(l, 2))
	behind.sendRaw([]byte{0x80, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0}) // belongs to the numbers
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 3)
}

// TestStaleStream has the sender of a call go on after it, into the next call
// on the same port, whose caller sits behind NAT.
func TestStaleStream(t *testing.T) {
	e := newTestEngine(t, nil)
	trunk := netip.MustParsePrefix("127.0.0.0/8")
	first := newPhone(t, "127.0.0.7:0")
	first.ssrc = 7
	l := first.open(e, trunk)
	r := record(t, l, discard{})
	first.send(0, 3)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	second := newPhone(t, "127.0.0.1:0")
	next := second.open(e, trunk)
	next.latch.stale = e.ports.before(l.port) // as if it were the same port
	first.to = second.to
	behind := newPhone(t, "127.0.0.1:0")
	behind.to = second.to
	var tape memoryTape
	r = record(t, next, &tape)
	first.send(0, 2)
	eventually(t, "the stale stream is foreign", func() bool { return next.Stats().Foreign == 2 })
	behind.send(0, 4)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 4)
	if got := e.ports.before(next.port).source; got != behind.addr() {
		t.Errorf("the port remembers %s, want %s", got, behind.addr())
	}
}

// TestSameOfferAgain moves the caller to another port by its NAT, which a
// re-INVITE with the description it sent before follows.
func TestSameOfferAgain(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 5)
	eventually(t, "the first port", arrived(l, 5))
	if _, err := l.Negotiate(p.offer("0 8")); err != nil {
		t.Fatal(err)
	}
	again := newPhone(t, "127.0.0.1:0")
	again.to, again.seq = p.to, p.seq
	again.send(0, 5)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 10)
}

// A source that the peer did not name is not trusted with the kernel's filter
// before it has been the only one for a while.
func TestStrangerOfAnUnnamedSource(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	latched := time.Now()
	behind := newPhone(t, "127.0.0.1:0").addr()
	l.latch.take(stream{source: behind}, p.addr(), latched)
	for _, step := range []struct {
		after time.Duration
		tried bool
	}{{0, false}, {latchTrust - 1, false}, {latchTrust, true}} {
		for range strangersCounted {
			l.latch.stranger(l.socket, p.addr(), latched.Add(step.after), quietLog())
		}
		if l.latch.tried != step.tried {
			t.Errorf("after %v: tried %t", step.after, l.latch.tried)
		}
	}
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
	p := newPhone(t, peertest.Address(t).String()) // a port that nobody else takes meanwhile
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
