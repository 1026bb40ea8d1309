package media

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestRecordNoRTP(t *testing.T) {
	t.Parallel()
	const patience = 200 * time.Millisecond
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, func(o *Options) { o.NoRTP = patience }))
	var tape memoryTape
	r := record(t, l, &tape)
	begun := time.Now()
	for range 4 { // each packet buys time, junk buys none
		time.Sleep(patience / 2)
		p.send(0, 1)
		p.sendRaw([]byte("junk"))
	}
	if err := r.end(); !errors.Is(err, ErrNoRTP) {
		t.Errorf("error %v, want ErrNoRTP", err)
	}
	if took := time.Since(begun); took < 3*patience-patience/10 {
		t.Errorf("ended after %s, though packets came until %s", took, 2*patience)
	}
	tape.wantAudio(t, 4)
}

func TestRecordTooLong(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, func(o *Options) { o.MaxDuration = 80 * time.Millisecond }))
	var tape memoryTape
	r := record(t, l, &tape)
	begun := time.Now()
	p.send(0, 3)
	if err := r.end(); !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
	if took := time.Since(begun); took < 70*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
	tape.wantAudio(t, 3)
}

// TestRecordOnHold lets nothing come for longer than NoRTP while the call is on
// hold, in each of the ways to say so.
func TestRecordOnHold(t *testing.T) {
	const patience = 150 * time.Millisecond
	for name, hold := range map[string]func(p *phone) []byte{
		"sendonly": func(p *phone) []byte { return p.offer("0 8", "a=sendonly") },
		"inactive": func(p *phone) []byte { return p.offer("0 8", "a=inactive") },
		"recvonly": func(p *phone) []byte { return p.offer("0 8", "a=recvonly") },
		"0.0.0.0":  func(p *phone) []byte { return p.offer("0 8", "c=IN IP4 0.0.0.0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPhone(t, "127.0.0.1:0")
			l := p.open(newTestEngine(t, func(o *Options) { o.NoRTP = patience }))
			var tape memoryTape
			r := record(t, l, &tape)
			p.send(0, 1)
			eventually(t, "the packet", arrived(l, 1))
			if _, err := l.Negotiate(hold(p)); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-r.result:
				t.Fatalf("ended on hold: %v", err)
			case <-time.After(3 * patience):
			}
			if _, err := l.Negotiate(p.offer("0 8")); err != nil {
				t.Fatal(err)
			}
			p.send(0, 1)
			if err := r.end(); !errors.Is(err, ErrNoRTP) {
				t.Errorf("error %v after the hold, want ErrNoRTP", err)
			}
			tape.wantAudio(t, 2)
		})
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
			eventually(t, "five packets", arrived(l, uint64(5*i+5)))
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
