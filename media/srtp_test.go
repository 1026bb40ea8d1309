package media

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// testMaster is a key, the same for the same number.
func testMaster(s suite, number byte) *master {
	return &master{suite: s, secret: bytes.Repeat([]byte{number}, s.key+s.salt)}
}

// crypto is the attribute that tells of a key.
func (m *master) crypto() string {
	return fmt.Sprintf("a=crypto:1 %s inline:%s", m.suite.name, base64.StdEncoding.EncodeToString(m.secret))
}

// lock is a phone that encrypts with a key from now on.
func (p *phone) lock(m *master) {
	p.t.Helper()
	c, err := m.context()
	if err != nil {
		p.t.Fatal(err)
	}
	p.context = c
}

// offerSecure is an offer of G.711 over RTP/SAVP, with a key.
func (p *phone) offerSecure(m *master) []byte {
	return bytes.Replace(p.offer("0 8", m.crypto()), []byte("RTP/AVP"), []byte("RTP/SAVP"), 1)
}

// openSecure makes a leg that takes the phone's offer with this key.
func (p *phone) openSecure(e *Engine, m *master, from ...netip.Prefix) *Leg {
	p.t.Helper()
	p.lock(m)
	l, err := e.Open(p.offerSecure(m), from)
	if err != nil {
		p.t.Fatal(err)
	}
	closeAfter(p.t, l)
	p.to = l.socket.addr
	return l
}

func required(o *Options) { o.SRTP = SRTPRequired }

// cm80 is the suite that every peer has.
func cm80() suite { return suites()[2] }

// TestEncryptedCall takes a call with each suite, the tape of which is plain,
// and a key of which the peer can read what we send.
func TestEncryptedCall(t *testing.T) {
	for i, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			p := newPhone(t, "127.0.0.1:0")
			l := p.openSecure(newTestEngine(t, func(o *Options) { required(o); withBeep(o) }), testMaster(s, byte(i)))
			var tape memoryTape
			r := record(t, l, &tape)
			p.unlock(l.Description())
			if beep, _ := p.hear(10, time.Now()); len(beep) != 10 {
				t.Errorf("%d packets of the beep can be read, want 10", len(beep))
			}
			p.send(0, 20)
			p.send(8, 5)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			tape.wantAudio(t, 25)
			for _, e := range tape.entries(t)[1:] {
				if !strings.HasPrefix(e.body[rtpHeader:], "packet ") || len(e.body) != rtpHeader+160 {
					t.Fatalf("not decrypted: %q", e.body)
				}
			}
			if got := l.Stats(); got.Encryption != s.name || got.Foreign+got.Invalid != 0 {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

// unlock has the phone decrypt with the key in our description.
func (p *phone) unlock(answer []byte) {
	p.t.Helper()
	streams, err := parseDescription(answer)
	if err != nil {
		p.t.Fatal(err)
	}
	_, m, ok := parseCrypto(streams[0].secrets.cryptos[0])
	if !ok {
		p.t.Fatalf("its crypto line cannot be read\n%s", answer)
	}
	if p.opens, err = m.context(); err != nil {
		p.t.Fatal(err)
	}
}

// TestSendEncryptedAllocatesNothing sends as the pacer of a caller does.
func TestSendEncryptedAllocatesNothing(t *testing.T) {
	for _, key := range recordedKeys() {
		if raceDetector {
			t.Skip("see TestRecordAllocatesNothing")
		}
		p := newPhone(t, "127.0.0.1:0")
		conn, packet, to := p.openBy(newTestEngine(t, nil), key).Conn(), p.packet(0), p.addr()
		if n := testing.AllocsPerRun(100, func() { _, _ = conn.WriteToUDPAddrPort(packet, to) }); n != 0 {
			t.Errorf("%s: %v allocations", cipherName(key), n)
		}
	}
}

// TestPolicy opens and offers by each value of media.srtp.
func TestPolicy(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	plain, osrtp := p.offer("0"), p.offer("0", testMaster(cm80(), 1).crypto())
	savp := p.offerSecure(testMaster(cm80(), 1))
	for _, tt := range []struct {
		policy SRTP
		offer  []byte
		answer string // the transport, "" for a refusal
		crypto bool
	}{
		{SRTPOff, plain, "RTP/AVP", false},
		{SRTPOff, osrtp, "RTP/AVP", false},
		{SRTPOff, savp, "", false},
		{SRTPOptional, plain, "RTP/AVP", false},
		{SRTPOptional, osrtp, "RTP/AVP", true},
		{SRTPOptional, savp, "RTP/SAVP", true},
		{"", savp, "RTP/SAVP", true},
		{SRTPRequired, plain, "", false},
		{SRTPRequired, osrtp, "RTP/AVP", true},
		{SRTPRequired, savp, "RTP/SAVP", true},
		{SRTPOff, nil, "RTP/AVP", false},
		{SRTPOptional, nil, "RTP/AVP", false},
		{SRTPRequired, nil, "RTP/SAVP", true},
	} {
		l, err := newTestEngine(t, func(o *Options) { o.SRTP = tt.policy }).Open(tt.offer, nil)
		if tt.answer == "" {
			if !errors.Is(err, ErrNoCommonCodec) || !strings.Contains(err.Error(), "media.srtp is "+string(tt.policy)) {
				t.Errorf("%s: error %v", tt.policy, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		closeAfter(t, l)
		answer := string(l.Description())
		if !strings.Contains(answer, " "+tt.answer+" ") || strings.Contains(answer, "a=crypto:") != tt.crypto {
			t.Errorf("%s: answer\n%s", tt.policy, answer)
		}
	}
}

// TestLateOfferEncrypted has our own offer answered by another leg of ours, and
// audio go from there.
func TestLateOfferEncrypted(t *testing.T) {
	offering, err := newTestEngine(t, required).Open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, offering)
	answering, err := newTestEngine(t, nil).Open(offering.Description(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, answering)
	if err := offering.Answered(answering.Description()); err != nil {
		t.Fatal(err)
	}
	p := newPhone(t, "127.0.0.1:0") // for its packets
	send := func(l *Leg, to netip.AddrPort) {
		if _, err := l.Conn().WriteToUDPAddrPort(p.packet(offering.Formats()[0].PayloadType), to); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range []*Leg{offering, answering} {
		var tape memoryTape
		r := record(t, l, &tape)
		p.seq = 0
		for range 5 {
			send([]*Leg{answering, offering}[i], l.socket.addr)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		tape.wantAudio(t, 5)
		if got := l.Stats().Encryption; got != suites()[0].name {
			t.Errorf("encrypted by %q, want the strongest", got)
		}
	}
}

// TestEncryptedStranger has a second sender who knows all but the key: from
// another address, and from the caller's own by a packet of its own.
func TestEncryptedStranger(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.openSecure(newTestEngine(t, nil), testMaster(cm80(), 1), netip.MustParsePrefix("127.0.0.0/8"))
	stranger := newPhone(t, "127.9.9.9:0")
	stranger.to, stranger.seq = p.to, 10000
	stranger.lock(testMaster(cm80(), 2))
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 1)
	eventually(t, "the caller is latched", arrived(l, 1))
	stranger.send(0, 1)
	p.conn, stranger.conn = stranger.conn, p.conn
	stranger.send(0, 1)
	stranger.sendRaw(append([]byte{0x80, 0}, make([]byte, 170)...)) // plain
	p.conn, stranger.conn = stranger.conn, p.conn
	eventually(t, "they are counted", func() bool { s := l.Stats(); return s.Foreign == 1 && s.Invalid == 2 })
	stranger.send(0, strangersCounted-1)
	eventually(t, "the stranger is counted", func() bool { return l.Stats().Foreign == strangersCounted })
	if runtime.GOOS == "linux" { // from now on the kernel drops what it sends
		stranger.send(0, 100)
	}
	p.send(0, 10)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := l.Stats().Foreign; runtime.GOOS == "linux" && n != strangersCounted {
		t.Errorf("%d packets of the stranger got through, want %d", n, strangersCounted)
	}
	tape.wantAudio(t, 11)
}

// TestKeyIsTheBetterProof has the caller come from an address that nobody named,
// and move to another in mid-call; who sends its packets again from elsewhere
// gains nothing.
func TestKeyIsTheBetterProof(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.openSecure(newTestEngine(t, nil), testMaster(cm80(), 1))
	var tape memoryTape
	r := record(t, l, &tape)
	seen := p.seal(p.packet(0))
	for i, at := range []string{"127.0.0.5:0", "127.0.0.6:0", "127.0.0.1:0"} {
		p.conn = newPhone(t, at).conn
		if i == 0 {
			p.sendRaw(seen)
		}
		p.send(0, 3)
		eventually(t, "the caller", arrived(l, uint64(3*i+4)))
	}
	other := newPhone(t, "127.9.9.9:0")
	other.to = p.to
	for range 2 * strangersCounted {
		other.sendRaw(seen)
	}
	eventually(t, "the copies are counted", func() bool { return l.Stats().Foreign == 2*strangersCounted })
	p.conn = newPhone(t, "127.0.0.8:0").conn // no kernel filter keeps it out
	p.send(0, 3)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 13)
	if got := l.latch.source; got != p.addr() {
		t.Errorf("latched to %s, want %s", got, p.addr())
	}
}

// TestCallerMovesBehindTheFilter floods the port, so that the kernel lets the
// caller's address alone through, and then has the caller's network move it.
func TestCallerMovesBehindTheFilter(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the socket is connected on Linux alone")
	}
	t.Parallel()
	p := newPhone(t, "127.0.0.1:0")
	l := p.openSecure(newTestEngine(t, nil), testMaster(cm80(), 1))
	stranger := newPhone(t, "127.9.9.9:0")
	stranger.to = p.to
	stranger.lock(testMaster(cm80(), 2))
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 1)
	eventually(t, "the caller is latched", arrived(l, 1))
	stranger.send(0, 2*strangersCounted)
	eventually(t, "the stranger is counted", func() bool { return l.Stats().Foreign >= strangersCounted })
	p.conn = newPhone(t, "127.0.0.1:0").conn
	for end := time.Now().Add(30 * time.Second); l.Stats().Packets < 2 && time.Now().Before(end); {
		p.sendRaw(p.seal(p.packet(0)))
		time.Sleep(20 * time.Millisecond)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := l.Stats().Packets; n < 2 {
		t.Error("the caller is not heard again")
	}
}

// TestNewKeys changes the key, the suite and the encryption itself by re-INVITE,
// with packets under the key before still on their way.
func TestNewKeys(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.openSecure(newTestEngine(t, nil), testMaster(cm80(), 1))
	var tape memoryTape
	r := record(t, l, &tape)
	n := uint64(0)
	say := func(what string, packets ...[]byte) {
		for _, packet := range packets {
			p.sendRaw(packet)
			n++
		}
		eventually(t, what, arrived(l, n))
	}
	next := func() []byte { return p.seal(p.packet(0)) }
	say("the first key", next(), next())
	ours := l.agreed.Load().protected.line.ours
	for _, step := range []struct {
		name string
		key  *master
		same bool // our own key goes on
	}{
		{"the same key", testMaster(cm80(), 1), true},
		{"another key", testMaster(cm80(), 2), true},
		{"another suite", testMaster(suites()[1], 3), false},
		{"and back", testMaster(cm80(), 1), false},
	} {
		late, renewed := next(), !step.key.equal(l.agreed.Load().protected.theirs)
		if _, err := l.Negotiate(p.offerSecure(step.key)); err != nil {
			t.Fatal(err)
		}
		now := l.agreed.Load().protected.line.ours
		if (now == ours) != step.same {
			t.Errorf("%s: our key goes on: %t", step.name, now == ours)
		}
		ours = now
		say(step.name+": a straggler", late)
		if renewed {
			p.lock(step.key)
		}
		say(step.name, next(), next())
	}
	late := next()
	if _, err := l.Negotiate(p.offer("0")); err != nil {
		t.Fatal(err)
	}
	say("a straggler when it is plain", late)
	p.context = nil
	say("plain", next(), next())
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, int(n))
	for _, e := range tape.entries(t) {
		if e.kind == entryAudio && !strings.HasPrefix(e.body[rtpHeader:], "packet ") {
			t.Errorf("not decrypted: %q", e.body)
		}
	}
}

// seal encrypts a packet, if the phone does.
func (p *phone) seal(packet []byte) []byte {
	p.t.Helper()
	if p.context == nil {
		return packet
	}
	sealed, err := p.context.EncryptRTP(nil, packet, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return sealed
}
