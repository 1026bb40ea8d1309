package media

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pion/srtp/v3"
)

// newTestEngine makes an engine on 127.0.0.1 without a beep, as changed.
func newTestEngine(tb testing.TB, change func(*Options)) *Engine {
	tb.Helper()
	o := DefaultOptions()
	o.Beep = false
	if change != nil {
		change(&o)
	}
	e, err := NewEngine(o, quietLog())
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// closeAfter closes c at the end of the test.
func closeAfter(tb testing.TB, c io.Closer) {
	tb.Helper()
	tb.Cleanup(func() { _ = c.Close() })
}

// phone is a socket that sends RTP to a leg, and what it says about itself.
type phone struct {
	t    testing.TB
	conn *net.UDPConn
	to   netip.AddrPort
	seq  uint16
	ssrc byte

	heard   netip.AddrPort           // where its last RTCP came from
	context *srtp.Context            // what it encrypts with, if it does
	opens   *srtp.Context            // what it decrypts with
	loses   func(packet []byte) bool // of what comes to it in a handshake
}

func newPhone(tb testing.TB, address string) *phone {
	tb.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, conn)
	return &phone{t: tb, conn: conn}
}

func (p *phone) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// offer is an SDP offer of these payload types, with attributes.
func (p *phone) offer(formats string, attributes ...string) []byte {
	at := p.addr()
	lines := append([]string{
		"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 " + at.Addr().String(), "t=0 0",
		fmt.Sprintf("m=audio %d RTP/AVP %s", at.Port(), formats),
	}, attributes...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n")
}

// open makes a leg that takes the phone's offer, to be closed by the test's end.
func (p *phone) open(e *Engine, from ...netip.Prefix) *Leg {
	p.t.Helper()
	l, err := e.Open(p.offer("0 8"), from)
	if err != nil {
		p.t.Fatal(err)
	}
	closeAfter(p.t, l)
	p.to = l.socket.addr
	return l
}

// send sends n packets of 20 ms of G.711 with payload type pt, each one naming
// its sequence number in its payload.
func (p *phone) send(pt uint8, n int) {
	p.t.Helper()
	for range n {
		p.sendRaw(p.seal(p.packet(pt)))
	}
}

func (p *phone) packet(pt uint8) []byte {
	p.seq++
	b := make([]byte, rtpHeader+160)
	b[0], b[1] = 0x80, pt
	b[2], b[3] = byte(p.seq>>8), byte(p.seq)
	b[rtpHeader-1] = p.ssrc
	copy(b[rtpHeader:], fmt.Sprintf("packet %d", p.seq))
	return b
}

func (p *phone) sendRaw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort(b, p.to); err != nil {
		p.t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	e := newTestEngine(t, nil)
	for offer, want := range map[string]error{
		"":      ErrBadOffer,
		"hello": ErrBadOffer,
		"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 18\r\n": ErrNoCommonCodec,
	} {
		if _, err := e.Open([]byte(offer), nil); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", offer, err, want)
		}
	}
	if s := e.Ports(); s.Used+s.Resting != 0 {
		t.Errorf("%+v: a refused offer took a port", s)
	}
}

func TestOpenNoPort(t *testing.T) {
	e := newTestEngine(t, func(o *Options) { o.Ports = PortRange{21010, 21011} })
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(e)
	if _, err := e.Open(p.offer("0"), nil); !errors.Is(err, ErrNoPort) {
		t.Errorf("error %v, want ErrNoPort", err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if got, want := e.Ports(), (PortStats{Resting: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// version is the version in the o= line.
func version(t *testing.T, description []byte) string {
	t.Helper()
	for line := range strings.Lines(string(description)) {
		if rest, ok := strings.CutPrefix(line, "o="); ok {
			return strings.Fields(rest)[2]
		}
	}
	t.Fatalf("no o= line in\n%s", description)
	return ""
}

func TestNegotiate(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	steps := []struct {
		name      string
		offer     []byte
		version   string // of the answer; "" when the offer is refused
		direction direction
		formats   string
		paused    bool
	}{
		{"the same again", p.offer("0 8"), "1", sendRecv, " 0 8", false},
		{"hold", p.offer("0 8", "a=sendonly"), "2", recvOnly, " 0 8", true},
		{"no codec in common", p.offer("18"), "", recvOnly, " 0 8", true},
		{"not SDP", []byte("hello"), "", recvOnly, " 0 8", true},
		{"no offer", nil, "", recvOnly, " 0 8", true},
		{"hold again", p.offer("0 8", "a=sendonly"), "2", recvOnly, " 0 8", true},
		{"back", p.offer("0 8", "a=sendrecv"), "3", sendRecv, " 0 8", false},
		{"inactive", p.offer("0 8", "a=inactive"), "4", inactive, " 0 8", true},
		{"another codec", p.offer("9"), "5", sendRecv, " 9", false},
	}
	for _, s := range steps {
		answer, err := l.Negotiate(s.offer)
		if (err == nil) != (s.version != "") {
			t.Fatalf("%s: error %v", s.name, err)
		}
		if err == nil && (version(t, answer) != s.version || !strings.Contains(string(answer), "\r\na="+string(s.direction)+"\r\n")) {
			t.Errorf("%s: version %s, want %s and %s in\n%s", s.name, version(t, answer), s.version, s.direction, answer)
		}
		a := l.agreed.Load()
		if a.direction != s.direction || payloadTypes(a.formats) != s.formats || a.paused != s.paused {
			t.Errorf("%s: agreed on %s, formats%s, paused %t", s.name, a.direction, payloadTypes(a.formats), a.paused)
		}
		if got := l.Remote(); got != p.addr() {
			t.Errorf("%s: remote %s, want %s", s.name, got, p.addr())
		}
	}
}

// TestDescriptionLiftsHold offers sendrecv while the peer holds the call, with
// a version of its own, and goes on counting after it.
func TestDescriptionLiftsHold(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	first := l.Description()
	if version(t, first) != "1" || !strings.Contains(string(first), "a=sendrecv") {
		t.Errorf("first description\n%s", first)
	}
	held, err := l.Negotiate(p.offer("8", "a=sendonly"))
	if err != nil || version(t, held) != "2" {
		t.Fatalf("hold: %v\n%s", err, held)
	}
	for range 2 {
		if d := l.Description(); version(t, d) != "3" || !strings.Contains(string(d), "a=sendrecv") {
			t.Errorf("description on hold\n%s", d)
		}
	}
	if err := l.Answered(p.offer("8", "a=inactive")); err != nil {
		t.Fatal(err)
	}
	if a := l.agreed.Load(); a.direction != inactive || !a.paused {
		t.Errorf("after the answer: %s, paused %t", a.direction, a.paused)
	}
	if back, err := l.Negotiate(p.offer("8")); err != nil || version(t, back) != "3" {
		t.Errorf("back: %v\n%s", err, back)
	}
}

func TestLateOffer(t *testing.T) {
	caller := newTestEngine(t, func(o *Options) { o.Codecs = []string{"pcma", "OPUS"} })
	gateway := newTestEngine(t, nil)
	offering, err := caller.Open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, offering)
	if got, want := payloadTypes(offering.Formats()), " 8 96 101 102"; got != want {
		t.Errorf("offered%s, want%s", got, want)
	}
	if offering.Remote().IsValid() {
		t.Errorf("remote %s before the answer", offering.Remote())
	}
	answering, err := gateway.Open(offering.Description(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, answering)
	for name, bad := range map[string][]byte{
		"not SDP":     []byte("hello"),
		"two streams": append(answering.Description(), "m=video 0 RTP/AVP 97\r\n"...),
		"refused":     []byte("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 0 RTP/AVP 8\r\n"),
	} {
		if err := offering.Answered(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := offering.Answered(answering.Description()); err != nil {
		t.Fatal(err)
	}
	if a, b := offering.Formats(), answering.Formats(); !slices.Equal(a, b) {
		t.Errorf("offering has %v, answering %v", a, b)
	}
	if offering.Remote().Port() != answering.port || answering.Remote().Port() != offering.port {
		t.Errorf("remotes %s and %s, ports %d and %d", offering.Remote(), answering.Remote(), offering.port, answering.port)
	}
}

func TestOfferOfEverything(t *testing.T) {
	l, err := newTestEngine(t, nil).Open(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	var names []string
	for _, f := range l.Formats() {
		names = append(names, fmt.Sprintf("%s/%d", f.Name, f.ClockRate))
	}
	want := []string{"opus/48000", "G722/8000", "PCMU/8000", "PCMA/8000", "telephone-event/8000", "telephone-event/48000"}
	if !slices.Equal(names, want) {
		t.Errorf("offered %v, want %v", names, want)
	}
	if d, err := parseDescription(l.Description()); err != nil || len(d) != 1 || d[0].direction != sendRecv {
		t.Errorf("%v\n%s", err, l.Description())
	}
}

func TestOpenIPv6(t *testing.T) {
	probe, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	_ = probe.Close()
	e := newTestEngine(t, func(o *Options) { o.Address = netip.MustParseAddr("::1") })
	l, err := e.Open([]byte("v=0\r\nc=IN IP6 ::1\r\nm=audio 4000 RTP/AVP 8\r\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	if got, want := l.Remote(), netip.MustParseAddrPort("[::1]:4000"); got != want {
		t.Errorf("remote %s, want %s", got, want)
	}
	if !strings.Contains(string(l.Description()), "c=IN IP6 ::1\r\n") {
		t.Errorf("\n%s", l.Description())
	}
}
