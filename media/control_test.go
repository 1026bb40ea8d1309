package media

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// TestControlApart has reports come from and go to ports beside those of RTP:
// the one that was named, or the one that NAT gave. A stranger's reports and
// goodbyes change nothing.
func TestControlApart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		key *master
		nat bool
	}{"plain": {}, "behind NAT": {nat: true}, "encrypted": {key: testMaster(cm80(), 1)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, q := newPhone(t, "127.0.0.1:0"), newPhone(t, "127.0.0.1:0")
			line := "a=rtcp:" + strconv.Itoa(int(q.addr().Port()))
			offer := p.offer("0 8", line)
			if test.key != nil {
				p.lock(test.key)
				offer = append(p.offerSecure(test.key), line+"\r\n"...)
			}
			l, err := newTestEngine(t, nil).Open(offer, nil)
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, l)
			p.to, p.ssrc = l.socket.addr, 9
			if test.key != nil {
				p.unlock(l.Description())
			}
			if test.nat {
				q = newPhone(t, "127.0.0.1:0")
			}
			stranger := newPhone(t, "127.0.0.2:0")
			q.to = netip.AddrPortFrom(l.socket.addr.Addr(), l.port+1)
			q.context, q.opens, stranger.to = p.context, p.opens, q.to

			r := record(t, l, discard{})
			p.send(0, 5)
			eventually(t, "audio comes", arrived(l, 5))
			q.sendRaw(q.sealControl(&rtcp.SenderReport{SSRC: 9, NTPTime: 0x1111222233334444}))
			stranger.sendRaw(stranger.sealControl(&rtcp.SenderReport{SSRC: 9, NTPTime: 0x5555666677778888}))
			stranger.sendRaw(stranger.sealControl(&rtcp.Goodbye{Sources: []uint32{9}}))
			report, _ := hearControl[*rtcp.ReceiverReport](q)
			for range 3 { // one that is due before all of it has come says less
				if l.Stats().Foreign == 2 {
					break
				}
				report, _ = hearControl[*rtcp.ReceiverReport](q)
			}
			if b := report.Reports; report.SSRC != l.ssrc || len(b) != 1 || b[0].SSRC != 9 || b[0].LastSenderReport != 0x22223333 {
				t.Errorf("%+v", report)
			}
			if q.heard != q.to {
				t.Errorf("a report came from %s, not %s", q.heard, q.to)
			}
			if s := l.Stats(); s.Control != 1 || s.Foreign != 2 || s.Packets != 5 {
				t.Errorf("%+v", s)
			}
			q.sendRaw(q.sealControl(&rtcp.Goodbye{Sources: []uint32{9}}))
			p.send(0, 5) // his goodbye ends no call
			r.cancel()
			hearControl[*rtcp.Goodbye](q)
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			if s := l.Stats(); s.Control != 2 || s.Packets != 10 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestControlTaken has another program on the port for RTCP: reports go out
// from that of RTP.
func TestControlTaken(t *testing.T) {
	t.Parallel()
	p, q, l := openApart(t)
	newPhone(t, netip.AddrPortFrom(l.socket.addr.Addr(), l.port+1).String())
	p.to = l.socket.addr
	r := record(t, l, discard{})
	p.send(0, 5)
	if hearControl[*rtcp.ReceiverReport](q); q.heard != l.socket.addr {
		t.Errorf("a report came from %s", q.heard)
	}
	r.cancel()
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
}

// TestControlUnwanted has a peer offer again without a wish for reports: what it
// still says itself brings it none.
func TestControlUnwanted(t *testing.T) {
	t.Parallel()
	p, q, l := openApart(t)
	p.to, q.to = l.socket.addr, netip.AddrPortFrom(l.socket.addr.Addr(), l.port+1)
	r := newRecorder(l, discard{})
	defer r.closeControl()
	speak := func() {
		t.Helper()
		said := l.Stats().Packets
		p.send(0, 5)
		eventually(t, "audio comes", func() bool {
			_, _ = r.read(time.Now())
			return arrived(l, said+5)()
		})
	}
	speak()
	if r.tell(time.Now(), false); r.reports.sent != 1 {
		t.Errorf("%d reports at first", r.reports.sent)
	}
	if _, err := l.Negotiate(p.offer("0", "b=RR:0")); err != nil {
		t.Fatal(err)
	}
	speak()
	q.sendRaw(q.sealControl(&rtcp.SenderReport{SSRC: 9}))
	eventually(t, "the peer's own report is heard", func() bool {
		r.tell(time.Now(), false)
		return l.Stats().Control == 1
	})
	if r.reports.sent != 1 {
		t.Errorf("%d reports to a peer that wants none", r.reports.sent-1)
	}
}

// openApart opens a leg for a phone p whose RTCP is at q.
func openApart(t *testing.T) (p, q *phone, l *Leg) {
	t.Helper()
	p, q = newPhone(t, "127.0.0.1:0"), newPhone(t, "127.0.0.1:0")
	l, err := newTestEngine(t, nil).Open(p.offer("0", "a=rtcp:"+strconv.Itoa(int(q.addr().Port()))), nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, l)
	return p, q, l
}
