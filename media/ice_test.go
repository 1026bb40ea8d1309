package media

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

const peerUfrag, peerPwd = "Wh3Q", "sLyzwHWZbUOFcMAFjyoKJZmR"

// iceOffer is what an offer with ICE says beside the rest.
func (p *phone) iceOffer() []string {
	at := p.addr()
	return []string{
		"a=ice-ufrag:" + peerUfrag, "a=ice-pwd:" + peerPwd, "a=rtcp-mux",
		fmt.Sprintf("a=candidate:1 1 UDP 2130706431 %s %d typ host", at.Addr(), at.Port()),
	}
}

// check sends a connectivity check with what a peer puts into it, and changes,
// and gives the reply, nil where none comes.
func (p *phone) check(l *Leg, change ...stun.Setter) *stun.Message {
	p.t.Helper()
	i := l.agreed.Load().ice
	return p.checkBy(i.ufrag+":"+i.peerUfrag, i.pwd, 1, replyWait, change...)
}

// How long a phone waits for a reply, where one must come and where none may.
const (
	replyWait   = 30 * time.Second
	silenceWait = 300 * time.Millisecond
)

func (p *phone) checkBy(name, pwd string, component byte, patience time.Duration, change ...stun.Setter) *stun.Message {
	p.t.Helper()
	setters := append([]stun.Setter{
		stun.BindingRequest, stun.TransactionID, stun.NewUsername(name),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x6e, 0, 1, 0 - component}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)},
	}, change...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.ask(m.Raw, patience)
}

func (p *phone) ask(request []byte, patience time.Duration) *stun.Message {
	p.t.Helper()
	p.sendRaw(request)
	b := make([]byte, maxPacket)
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	n, _, err := p.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return nil
	}
	m := &stun.Message{Raw: b[:n]}
	if err := m.Decode(); err != nil {
		p.t.Fatal(err)
	}
	return m
}

var useCandidate = stun.RawAttribute{Type: stun.AttrUseCandidate}

// TestICE answers checks, has the caller come from where it chose, and sends
// the beep there.
func TestICE(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l, err := newTestEngine(t, withBeep).Open(p.offer("0 8", p.iceOffer()...), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	for _, line := range []string{"a=ice-lite", "a=rtcp-mux", fmt.Sprintf("a=candidate:1 1 UDP 2130706431 127.0.0.1 %d typ host", l.port)} {
		if !strings.Contains(string(l.Description()), line+"\r\n") {
			t.Errorf("no %s in\n%s", line, l.Description())
		}
	}
	var tape memoryTape
	r := record(t, l, &tape)
	chosen := newPhone(t, "127.0.0.5:0") // no address that anybody named
	chosen.to = l.socket.addr
	reply := chosen.check(l)
	var mapped stun.XORMappedAddress
	if reply == nil || reply.Type != stun.BindingSuccess || mapped.GetFrom(reply) != nil ||
		stun.NewShortTermIntegrity(l.agreed.Load().ice.pwd).Check(reply) != nil || stun.Fingerprint.Check(reply) != nil {
		t.Fatalf("reply %v", reply)
	}
	if got := netip.MustParseAddrPort(mapped.String()); got != chosen.addr() {
		t.Errorf("it says that we see %s, want %s", got, chosen.addr())
	}
	time.Sleep(2 * readyLook)
	if n := l.said.Load(); n != nil {
		t.Error("the beep was sent before a path was chosen")
	}
	if reply := chosen.check(l, useCandidate); reply == nil || reply.Type != stun.BindingSuccess {
		t.Fatalf("reply %v", reply)
	}
	if beep, _ := chosen.hear(10, time.Now()); len(beep) != 10 {
		t.Errorf("%d packets of the beep", len(beep))
	}
	chosen.send(0, 10)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 10)
}

// TestICERefuses gives no answer to whom the password is not known, and the
// right one to who asks what cannot be.
func TestICERefuses(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l, err := newTestEngine(t, nil).Open(p.offer("0 8", p.iceOffer()...), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	p.to = l.socket.addr
	r := record(t, l, discard{})
	name, pwd := l.agreed.Load().ice.ufrag+":"+peerUfrag, l.agreed.Load().ice.pwd
	bare, _ := stun.Build(stun.BindingRequest, stun.TransactionID)
	for what, reply := range map[string]*stun.Message{
		"no password":      p.ask(bare.Raw, silenceWait),
		"another password": p.checkBy(name, "x"+pwd, 1, silenceWait),
		"another name":     p.checkBy("x:"+peerUfrag, pwd, 1, silenceWait),
		"another peer":     p.checkBy(l.agreed.Load().ice.ufrag+":x", pwd, 1, silenceWait),
	} {
		if reply != nil {
			t.Errorf("%s: answered %v", what, reply)
		}
	}
	for what, tt := range map[string]struct {
		ask  stun.Setter
		want stun.ErrorCode
	}{
		"who controls":         {stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}, stun.CodeRoleConflict},
		"an unknown attribute": {stun.RawAttribute{Type: 0x7001, Value: make([]byte, 4)}, stun.CodeUnknownAttribute},
	} {
		reply := p.check(l, tt.ask)
		var code stun.ErrorCodeAttribute
		if reply == nil || code.GetFrom(reply) != nil || code.Code != tt.want {
			t.Errorf("%s: %v, want %d", what, reply, tt.want)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if l.nominated.Load() != nil || l.Stats().Foreign != 4 {
		t.Errorf("nominated %v, stats %+v", l.nominated.Load(), l.Stats())
	}
}

// What stands behind the signature is signed by nobody.
func TestICEUnsignedNomination(t *testing.T) {
	i := &ice{ufrag: "abcd", pwd: strings.Repeat("p", 22), peerUfrag: "efgh"}
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername("abcd:efgh"), stun.NewShortTermIntegrity(i.pwd))
	if err != nil {
		t.Fatal(err)
	}
	m.Add(stun.AttrUseCandidate, nil)
	m.WriteLength()
	if err := stun.Fingerprint.AddTo(m); err != nil {
		t.Fatal(err)
	}
	var c checks
	if reply, nominated := c.answer(m.Raw, netip.MustParseAddrPort("192.0.2.1:1"), i); reply == nil || nominated {
		t.Errorf("answered: %t, nominated: %t", reply != nil, nominated)
	}
}

// TestICERestart has the peer ask for new credentials, while checks by the old
// ones still come, and keep its own in a re-INVITE that changes something else.
func TestICERestart(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	offer := p.offer("0 8", p.iceOffer()...)
	l, err := newTestEngine(t, nil).Open(offer, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	p.to = l.socket.addr
	r := record(t, l, discard{})
	first := l.agreed.Load().ice
	if _, err := l.Negotiate(bytes.Replace(offer, []byte("0 8"), []byte("8 0"), 1)); err != nil {
		t.Fatal(err)
	}
	if l.agreed.Load().ice != first {
		t.Error("new credentials without a restart")
	}
	if _, err := l.Negotiate(bytes.Replace(offer, []byte(peerUfrag), []byte("New4"), 1)); err != nil {
		t.Fatal(err)
	}
	second := l.agreed.Load().ice
	if second.ufrag == first.ufrag || second.pwd == first.pwd {
		t.Error("the same credentials after a restart")
	}
	for _, i := range []*ice{second, first} {
		if reply := p.checkBy(i.ufrag+":"+i.peerUfrag, i.pwd, 1, replyWait); reply == nil {
			t.Errorf("no answer to %s", i.ufrag)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestICEWithoutMux has a path apart for RTCP, which is not taken for that of
// the audio.
func TestICEWithoutMux(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	lines := p.iceOffer()
	lines[2] = fmt.Sprintf("a=candidate:1 2 UDP 2130706430 127.0.0.1 %d typ host", p.addr().Port()+1)
	l, err := newTestEngine(t, nil).Open(p.offer("0 8", lines...), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	if d := string(l.Description()); !strings.Contains(d, "a=candidate:1 2 UDP ") || !strings.Contains(d, fmt.Sprintf("a=rtcp:%d\r\n", l.port)) {
		t.Errorf("\n%s", d)
	}
	control := newPhone(t, "127.0.0.1:0")
	p.to, control.to = l.socket.addr, l.socket.addr
	r := record(t, l, discard{})
	i := l.agreed.Load().ice
	for _, c := range []struct {
		p         *phone
		component byte
	}{{p, 1}, {control, 2}} {
		if reply := c.p.checkBy(i.ufrag+":"+i.peerUfrag, i.pwd, c.component, replyWait, useCandidate); reply == nil {
			t.Fatalf("component %d: no reply", c.component)
		}
	}
	if got := l.nominated.Load(); got == nil || *got != p.addr() {
		t.Errorf("nominated %v, want %s", got, p.addr())
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if l.checks.control != control.addr() {
		t.Errorf("RTCP goes to %s, want %s", l.checks.control, control.addr())
	}
}

// TestDTLSOverICE is what a browser does: the address comes by a check, the
// keys by a handshake, RTCP on the same port.
func TestDTLSOverICE(t *testing.T) {
	p, i := newPhone(t, "127.0.0.5:0"), newTestIdentity(t)
	offer := bytes.Replace(p.offerDTLS(i.fingerprint, p.iceOffer()...), []byte("c=IN IP4 127.0.0.5"), []byte("c=IN IP4 0.0.0.0"), 1)
	offer = bytes.Replace(offer, fmt.Appendf(nil, "m=audio %d", p.addr().Port()), []byte("m=audio 9"), 1)
	l, err := newTestEngine(t, required).Open(offer, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	p.to = l.socket.addr
	if a := l.agreed.Load(); a.paused || a.direction != sendRecv {
		t.Errorf("taken for a hold: %+v", a)
	}
	var tape memoryTape
	r := record(t, l, &tape)
	if p.check(l, useCandidate) == nil {
		t.Fatal("no reply")
	}
	if err := p.shake(l, i); err != nil {
		t.Fatal(err)
	}
	p.send(0, 10)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 10)
}

func TestICEAgreement(t *testing.T) {
	at := netip.MustParseAddrPort("198.51.100.7:4000")
	candidate := "1 1 UDP 2130706431 198.51.100.7 4000 typ host"
	for name, tt := range map[string]struct {
		lines             iceLines
		remote            netip.AddrPort
		checked, mismatch bool
	}{
		"none":             {iceLines{}, at, false, false},
		"full":             {iceLines{ufrag: peerUfrag, pwd: peerPwd, candidates: []string{candidate}}, at, true, false},
		"both are lite":    {iceLines{ufrag: peerUfrag, pwd: peerPwd, candidates: []string{candidate}, lite: true}, at, false, false},
		"a short password": {iceLines{ufrag: peerUfrag, pwd: "short", candidates: []string{candidate}}, at, false, false},
		"put there by another": {
			iceLines{ufrag: peerUfrag, pwd: peerPwd, candidates: []string{candidate}}, netip.MustParseAddrPort("203.0.113.1:4000"), false, true,
		},
		"a damaged candidate": {iceLines{ufrag: peerUfrag, pwd: peerPwd, candidates: []string{"1 1"}}, at, false, true},
		"candidates to come":  {iceLines{ufrag: peerUfrag, pwd: peerPwd}, netip.MustParseAddrPort("0.0.0.0:9"), true, false},
		"a host name":         {iceLines{ufrag: peerUfrag, pwd: peerPwd}, netip.AddrPort{}, true, false},
	} {
		i := tt.lines.agree(tt.remote)
		if i.checked() != tt.checked || (i != nil && i.mismatch) != tt.mismatch {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

// FuzzSTUN answers whatever comes: nothing without the password.
func FuzzSTUN(f *testing.F) {
	i := &ice{ufrag: "abcd", pwd: strings.Repeat("p", 22), peerUfrag: "efgh"}
	for _, pwd := range []string{i.pwd, "another"} {
		m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername("abcd:efgh"), useCandidate,
			stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Raw)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !isSTUN(packet) {
			return
		}
		var c checks
		reply, nominated := c.answer(packet, netip.MustParseAddrPort("192.0.2.1:1"), i)
		if reply == nil {
			if nominated || c.valid[0].IsValid() {
				t.Error("no reply, and yet believed")
			}
			return
		}
		m := &stun.Message{Raw: packet}
		if err := errors.Join(m.Decode(), stun.NewShortTermIntegrity(i.pwd).Check(m)); err != nil {
			t.Errorf("answered: %v", err)
		}
		if err := (&stun.Message{Raw: reply}).Decode(); err != nil {
			t.Errorf("the reply: %v", err)
		}
	})
}
