package media

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestRecordNoRTP(t *testing.T) {
	t.Parallel()
	const patience = 2 * time.Second
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, func(o *Options) { o.NoRTP = patience }))
	var tape memoryTape
	r := record(t, l, &tape)
	begun := time.Now()
	for range 6 { // each packet buys time, junk buys none
		time.Sleep(patience / 4)
		p.send(0, 1)
		p.sendRaw([]byte("junk"))
	}
	if err := r.end(); !errors.Is(err, ErrNoRTP) {
		t.Errorf("error %v, want ErrNoRTP", err)
	}
	if took, until := time.Since(begun), 6*patience/4; took < until+patience-patience/10 {
		t.Errorf("ended after %s, though packets came until %s", took, until)
	}
	tape.wantAudio(t, 6)
}

// TestRecordStandsStill has packets wait in the socket at the time when the
// recording would end, more than one look takes, as when the machine stood still.
func TestRecordStandsStill(t *testing.T) {
	t.Parallel()
	t.Run("the caller goes on", func(t *testing.T) {
		const patience, count = 500 * time.Millisecond, 50
		p := newPhone(t, "127.0.0.1:0")
		l := p.open(newTestEngine(t, func(o *Options) { o.NoRTP = patience }))
		var tape memoryTape
		r := newRecorder(l, &tape)
		p.send(0, count)
		time.Sleep(patience)
		begun := time.Now()
		p.send(0, 1)
		if err := r.run(t.Context()); !errors.Is(err, ErrNoRTP) {
			t.Errorf("error %v, want ErrNoRTP", err)
		}
		if took := time.Since(begun); took < patience-patience/10 {
			t.Errorf("ended %s after the last packet", took)
		}
		r.flush(time.Now())
		tape.wantAudio(t, count+1)
	})
	for want, change := range map[error]func(*Options){
		ErrNoRTP:   func(o *Options) { o.NoRTP = 1 },
		ErrTooLong: func(o *Options) { o.MaxDuration = 1 },
	} {
		t.Run(want.Error(), func(t *testing.T) {
			p := newPhone(t, "127.0.0.1:0")
			l := p.open(newTestEngine(t, change))
			p.send(0, 50)
			var tape memoryTape
			if err := record(t, l, &tape).end(); !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
			tape.wantAudio(t, 50)
		})
	}
}

func TestRecordTooLong(t *testing.T) {
	t.Parallel()
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, func(o *Options) { o.MaxDuration = 500 * time.Millisecond }))
	var tape memoryTape
	p.send(0, 3)
	begun := time.Now()
	r := record(t, l, &tape)
	if err := r.end(); !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
	if took := time.Since(begun); took < 450*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
	tape.wantAudio(t, 3)
}

// A flood leaves on the tape what audio can be, and not the disk full: Opus at
// its most, each packet twice, loses none of it.
func TestRecordFlood(t *testing.T) {
	const seconds = 180
	for name, test := range map[string]struct {
		size, every int // bytes of a packet, µs
		whole       bool
	}{
		"Opus at its most, twice": {rtpHeader + 8 + 160, 1250, true},
		"G.711":                   {rtpHeader + 160, 20_000, true},
		"a flood":                 {1400, 100, false},
	} {
		p := newPhone(t, "127.0.0.1:0")
		l := p.open(newTestEngine(t, nil))
		tape := &counting{}
		r := newRecorder(l, tape)
		packet := append([]byte{0x80, 0}, make([]byte, test.size-2)...)
		sent := uint64(0)
		for at := 0; at < seconds*1e6; at += test.every {
			now := r.began.Add(time.Duration(at) * time.Microsecond)
			r.keep(datagram{packet, p.addr(), now})
			sent++
		}
		r.flush(time.Now())
		s := l.Stats()
		if s.Packets+s.Excess != sent || test.whole != (s.Excess == 0) {
			t.Errorf("%s: %d packets kept, %d left out of %d", name, s.Packets, s.Excess, sent)
		}
		if most := tapeBurst + tapeRate*seconds + 1000; tape.bytes > most || !test.whole && tape.bytes < most-5000 {
			t.Errorf("%s: %d bytes on the tape, at most %d", name, tape.bytes, most)
		}
	}
}

// counting is a tape that keeps nothing.
type counting struct{ bytes int }

func (c *counting) Append(record []byte) error { c.bytes += len(record); return nil }

// TestRecordOnHold lets nothing come for longer than NoRTP while the call is on
// hold, in each of the ways to say so.
func TestRecordOnHold(t *testing.T) {
	t.Parallel()
	const patience = 1500 * time.Millisecond
	type call struct {
		*recording
		p    *phone
		l    *Leg
		tape *memoryTape
	}
	calls := map[string]call{} // all at once, as each takes its time
	for name, hold := range map[string]func(p *phone) []byte{
		"sendonly": func(p *phone) []byte { return p.offer("0 8", "a=sendonly") },
		"inactive": func(p *phone) []byte { return p.offer("0 8", "a=inactive") },
		"recvonly": func(p *phone) []byte { return p.offer("0 8", "a=recvonly") },
		"0.0.0.0":  func(p *phone) []byte { return p.offer("0 8", "c=IN IP4 0.0.0.0") },
	} {
		p := newPhone(t, "127.0.0.1:0")
		l, tape := p.open(newTestEngine(t, func(o *Options) { o.NoRTP = patience })), &memoryTape{}
		calls[name] = call{record(t, l, tape), p, l, tape}
		p.send(0, 1)
		eventually(t, "the packet", arrived(l, 1))
		if _, err := l.Negotiate(hold(p)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * patience)
	for name, c := range calls {
		if len(c.result) > 0 {
			t.Fatalf("%s: ended on hold: %v", name, <-c.result)
		}
		if _, err := c.l.Negotiate(c.p.offer("0 8")); err != nil {
			t.Fatal(err)
		}
		c.p.send(0, 1)
	}
	for name, c := range calls {
		if err := c.end(); !errors.Is(err, ErrNoRTP) {
			t.Errorf("%s: error %v after the hold, want ErrNoRTP", name, err)
		}
		c.tape.wantAudio(t, 2)
	}
}

func TestRecordTapeFails(t *testing.T) {
	full := errors.New("no space left")
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	tape := memoryTape{fail: full}
	r := record(t, l, &tape)
	for i := range 8 {
		for range 5 {
			p.sendRaw(append(p.packet(0), make([]byte, 1300)...))
		}
		if i < 6 {
			five := arrived(l, uint64(5*i+5))
			eventually(t, "five packets", func() bool { return five() || len(r.result) > 0 }) // it ends early where this takes a second
		}
	}
	if err := r.end(); !errors.Is(err, full) {
		t.Errorf("error %v, want the tape's", err)
	}
	if tape.calls != 2 {
		t.Errorf("Append was called %d times, want once and once more at the end", tape.calls)
	}
}

func TestRecordAfterClose(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 1)
	eventually(t, "the packet", arrived(l, 1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want net.ErrClosed", err)
	}
	tape.wantAudio(t, 1)
	if err := l.Record(t.Context(), &tape); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v on a closed leg, want net.ErrClosed", err)
	}
}
